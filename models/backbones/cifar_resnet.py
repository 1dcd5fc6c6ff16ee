"""The narrow ResNets for CIFAR-10 (He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016)."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ...registry import BACKBONES, ConfigError
from ..checkpointing import Checkpointed
from .resnet import conv1x1, conv3x3


@BACKBONES.register_module()
class CIFARResNet(nn.Module):
    """The network of section 4.2: (N, in_channels, H, W) -> (N, 64, H/4, W/4).

    One 3x3 convolution, then three stages of 16, 32 and 64 maps with n blocks of two convolutions each. With
    `head=dict(type="LinearHead", num_classes=10)` these are 6n + 2 layers, and the networks of Table 6: the depths 20,
    32, 44, 56, 110 and 1202.

    As in the paper: the shortcuts of option A, and the initialisation of He et al. (2015), here over the outgoing
    connections.

    The state dict has the names of Y. Idelbayev's published weights (github.com/akamaster/pytorch_resnet_cifar10),
    whose last layer, `linear`, is the head's. With them it classifies 91.73 % (depth 20) and 93.39 % (depth 56) of
    CIFAR-10's test images rightly, if these are normalised with ImageNet's mean and deviation.

    Args:
        shortcut: what stands beside a block that changes the shape (section 3.3). "A", the paper's choice here, has no
            parameters: it takes every second pixel, and zeros for the new maps. "B" is a 1x1 convolution.
        checkpointing: keep only the input of each block for the backward pass, and compute the rest again: less memory,
            more time, the same results.

    Raises:
        ConfigError: a depth that is not 6n + 2.
    """

    num_features = 64
    example_shape: tuple[int, int, int] = (3, 32, 32)

    def __init__(
        self, depth: int = 20, shortcut: Literal["A", "B"] = "A", checkpointing: bool = False, in_channels: int = 3
    ) -> None:
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise ConfigError(
                f"CIFARResNet: its depth is 6n + 2, such as 20, 32, 44, 56, 110 or 1202, and not {depth}: three stages "
                "of n blocks with two layers each, the first layer and the last"
            )
        self.example_shape = (in_channels, 32, 32)
        row = Checkpointed if checkpointing else nn.Sequential

        def stage(in_channels: int, channels: int, stride: int) -> nn.Sequential:
            first = CIFARBlock(in_channels, channels, stride, shortcut)
            return row(first, *[CIFARBlock(channels, channels, 1, shortcut) for _ in range(depth // 6 - 1)])

        self.conv1 = conv3x3(in_channels, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = stage(16, 16, stride=1)
        self.layer2 = stage(16, 32, stride=2)
        self.layer3 = stage(32, 64, stride=2)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(images)))
        x = self.layer1(x)
        x = self.layer2(x)
        return self.layer3(x)

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Parameters to layers, for timm's layer-wise learning rates: the stem, then each block, or each stage."""
        return dict(stem=r"^(?:conv1|bn1)\.", blocks=r"^layer(\d)\." if coarse else r"^layer(\d)\.(\d+)\.")


class CIFARBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: (N, in_channels, H, W) -> (N, channels, H/stride, W/stride)."""

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: Literal["A", "B"]) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        if stride == 1 and in_channels == channels:
            self.shortcut = nn.Identity()
        elif shortcut == "A":
            self.shortcut = ZeroPaddedShortcut(channels - in_channels, stride)
        else:
            self.shortcut = nn.Sequential(conv1x1(in_channels, channels, stride), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x))


class ZeroPaddedShortcut(nn.Module):
    """Option A of section 3.3: (N, C, H, W) -> (N, C + new_channels, H/stride, W/stride).

    Half of the zeros stand before the maps and half behind them. The paper does not say where; published weights for
    these networks were trained so.
    """

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = new_channels // 2
        self.behind = new_channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, self.before, self.behind))
