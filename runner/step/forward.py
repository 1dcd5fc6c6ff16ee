"""The forward pass: images to logits, in the precision, memory order and compilation that the config asks for."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ...models.outputs import Outputs
from ..processes.parallel import no_sync

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
# The modes of torch.compile that replay CUDA graphs: what they return is overwritten by the next call.
WITH_GRAPHS = ("reduce-overhead", "max-autotune")


class How(NamedTuple):
    """How a model is called: the settings of Forward."""

    precision: str = "fp32"
    compile: bool | str = False
    memory_format: str = "contiguous"


class Forward:
    """Calls a model the same way in training and in evaluation.

    Args:
        model: images (N, C, H, W) to logits (N, classes); on its device already. It stays what it is: the state that
            is saved is the model's own, whatever is compiled around it.
        precision: "fp32", or autocast to "bf16" or "fp16".
        compile: through torch.compile; or one of its modes; or "aot_eager", which traces and compiles nothing.
        memory_format: of images and weights: "contiguous" (N, C, H, W) or "channels_last" (N, H, W, C).
    """

    def __init__(
        self,
        model: nn.Module,
        precision: str = "fp32",
        compile: bool | str = False,
        memory_format: str = "contiguous",
    ) -> None:
        self.model = model
        self.device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        self.precision = precision
        self.compile = compile
        self.memory_format = memory_format
        self.has_graphs = compile in WITH_GRAPHS and self.device.type == "cuda"
        if memory_format != "contiguous":
            model.to(memory_format=MEMORY_FORMATS[memory_format])  # pyright: ignore[reportCallIssue]
        self._call: Any = self._compiled(model)

    @property
    def how(self) -> How:
        """The settings."""
        return How(self.precision, self.compile, self.memory_format)

    def of(self, model: nn.Module) -> Forward:
        """The same for another model."""
        return Forward(model, *self.how)

    def _compiled(self, model: nn.Module) -> Any:
        if self.compile is False:
            return model
        if self.compile == "aot_eager":
            return torch.compile(model, backend="aot_eager")
        return torch.compile(model, mode=None if self.compile is True else str(self.compile))

    def __call__(self, images: Tensor) -> Tensor:
        """Logits in fp32."""
        return self.outputs(images).logits

    def outputs(self, images: Tensor) -> Outputs:
        """Logits in fp32, and those of auxiliary heads."""
        if self.has_graphs:
            torch.compiler.cudagraph_mark_step_begin()
        order = MEMORY_FORMATS[self.memory_format] if images.ndim == 4 else torch.contiguous_format
        with self._autocast():
            outputs = self._call(images.contiguous(memory_format=order))
        if isinstance(outputs, Outputs):
            auxiliary = tuple(self._own(logits) for logits in outputs.auxiliary)
            return Outputs(self._own(outputs.logits), auxiliary, outputs.auxiliary_weight)
        return Outputs(self._own(outputs))

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=DTYPES[self.precision])

    def _own(self, logits: Tensor) -> Tensor:
        """In fp32, and in memory that no CUDA graph writes to again: metrics and hooks keep logits."""
        logits = logits.float()
        return logits.clone() if self.has_graphs else logits

    def own_gradients(self) -> None:
        """Take the gradients out of a CUDA graph's memory, before more are added to them by its next replay."""
        if self.has_graphs:
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    parameter.grad = parameter.grad.clone()

    def no_sync(self) -> AbstractContextManager[None]:
        """Inside of it, gradients are those of this process alone: more are to be added to them."""
        return no_sync(self.model)


class ParallelForward(Forward):
    """As Forward, for training in several processes: in backward, gradients become their mean over the processes.

    By torch's DistributedDataParallel, which knows only what is trained when it is made: it is made anew when something
    thaws. With `find_unused_parameters`, which costs a walk over the graph in each step, for two reasons. A model may
    leave out a part of itself in a step. And without it the order in which gradients are added is another from its
    second step on, so that a run of three or more processes does not continue to the bit (measured).
    """

    def __init__(self, forward: Forward) -> None:
        super().__init__(forward.model, forward.precision, memory_format=forward.memory_format)
        self.compile, self.has_graphs = forward.compile, forward.has_graphs
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
            self._call = self._compiled(self._parallel)
            self._trained = trained
        return self._parallel
