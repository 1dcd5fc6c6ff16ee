"""CNN5x5: two convolutions of 5x5, the first network of many courses for the digits of MNIST."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ...registry import BACKBONES, ConfigError
from ..shapes import require_shape


@BACKBONES.register_module()
class CNN5x5(nn.Module):
    """Twice convolution, pooling and ReLU: (N, *in_shape) -> (N, 20 h w); 28 x 28 pixels leave h = w = 4, so (N, 320).

    With a `LinearHead` for ten classes it is the courses' network 1-10-20-320-10, with 8,490 parameters. Weights begin
    as torch has them.

    Args:
        in_shape: (C, H, W) of an image.

    Raises:
        ConfigError: images of another shape, or of less than 16 pixels a side: nothing is left of them.
    """

    example_shape: tuple[int, ...] = (1, 28, 28)

    def __init__(self, in_shape: Sequence[int] = (1, 28, 28)) -> None:
        super().__init__()
        if len(in_shape) != 3 or min(in_shape[1:]) < 16:
            raise ConfigError(
                f"CNN5x5: in_shape is {list(in_shape)}: it is [C, H, W], with at least 16 pixels for H and W"
            )
        self.example_shape = tuple(in_shape)
        channels, height, width = in_shape
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 10, kernel_size=5),  # 10 x 24 x 24
            nn.MaxPool2d(2),  # 10 x 12 x 12
            nn.ReLU(),
            nn.Conv2d(10, 20, kernel_size=5),  # 20 x 8 x 8
            nn.MaxPool2d(2),  # 20 x 4 x 4
            nn.ReLU(),
            nn.Flatten(),  # 320
        )
        self.num_features = 20 * _left(height) * _left(width)

    def forward(self, images: Tensor) -> Tensor:
        require_shape(self, images, self.example_shape)
        return self.layers(images)


def _left(side: int) -> int:
    """How many of the pixels of a side are left after two convolutions and poolings."""
    return ((side - 4) // 2 - 4) // 2
