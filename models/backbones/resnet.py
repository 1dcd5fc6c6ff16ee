"""ResNet (He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ...registry import BACKBONES
from ..checkpointing import Checkpointed


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (Fig. 5, left).

    (N, in_channels, H, W) -> (N, channels, H/stride, W/stride)

    `stride_in` is for `Bottleneck`; here the first convolution has the stride.
    """

    expansion = 1  # output channels over `channels`

    def __init__(self, in_channels: int, channels: int, stride: int, stride_in: str = "3x3") -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = shortcut(in_channels, channels, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + self.downsample(x))


class Bottleneck(nn.Module):
    """A 1x1, a 3x3 and a 1x1 convolution beside a shortcut (Fig. 5, right).

    (N, in_channels, H, W) -> (N, 4 * channels, H/stride, W/stride)

    Args:
        stride_in: which convolution has the stride, the first 1x1 or the 3x3.
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int, stride_in: str = "3x3") -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = conv1x1(in_channels, channels, stride if stride_in == "1x1" else 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels, stride if stride_in == "3x3" else 1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = conv1x1(channels, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = shortcut(in_channels, out_channels, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + self.downsample(x))


# Table 1: the block, and how many of them in each of the four stages (conv2_x to conv5_x in the paper).
ARCHITECTURES = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


@BACKBONES.register_module()
class ResNet(nn.Module):
    """Residual network: (N, in_channels, H, W) -> (N, num_features, H/32, W/32).

    `num_features` is 512 for the depths 18 and 34, and 2048 for the others. With
    `head=dict(type="LinearHead", num_classes=1000)` it is the network of the paper's Table 1. The state dict has
    torchvision's names, so that its weight files load.

    As in the paper: the shortcut is the identity, or a 1x1 convolution where the shape changes (option B of section
    3.3); batch normalisation behind each convolution (section 3.4); the initialisation of He et al. (2015), here over
    the outgoing connections. The one deviation is `stride_in`.

    Args:
        stem: "7x7" begins with a 7x7 convolution and a pooling, both of stride 2. "3x3" is for small images such as
            CIFAR's: one 3x3 convolution of stride 1 and no pooling, so the features are (H/8, W/8). It is not the
            narrower network that the paper trains on CIFAR-10 (section 4.2); that is CIFARResNet.
        stride_in: which convolution of a bottleneck has the stride. "1x1", the first one, is the authors' choice, known
            as the style of Caffe. "3x3" is torchvision's, known as ResNet v1.5: more to compute and a little more
            accurate. The depths 18 and 34 have no bottlenecks.
        zero_init_residual: begin with every block as the identity, its last batch normalisation being scaled by 0
            (Goyal et al. 2017, section 5.1). Helps where the learning rate or the batch is large.
        checkpointing: keep only the input of each block for the backward pass, and compute the rest again: less memory,
            more time, the same results.
    """

    example_shape: tuple[int, int, int] = (3, 64, 64)

    def __init__(
        self,
        depth: Literal[18, 34, 50, 101, 152] = 50,
        stem: Literal["7x7", "3x3"] = "7x7",
        stride_in: Literal["1x1", "3x3"] = "3x3",
        zero_init_residual: bool = False,
        checkpointing: bool = False,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        block, counts = ARCHITECTURES[depth]
        self.num_features = 512 * block.expansion
        self.example_shape = (in_channels, 64, 64)

        if stem == "7x7":
            self.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
            pooling: nn.Module = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        else:
            self.conv1 = conv3x3(in_channels, 64)
            pooling = nn.Identity()
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = pooling

        row = Checkpointed if checkpointing else nn.Sequential

        def stage(in_channels: int, channels: int, count: int, stride: int) -> nn.Sequential:
            """`count` blocks in a row; the first one changes the shape."""
            first = block(in_channels, channels, stride, stride_in)
            return row(first, *[block(channels * block.expansion, channels, stride=1) for _ in range(count - 1)])

        self.layer1 = stage(64, 64, counts[0], stride=1)
        self.layer2 = stage(64 * block.expansion, 128, counts[1], stride=2)
        self.layer3 = stage(128 * block.expansion, 256, counts[2], stride=2)
        self.layer4 = stage(256 * block.expansion, 512, counts[3], stride=2)

        self._initialize(zero_init_residual)

    def _initialize(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(module, (BasicBlock, Bottleneck)):
                last = module.bn2 if isinstance(module, BasicBlock) else module.bn3
                nn.init.zeros_(last.weight)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv1(images)
        x = self.bn1(x)
        x = self.relu(x)
        x = self.maxpool(x)

        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        return self.layer4(x)

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Parameters to layers, for timm's layer-wise learning rates: the stem, then each block, or each stage."""
        return dict(stem=r"^(?:conv1|bn1)\.", blocks=r"^layer(\d)\." if coarse else r"^layer(\d)\.(\d+)\.")


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """What leads around the convolutions of a block."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))


# No biases: each convolution is followed by a batch normalisation, which has one.
def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)
