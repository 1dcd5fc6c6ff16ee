"""AirBench: a small network that learns CIFAR-10 to 94 % with the fewest operations known when it was published."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ...registry import BACKBONES, ConfigError


@BACKBONES.register_module()
class AirBench(nn.Module):
    """(N, in_channels, H, W) -> (N, widths[-1], H', W'), for images of 32x32 (N, 256, 1, 1).

    Jordan: 94% on CIFAR-10 in 3.29 Seconds on a Single GPU (2024), section 3.1. A 2x2 convolution, made to whiten its
    input and not trained, but for its bias (section 3.2: hooks/whitening.py makes it); three blocks; a max pooling.
    Convolutions begin as the identity on as many channels as they have inputs (section 3.3), normalisations shift and
    do not scale.

    With `head=dict(type="LinearHead", num_classes=10)` it differs from the paper's network by the bias of that layer.

    Args:
        widths: channels of the three blocks.

    Raises:
        ConfigError: other than three widths; or, when called, images of less than 25 pixels.
    """

    example_shape: tuple[int, int, int] = (3, 32, 32)

    def __init__(self, widths: Sequence[int] = (64, 256, 256), in_channels: int = 3) -> None:
        super().__init__()
        if len(widths) != 3 or min(widths) < 1:
            raise ConfigError(f"AirBench has three blocks: give it three widths, such as [64, 256, 256], not {widths}")
        self.example_shape = (in_channels, 32, 32)
        self.num_features = widths[-1]
        whitened = 2 * in_channels * 2 * 2  # each direction of a 2x2 patch, and its negative
        self.whiten = nn.Conv2d(in_channels, whitened, kernel_size=2)
        self.whiten.weight.requires_grad_(False)
        nn.init.zeros_(self.whiten.bias)  # pyright: ignore[reportArgumentType]
        self.block1 = AirBenchBlock(whitened, widths[0])
        self.block2 = AirBenchBlock(widths[0], widths[1])
        self.block3 = AirBenchBlock(widths[1], widths[2])

    def forward(self, images: Tensor) -> Tensor:
        if min(images.shape[-2:]) < 25:
            raise ConfigError(f"AirBench takes images of at least 25 x 25 pixels, got {tuple(images.shape)}")
        x = F.gelu(self.whiten(images))
        x = self.block1(x)
        x = self.block2(x)
        x = self.block3(x)
        # Divided here, where the paper divides the logits: they begin small, and the loss calm.
        return F.max_pool2d(x, 3) / 9

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Parameters to layers, for timm's layer-wise learning rates: the whitening, then each block."""
        return dict(stem=r"^whiten\.", blocks=r"^block(\d)\.")


class AirBenchBlock(nn.Module):
    """Two convolutions, with a pooling behind the first: (N, in_channels, H, W) -> (N, channels, H/2, W/2)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = _convolution(in_channels, channels)
        self.norm1 = _normalisation(channels)
        self.conv2 = _convolution(channels, channels)
        self.norm2 = _normalisation(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(x)))


def _convolution(in_channels: int, channels: int) -> nn.Conv2d:
    made = nn.Conv2d(in_channels, channels, kernel_size=3, padding=1, bias=False)
    nn.init.dirac_(made.weight.data[:in_channels])  # the channels above stay random
    return made


def _normalisation(channels: int) -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(channels, eps=1e-12, momentum=0.4)
    made.weight.requires_grad_(False)
    return made
