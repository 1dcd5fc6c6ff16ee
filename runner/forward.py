"""The forward pass: images to logits, in the precision, memory order and compilation that the config asks for."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..models.outputs import Outputs

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Forward:
    """Calls a model the same way in training and in evaluation.

    Args:
        model: images (N, C, H, W) to logits (N, classes); on its device already. It stays what it is: the state that
            is saved is the model's own, whatever is compiled around it.
        precision: "fp32", or autocast to "bf16" or "fp16".
        compile: through torch.compile.
        channels_last: images and weights in (N, H, W, C) memory order.
    """

    def __init__(
        self, model: nn.Module, precision: str = "fp32", compile: bool = False, channels_last: bool = False
    ) -> None:
        self.model = model
        self.device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        self.precision = precision
        self.compile = compile
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        if channels_last:
            model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self._call: Any = torch.compile(model) if compile else model

    def of(self, model: nn.Module) -> Forward:
        """The same for another model: in the same precision and memory order, compiled if this is."""
        return Forward(model, self.precision, self.compile, self.memory_format is torch.channels_last)

    def __call__(self, images: Tensor) -> Tensor:
        """Logits in fp32."""
        return self.outputs(images).logits

    def outputs(self, images: Tensor) -> Outputs:
        """Logits in fp32, and those of auxiliary heads. Under "fp32" autocast is off; the path is the same."""
        dtype = DTYPES[self.precision]
        with torch.autocast(self.device.type, dtype=dtype, enabled=self.precision != "fp32"):
            outputs = self._call(images.contiguous(memory_format=self.memory_format))
        if isinstance(outputs, Outputs):
            auxiliary = tuple(logits.float() for logits in outputs.auxiliary)
            return Outputs(outputs.logits.float(), auxiliary, outputs.auxiliary_weight)
        return Outputs(outputs.float())

    def no_sync(self) -> AbstractContextManager[None]:
        """Inside of it, gradients are those of this process alone: more are to be added to them."""
        return nullcontext()


class ParallelForward(Forward):
    """As Forward, for training in several processes: in backward, gradients become their mean over the processes.

    By torch's DistributedDataParallel, which knows only what is trained when it is made: it is made anew when something
    thaws. With `find_unused_parameters`, which costs a walk over the graph in each step, for two reasons. A model may
    leave out a part of itself in a step. And without it the order in which gradients are added is another from its
    second step on, so that a run of three or more processes does not continue to the bit (measured).
    """

    def __init__(self, forward: Forward) -> None:
        channels_last = forward.memory_format == torch.channels_last
        super().__init__(forward.model, forward.precision, channels_last=channels_last)
        self.compile = forward.compile
        self._parallel: DistributedDataParallel | None = None
        self._trained: list[bool] = []

    def outputs(self, images: Tensor) -> Outputs:
        self._made()
        return super().outputs(images)

    def no_sync(self) -> AbstractContextManager[None]:
        return self._made().no_sync()

    def _made(self) -> DistributedDataParallel:
        trained = [parameter.requires_grad for parameter in self.model.parameters()]
        if self._parallel is None or trained != self._trained:
            self._call = self._parallel = None  # the former one's hooks on the parameters go with it
            devices = [self.device] if self.device.type == "cuda" else None
            self._parallel = DistributedDataParallel(self.model, devices, find_unused_parameters=True)
            self._call = torch.compile(self._parallel) if self.compile else self._parallel
            self._trained = trained
        return self._parallel
