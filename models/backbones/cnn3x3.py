"""CNN3x3: two wide convolutions of 3x3 and one pooling, for the digits of MNIST."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ...registry import BACKBONES, ConfigError
from ..shapes import require_shape


@BACKBONES.register_module()
class CNN3x3(nn.Module):
    """Convolutions of 64 and 128 maps, then a pooling: (N, *in_shape) -> (N, 128, H/2, W/2); 28 -> 14.

    With `head=dict(type="MLPHead", num_classes=10, hidden=[1024], pool=14)` it is the network of course notes, almost
    all of whose 25,775,882 parameters are in the layer of 1024 units. Here they begin as torch has them, those of that
    head as `MLPHead` does.

    Args:
        in_shape: (C, H, W) of an image.

    Raises:
        ConfigError: images of another shape.
    """

    num_features = 128
    example_shape: tuple[int, ...] = (1, 28, 28)

    def __init__(self, in_shape: Sequence[int] = (1, 28, 28)) -> None:
        super().__init__()
        if len(in_shape) != 3 or min(in_shape[1:]) < 2:
            raise ConfigError(
                f"CNN3x3: in_shape is {list(in_shape)}: it is [C, H, W], with at least 2 pixels for H and W"
            )
        self.example_shape = tuple(in_shape)
        self.layers = nn.Sequential(
            nn.Conv2d(in_shape[0], 64, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 128, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )

    def forward(self, images: Tensor) -> Tensor:
        require_shape(self, images, self.example_shape)
        return self.layers(images)
