"""LeNet-5 (LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition, 1998)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...registry import BACKBONES, ConfigError

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid}
POOLS = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}


@BACKBONES.register_module()
class LeNet5(nn.Module):
    """The digit reader of 1998: (N, in_channels, image_size, image_size) -> (N, 84).

    The layers bear the paper's names and sizes (section II.B, Fig. 2): C1 and C3 are convolutions with 6 and 16 maps,
    S2 and S4 halve height and width, C5 turns 16 x 5 x 5 into 120 numbers, F6 those into 84.

    What is customary today and not as in the paper:

    * S2 and S4 only pool. In the paper they also have a trained coefficient and bias for each map, and the squashing
      function; here the activation stands behind C1, C3, C5 and F6.
    * tanh, not 1.7159 tanh(2x/3), and torch's initialisation, not one uniform within 2.4 / fan-in (appendix A).
    * The head is linear, for softmax and cross-entropy. The paper's measures the distances to fixed pictures of the
      characters (RBF units).

    So it has 61,706 parameters with a `LinearHead` for ten classes, where the paper counts 60,000.

    Args:
        image_size: 32 is the paper's. Images of 28, MNIST's size, are padded by 2 on each side, with zeros: their
            background should be near 0 after normalisation.
        pool: "avg" is nearer to the paper.
        connections: which maps of S2 a map of C3 sees: "full", all of them; "sparse", those of the paper's Table I.

    Raises:
        ConfigError: images of another shape; C5 fits no other.
    """

    num_features = 84
    example_shape: tuple[int, int, int] = (1, 28, 28)

    def __init__(
        self,
        in_channels: int = 1,
        image_size: Literal[28, 32] = 28,
        activation: Literal["tanh", "relu", "sigmoid"] = "tanh",
        pool: Literal["avg", "max"] = "avg",
        connections: Literal["full", "sparse"] = "full",
    ) -> None:
        super().__init__()
        self.example_shape = (in_channels, image_size, image_size)
        self.c1 = nn.Conv2d(in_channels, 6, kernel_size=5, padding=(32 - image_size) // 2)
        self.s2 = POOLS[pool](2)
        self.c3 = nn.Conv2d(6, 16, kernel_size=5) if connections == "full" else SparseC3()
        self.s4 = POOLS[pool](2)
        self.c5 = nn.Conv2d(16, 120, kernel_size=5)
        self.f6 = nn.Linear(120, self.num_features)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[1:] != self.example_shape:
            channels, height, width = self.example_shape
            raise ConfigError(
                f"this LeNet5 takes images of the shape (N, {channels}, {height}, {width}), got {tuple(images.shape)}: "
                "set its in_channels and image_size (28 or 32), or convert the images"
            )
        x = self.s2(self.activation(self.c1(images)))  # 6 x 14 x 14
        x = self.s4(self.activation(self.c3(x)))  # 16 x 5 x 5
        x = self.activation(self.c5(x)).flatten(1)  # 120
        return self.activation(self.f6(x))


class SparseC3(nn.Conv2d):
    """C3 with the connections of Table I: (N, 6, 14, 14) -> (N, 16, 10, 10).

    The weights of absent connections are multiplied by zero rather than left out, so they count among the parameters
    (2,416, where the paper has 1,516), have no gradient, and a state dict fits both kinds of C3.
    """

    mask: Tensor

    def __init__(self) -> None:
        super().__init__(6, 16, kernel_size=5)
        mask = torch.zeros(16, 6, 1, 1)
        for c3_map, s2_maps in enumerate(table_1()):
            mask[c3_map, s2_maps] = 1
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, self.bias)


def table_1() -> list[list[int]]:
    """For each of the 16 maps of C3, the maps of S2 that it sees. Neighbours are meant in a ring: 0 follows 5."""
    three_neighbours = [[k, k + 1, k + 2] for k in range(6)]
    four_neighbours = [[k, k + 1, k + 2, k + 3] for k in range(6)]
    two_pairs = [[k, k + 1, k + 3, k + 4] for k in range(3)]
    everything = [list(range(6))]
    return [sorted(k % 6 for k in maps) for maps in three_neighbours + four_neighbours + two_pairs + everything]
