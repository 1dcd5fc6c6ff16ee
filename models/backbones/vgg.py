"""VGG (Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ...registry import BACKBONES, ConfigError

WIDTHS = (64, 128, 256, 512, 512)

# Table 1: for each width, the kernel sizes of the convolutions that have it; a pooling follows each group.
COLUMNS = {
    "A": ([3], [3], [3, 3], [3, 3], [3, 3]),
    "B": ([3, 3], [3, 3], [3, 3], [3, 3], [3, 3]),
    "C": ([3, 3], [3, 3], [3, 3, 1], [3, 3, 1], [3, 3, 1]),
    "D": ([3, 3], [3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]),
    "E": ([3, 3], [3, 3], [3, 3, 3, 3], [3, 3, 3, 3], [3, 3, 3, 3]),
}


@BACKBONES.register_module()
class VGG(nn.Module):
    """Stacks of small convolutions with ReLU between five poolings: (N, in_channels, H, W) -> (N, 512, H/32, W/32).

    With `head=dict(type="MLPHead", num_classes=1000)` it is the paper's network. The state dict has torchvision's
    names, so that its weight files load.

    What is not as in the paper: `batch_norm`, which came later (Ioffe, Szegedy 2015), and the initialisation. The paper
    trains column A first and begins the deeper ones with its layers (section 3.1); with the initialisation of He et al.
    (2015, section 2.2), here over the outgoing connections, each trains by itself. Left out is A-LRN, column A with a
    local response normalisation, which the paper found to be of no use (section 4.1).

    Args:
        column: of the paper's Table 1. By the number of layers with weights, the three of the head counted, A is known
            as VGG-11, B as VGG-13, D as VGG-16 and E as VGG-19. C has 16 too, three of them 1x1 convolutions.
        batch_norm: normalise between each convolution and its ReLU.

    Raises:
        ConfigError: images of less than 32 pixels a side: nothing is left after five poolings.
    """

    num_features = 512
    example_shape: tuple[int, int, int] = (3, 64, 64)

    def __init__(
        self, column: Literal["A", "B", "C", "D", "E"] = "D", batch_norm: bool = False, in_channels: int = 3
    ) -> None:
        super().__init__()
        self.example_shape = (in_channels, 64, 64)
        layers: list[nn.Module] = []
        for width, kernel_sizes in zip(WIDTHS, COLUMNS[column], strict=True):
            for kernel_size in kernel_sizes:
                layers.append(nn.Conv2d(in_channels, width, kernel_size, padding=kernel_size // 2))
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

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Parameters to layers, for timm's layer-wise learning rates; as timm's VGG has it.

        Each module of `features` is a layer of its own, so a batch normalisation is not grouped with its convolution.
        `coarse` changes nothing.
        """
        return dict(stem=r"^features\.0\.", blocks=r"^features\.(\d+)\.")
