"""Weights that are drawn back to their average."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import Tensor

from ..registry import HOOKS, Duration
from ..registry.fit import AtLeast, AtMost
from .hook import Hook

if TYPE_CHECKING:
    from ..runner import Runner


@HOOKS.register_module()
class Lookahead(Hook):
    """Puts the weights back to their moving average every few steps, which remembers ever longer.

    Lookahead (Zhang, Lucas, Hinton, Ba 2019) as Jordan has it (2024, section 3.4): the average becomes
    rho * average + (1 - rho) * weights, and the weights become the average. In step t of T,
    rho = decay ** every * (t / T) ** power, so that the weights move freely at first and hardly at the end. At the end
    of each epoch and of the run, too, the weights become the average, for they are measured there. Buffers, such as the
    statistics of a BatchNorm, are averaged with them.

    The optimizers' Lookahead has one rate throughout, and leaves buffers alone.

    Args:
        start: when it begins.
        every: steps between one time and the next.
        decay: of the average in one step, at the end of the run.
        power: how late in the run it comes to that.
    """

    takes_whole_weights = True

    def __init__(
        self,
        start: Duration = "3ep",
        every: Annotated[int, AtLeast(1)] = 5,
        decay: Annotated[float, AtLeast(0), AtMost(1)] = 0.95,
        power: Annotated[float, AtLeast(0)] = 3.0,
    ) -> None:
        self.start = start
        self.every = every
        self.decay = decay
        self.power = power
        self.average: dict[str, Tensor] = {}

    def setup(self, runner: Runner) -> None:
        self.first = runner.to_steps(self.start)

    def before_run(self, runner: Runner) -> None:
        self.average = {name: value.to(runner.device) for name, value in self.average.items()}

    def after_update(self, runner: Runner) -> None:
        if runner.step <= self.first:
            return
        if runner.step % self.every == 0:
            if not self.average:
                self.average = {name: value.clone() for name, value in _numbers(runner).items()}
            rho = self.decay**self.every * (runner.step / runner.total_steps) ** self.power
            for name, value in _numbers(runner).items():
                self.average[name].lerp_(value, 1 - rho)
                value.copy_(self.average[name])
        elif self.average and (runner.step % runner.steps_per_epoch == 0 or runner.step == runner.total_steps):
            for name, value in _numbers(runner).items():
                value.copy_(self.average[name])

    def state_dict(self) -> dict[str, Any]:
        return {"average": self.average} if self.average else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average = dict(state["average"])


def _numbers(runner: Runner) -> dict[str, Tensor]:
    """The weights and buffers themselves, but for those that count."""
    with torch.no_grad():
        state = runner.model.state_dict()
    return {name: value for name, value in state.items() if value.is_floating_point()}
