"""The forward pass: images to logits, in the precision, memory order and compilation that the config asks for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

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
        self._call = torch.compile(model) if compile else model

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
