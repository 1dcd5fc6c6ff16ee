"""GoogLeNet (Szegedy et al.: Going Deeper with Convolutions, CVPR 2015)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...registry import BACKBONES, ConfigError

# ImageNet's mean and standard deviation for red, green and blue, by which images are usually normalised.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@BACKBONES.register_module()
class GoogLeNet(nn.Module):
    """Nine Inception modules: (N, in_channels, H, W) -> (N, 1024, H', W'); 224 -> 7.

    The widths are those of Table 1. With `head=dict(type="LinearHead", num_classes=1000, dropout=0.4)` and
    `auxiliary_head=dict(type="GoogLeNetAuxiliaryHead", num_classes=1000)` it is the paper's network, but for these
    deviations, which are torchvision's. The state dict has torchvision's names, so that its weight files load.

    * Each convolution has a batch normalisation (Ioffe, Szegedy 2015) in place of a bias, and the two response
      normalisations at the beginning are left out.
    * The third branch of a module has a 3x3 convolution where the paper has a 5x5; see `branch3`.
    * The pooling between 4e and 5a is 2x2, in the paper 3x3.
    * Weights begin normal with a standard deviation of 0.01; the paper does not say how.
    * torchvision's dropout before the last layer is 0.2.

    Poolings round sizes up, which on 224 x 224 pixels gives the sizes of Table 1.

    Args:
        branch3: "5x5" is the paper's; torchvision's weights need "3x3".
        transform_input: take images that were normalised with ImageNet's mean and deviation, and bring them to the
            range from -1 to 1. torchvision's pretrained weights need it, for they were trained so elsewhere.

    Attributes: `auxiliary_features`, the channels of the maps behind 4a and 4d, from which auxiliary heads are trained.

    Raises:
        ConfigError: images of less than 15 pixels a side; `transform_input` for other than 3 channels.
    """

    num_features = 1024
    auxiliary_features = (512, 528)
    example_shape: tuple[int, int, int] = (3, 64, 64)

    def __init__(
        self, branch3: Literal["3x3", "5x5"] = "3x3", transform_input: bool = False, in_channels: int = 3
    ) -> None:
        super().__init__()
        if transform_input and in_channels != 3:
            raise ConfigError(
                f"GoogLeNet: transform_input is for colour images, and in_channels is {in_channels}: leave it out"
            )
        self.transform_input = transform_input
        self.example_shape = (in_channels, 64, 64)
        large = int(branch3[0])

        self.conv1 = BasicConv2d(in_channels, 64, kernel_size=7, stride=2)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, kernel_size=1)
        self.conv3 = BasicConv2d(64, 192, kernel_size=3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)

        self.inception3a = Inception(192, 64, (96, 128), (16, 32), 32, large)
        self.inception3b = Inception(256, 128, (128, 192), (32, 96), 64, large)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)

        self.inception4a = Inception(480, 192, (96, 208), (16, 48), 64, large)
        self.inception4b = Inception(512, 160, (112, 224), (24, 64), 64, large)
        self.inception4c = Inception(512, 128, (128, 256), (24, 64), 64, large)
        self.inception4d = Inception(512, 112, (144, 288), (32, 64), 64, large)
        self.inception4e = Inception(528, 256, (160, 320), (32, 128), 128, large)
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)

        self.inception5a = Inception(832, 256, (160, 320), (32, 128), 128, large)
        self.inception5b = Inception(832, 384, (192, 384), (48, 128), 128, large)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_auxiliary(images)[0]

    def forward_auxiliary(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The features, and the maps behind 4a and 4d."""
        if min(images.shape[-2:]) < 15:
            raise ConfigError(f"GoogLeNet takes images of at least 15 x 15 pixels, got {tuple(images.shape)}")
        if self.transform_input:
            images = from_imagenet(images)
        x = self.maxpool1(self.conv1(images))
        x = self.maxpool2(self.conv3(self.conv2(x)))

        x = self.inception3a(x)
        x = self.maxpool3(self.inception3b(x))

        after_4a = self.inception4a(x)
        x = self.inception4b(after_4a)
        x = self.inception4c(x)
        after_4d = self.inception4d(x)
        x = self.maxpool4(self.inception4e(after_4d))

        x = self.inception5a(x)
        return self.inception5b(x), (after_4a, after_4d)

    def group_matcher(self, coarse: bool = False) -> dict:
        """Parameters to layers, for timm's layer-wise learning rates: the stem, then each module; `coarse`: 3, 4, 5."""
        modules = [f"{stage}{letter}" for stage, letters in ((3, "ab"), (4, "abcde"), (5, "ab")) for letter in letters]
        each = [(rf"^inception{name}\.", (index,)) for index, name in enumerate(modules)]
        return dict(stem=r"^conv\d\.", blocks=r"^inception(\d)" if coarse else each)


class Inception(nn.Module):
    """Four branches side by side, their maps concatenated (Fig. 2b): (N, in_channels, H, W) -> (N, C, H, W).

    Args:
        branch1: the width of the 1x1 convolution.
        branch2: those of the 1x1 that reduces and of the 3x3 behind it.
        branch3: the same for the large convolution, of the size `large`.
        branch4: that of the 1x1 behind the pooling.
    """

    def __init__(
        self,
        in_channels: int,
        branch1: int,
        branch2: tuple[int, int],
        branch3: tuple[int, int],
        branch4: int,
        large: int,
    ) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(in_channels, branch1, kernel_size=1)
        self.branch2 = nn.Sequential(
            BasicConv2d(in_channels, branch2[0], kernel_size=1),
            BasicConv2d(*branch2, kernel_size=3),
        )
        self.branch3 = nn.Sequential(
            BasicConv2d(in_channels, branch3[0], kernel_size=1),
            BasicConv2d(*branch3, kernel_size=large),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(kernel_size=3, stride=1, padding=1),
            BasicConv2d(in_channels, branch4, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)


class BasicConv2d(nn.Module):
    """Convolution, batch normalisation, ReLU: (N, in_channels, H, W) -> (N, out_channels, H/stride, W/stride)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


def from_imagenet(images: Tensor) -> Tensor:
    """Images (N, 3, H, W) normalised with ImageNet's mean and deviation, in the range from -1 to 1 instead."""
    channels = [
        channel * (std / 0.5) + (mean - 0.5) / 0.5
        for channel, mean, std in zip(images.unbind(dim=1), MEAN, STD, strict=True)
    ]
    return torch.stack(channels, dim=1)
