"""Flatten: no network at all, so that a head sees pixels or columns as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from ...registry import BACKBONES
from ..shapes import require_shape


@BACKBONES.register_module()
class Flatten(nn.Module):
    """Each input as one vector: (N, *in_shape) -> (N, the product of in_shape). It has no parameters.

    With a `LinearHead` it is softmax regression, on 28 x 28 pixels and ten classes with 7,850 parameters; with a head
    of one unit, logistic regression.

    Args:
        in_shape: of one input: (C, H, W) of an image, or the number of columns of a table, as [8].

    Raises:
        ConfigError: inputs of another shape.
    """

    example_shape: tuple[int, ...] = (1, 28, 28)

    def __init__(self, in_shape: Sequence[int] = (1, 28, 28)) -> None:
        super().__init__()
        self.example_shape = tuple(in_shape)
        self.num_features = math.prod(in_shape)

    def forward(self, inputs: Tensor) -> Tensor:
        require_shape(self, inputs, self.example_shape)
        return inputs.flatten(1)
