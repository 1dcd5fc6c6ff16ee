"""MLP: fully connected layers, the multilayer perceptron."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from ...registry import BACKBONES, ConfigError
from ..shapes import require_shape

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


@BACKBONES.register_module()
class MLP(nn.Module):
    """Fully connected layers, an activation behind each: (N, *in_shape) -> (N, widths[-1]).

    The defaults are a network that courses put before convolutions: with a `LinearHead` for ten classes it has the
    layers 784-512-256-128-64-10. `dict(type="MLP", in_shape=[8], widths=[6, 4], activation="sigmoid")` is the same idea
    for a table of 8 columns: with a head of one unit, 8-6-4-1.

    Weights begin as torch has them.

    Args:
        in_shape: of one input: (C, H, W) of an image, which is made one vector, or the columns of a table, as [8].
        widths: of the layers.

    Raises:
        ConfigError: no widths; inputs of another shape.
    """

    example_shape: tuple[int, ...] = (1, 28, 28)

    def __init__(
        self,
        in_shape: Sequence[int] = (1, 28, 28),
        widths: Sequence[int] = (512, 256, 128, 64),
        activation: Literal["relu", "sigmoid", "tanh"] = "relu",
    ) -> None:
        super().__init__()
        if len(widths) == 0:
            raise ConfigError(
                "MLP: widths is empty: give the width of at least one layer, or take the backbone Flatten"
            )
        self.example_shape = tuple(in_shape)
        self.num_features = widths[-1]
        layers: list[nn.Module] = [nn.Flatten()]
        width = math.prod(in_shape)
        for next_width in widths:
            layers += [nn.Linear(width, next_width), ACTIVATIONS[activation]()]
            width = next_width
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        require_shape(self, inputs, self.example_shape)
        return self.layers(inputs)
