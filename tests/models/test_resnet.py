"""ResNet and CIFARResNet. ResNet's values are compared with torchvision's in test_parity.py."""

from __future__ import annotations

from math import sqrt
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock as TheirBlock

from knoll.models.backbones.cifar_resnet import CIFARResNet, ZeroPaddedShortcut
from knoll.models.backbones.resnet import BasicBlock, ResNet
from knoll.models.classifier import ImageClassifier


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("depth", "channels"), [(18, 512), (34, 512), (50, 2048), (101, 2048), (152, 2048)])
def test_feature_map(depth: Any, channels: int) -> None:
    with torch.device("meta"):
        backbone = ResNet(depth)
        assert backbone.num_features == channels
        assert backbone(torch.zeros(2, 3, 224, 160)).shape == (2, channels, 7, 5)


def test_for_small_images() -> None:
    with torch.device("meta"):
        backbone = ResNet(18, stem="3x3", in_channels=1)
        assert backbone(torch.zeros(2, 1, 32, 32)).shape == (2, 512, 4, 4)
        # Only the first convolution differs: 1 x 3 x 3 in place of 3 x 7 x 7, for 64 channels.
        assert count(ResNet(18)) - count(backbone) == 64 * (3 * 49 - 9)


@pytest.mark.parametrize(("depth", "blocks", "last"), [(18, 8, "bn2"), (50, 16, "bn3")])
def test_zero_init_residual(depth: Any, blocks: int, last: str) -> None:
    def scales_of_zero(backbone: nn.Module) -> list[str]:
        return [key for key, value in backbone.named_parameters() if key.endswith(".weight") and not value.any()]

    zeros = scales_of_zero(ResNet(depth, zero_init_residual=True))
    assert len(zeros) == blocks
    assert all(key.endswith(f".{last}.weight") for key in zeros)
    assert scales_of_zero(ResNet(depth)) == []


def test_block_of_zero_is_the_identity() -> None:
    block = BasicBlock(64, 64, stride=1)
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(2, 64, 8, 8)  # not negative: the last ReLU leaves it alone
    assert torch.equal(block(x), x)


def test_stride_in_the_1x1_convolution() -> None:
    """As torchvision's network with its strides moved."""
    theirs = torchvision.models.resnet50(num_classes=10)
    for stage in (theirs.layer2, theirs.layer3, theirs.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    ours = ImageClassifier(dict(type="ResNet", stride_in="1x1"), dict(type="LinearHead", num_classes=10))
    ours.backbone.load_state_dict({key: value for key, value in theirs.state_dict().items() if "fc" not in key})
    ours.head.load_state_dict({"fc.weight": theirs.fc.weight, "fc.bias": theirs.fc.bias})
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=0)


@pytest.mark.parametrize("backbone", [ResNet(18), CIFARResNet(20)], ids=["ResNet", "CIFARResNet"])
def test_initialisation_is_he_over_the_outgoing_connections(backbone: ResNet | CIFARResNet) -> None:
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    for convolution in convolutions:
        fan_out = convolution.out_channels * convolution.kernel_size[0] * convolution.kernel_size[1]
        spread = 4 / sqrt(2 * convolution.weight.numel())  # four standard deviations of an estimated deviation
        assert convolution.weight.std().item() == pytest.approx(sqrt(2 / fan_out), rel=spread)


# --- CIFARResNet ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [8, 20, 32, 44, 56, 110])
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_cifar_layers(depth: int, shortcut: Any) -> None:
    with torch.device("meta"):
        backbone = CIFARResNet(depth, shortcut)
        assert backbone(torch.zeros(2, 3, 32, 32)).shape == (2, 64, 8, 8)
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    assert sum(convolution.kernel_size == (3, 3) for convolution in convolutions) + 1 == depth  # the head's is the last
    assert len(convolutions) + 1 == depth + (2 if shortcut == "B" else 0)


def test_cifar_option_a() -> None:
    x = torch.randn(2, 16, 8, 8)
    out = ZeroPaddedShortcut(new_channels=16, stride=2)(x)
    assert out.shape == (2, 32, 4, 4)
    for channel in range(32):
        expected = x[:, channel - 8, 0::2, 0::2] if 8 <= channel < 24 else torch.zeros(2, 4, 4)
        assert torch.equal(out[:, channel], expected)


class ShortcutA(nn.Module):
    """Option A in other words: a 1x1 convolution with stride 2 and fixed weights, which copies map i to i + C/2."""

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        weight = torch.zeros(2 * channels, channels, 1, 1, dtype=x.dtype)
        weight[range(channels // 2, channels // 2 + channels), range(channels)] = 1
        return nn.functional.conv2d(x, weight, stride=2)


def theirs_for_cifar(n: int, shortcut: str) -> nn.Sequential:
    """The network of section 4.2 from torchvision's blocks."""

    def downsample(channels: int) -> nn.Module:
        if shortcut == "A":
            return ShortcutA()
        return nn.Sequential(nn.Conv2d(channels // 2, channels, 1, stride=2, bias=False), nn.BatchNorm2d(channels))

    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    layers += [TheirBlock(16, 16) for _ in range(n)]
    for channels in (32, 64):
        layers.append(TheirBlock(channels // 2, channels, stride=2, downsample=downsample(channels)))
        layers += [TheirBlock(channels, channels) for _ in range(n - 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_cifar_parity_with_blocks_of_torchvision(shortcut: str) -> None:
    torch.manual_seed(0)
    theirs = theirs_for_cifar(3, shortcut).double()
    ours = ImageClassifier(
        dict(type="CIFARResNet", depth=20, shortcut=shortcut), dict(type="LinearHead", num_classes=10)
    ).double()
    values = list(theirs.state_dict().values())
    ours.load_state_dict(dict(zip(ours.state_dict(), values, strict=True)))
    images, labels = torch.randn(4, 3, 32, 32, dtype=torch.float64), torch.arange(4)
    for model in (ours, theirs):
        nn.functional.cross_entropy(model(images), labels).backward()
    for parameter, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, atol=1e-12, rtol=1e-8)
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images), atol=1e-12, rtol=1e-8)
