"""VGG (Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ...registry import BACKBONES, ConfigError

WIDTHS = (64, 128, 256, 512, 512)

# Table 1: the 3x3 convolutions of each width; a pooling follows each group.
CONVOLUTIONS = {
    11: (1, 1, 2, 2, 2),  # column A
    13: (2, 2, 2, 2, 2),  # column B
    16: (2, 2, 3, 3, 3),  # column D
    19: (2, 2, 4, 4, 4),  # column E
}


@BACKBONES.register_module()
class VGG(nn.Module):
    """Stacks of 3x3 convolutions with ReLU between five poolings: (N, in_channels, H, W) -> (N, 512, H/32, W/32).

    With `head=dict(type="MLPHead", num_classes=1000)` it is the paper's network. The state dict has torchvision's
    names, so that its weight files load.

    What is not as in the paper: `batch_norm`, which came later (Ioffe, Szegedy 2015), and the initialisation. The paper
    trains column A first and begins the deeper ones with its layers (section 3.1); with the initialisation of He et al.
    (2015, section 2.2), here over the outgoing connections, each trains by itself.

    Args:
        depth: the layers with weights, counting the three of the paper's head.
        batch_norm: normalise between each convolution and its ReLU.

    Raises:
        ConfigError: images of less than 32 pixels a side: nothing is left after five poolings.
    """

    num_features = 512
    example_shape: tuple[int, int, int] = (3, 64, 64)

    def __init__(self, depth: Literal[11, 13, 16, 19] = 16, batch_norm: bool = False, in_channels: int = 3) -> None:
        super().__init__()
        self.example_shape = (in_channels, 64, 64)
        layers: list[nn.Module] = []
        for width, count in zip(WIDTHS, CONVOLUTIONS[depth], strict=True):
            for _ in range(count):
                layers.append(nn.Conv2d(in_channels, width, kernel_size=3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU(inplace=True))
                in_channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, images: Tensor) -> Tensor:
        if min(images.shape[-2:]) < 32:
            raise ConfigError(
                f"VGG takes images of at least 32 x 32 pixels, got {tuple(images.shape)}: "
                "resize them, or take a backbone for small images, such as Tudui or LeNet5"
            )
        return self.features(images)
