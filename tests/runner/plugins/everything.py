"""Parts of an experiment that keep as much state, in as many places, as a run can."""

from __future__ import annotations

import os
import random
import signal

import numpy as np
import torch
from torch import nn

from knoll.hooks.hook import Hook
from knoll.registry import BACKBONES, HOOKS, LOSSES


@BACKBONES.register_module()
class Noisy(nn.Module):
    """Batch normalisation and dropout, and noise from every generator there is: torch's, Python's, numpy's, its own."""

    num_features = 8

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 5, stride=3)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.2)
        self.generator = torch.Generator().manual_seed(3)

    def forward(self, images):
        features = self.drop(self.norm(self.conv(images)).relu())
        if self.training:
            own = float(torch.rand((), generator=self.generator))
            features = features * (1 + 0.1 * (random.random() + np.random.rand() + own))
        return features

    # What a module keeps beside parameters and buffers is in its state only if it says so.
    def get_extra_state(self):
        return self.generator.get_state()

    def set_extra_state(self, state):
        self.generator.set_state(state)


@LOSSES.register_module()
class Drifting(nn.CrossEntropyLoss):
    """A loss with a state of its own: it grows with how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, logits, labels):
        if torch.is_grad_enabled():
            self.calls += 1
        return super().forward(logits, labels) * (1 + self.calls / 10)


@HOOKS.register_module()
class RestlessScaler(Hook):
    """Lets fp16's loss scale begin too high and grow every two steps, so that it overflows again and again."""

    def __init__(self, scale: float = 2.0**18, growth_interval: int = 2) -> None:
        self.settings = dict(scale=scale, growth_interval=growth_interval)

    def before_run(self, runner) -> None:
        if runner.step == 0:
            scaler = runner.update.scaler
            scaler.load_state_dict(scaler.state_dict() | self.settings)


@HOOKS.register_module()
class Counting(Hook):
    """A hook with a state that acts on the training: every third step the gradients are halved. Counts epochs too."""

    def __init__(self) -> None:
        self.count = self.epochs = 0

    def before_update(self, runner) -> None:
        self.count = (self.count + 1) % 3
        if self.count == 0:
            for parameter in runner.model.parameters():
                parameter.grad *= 0.5

    def after_epoch(self, runner) -> None:
        self.epochs += 1

    def state_dict(self):
        return {"count": self.count, "epochs": self.epochs}

    def load_state_dict(self, state) -> None:
        self.count, self.epochs = state["count"], state["epochs"]


@HOOKS.register_module()
class StopAt(Hook):
    """Ends a run before a step: by an exception, or as the out-of-memory killer would."""

    only_records = True

    def __init__(self, step: int, kill: bool = False) -> None:
        self.step = step
        self.kill = kill

    def before_iter(self, runner) -> None:
        if runner.step == self.step:
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise InterruptedError
