"""GoogLeNet has the sizes of Table 1. Its values are compared with torchvision's in test_parity.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from knoll.models.backbones.googlenet import MEAN, STD, GoogLeNet, from_imagenet

# Table 1: output size and maps.
TABLE_1 = {
    "conv1": (112, 64),
    "maxpool1": (56, 64),
    "conv3": (56, 192),
    "maxpool2": (28, 192),
    "inception3a": (28, 256),
    "inception3b": (28, 480),
    "maxpool3": (14, 480),
    "inception4a": (14, 512),
    "inception4b": (14, 512),
    "inception4c": (14, 512),
    "inception4d": (14, 528),
    "inception4e": (14, 832),
    "maxpool4": (7, 832),
    "inception5a": (7, 832),
    "inception5b": (7, 1024),
}

# Table 1: "#5x5 reduce" and "#5x5".
LARGE = [(16, 32), (32, 96), (16, 48), (24, 64), (24, 64), (32, 64), (32, 128), (32, 128), (48, 128)]


@pytest.mark.parametrize("branch3", ["3x3", "5x5"])
def test_table_1(branch3: Any) -> None:
    sizes = {}
    with torch.device("meta"):
        backbone = GoogLeNet(branch3)
        for name in TABLE_1:
            module = backbone.get_submodule(name)
            module.register_forward_hook(lambda _, __, out, name=name: sizes.update({name: tuple(out.shape)}))
        features = backbone(torch.zeros(1, 3, 224, 224))
    assert sizes == {name: (1, maps, size, size) for name, (size, maps) in TABLE_1.items()}
    assert features.shape == (1, 1024, 7, 7)


def test_the_large_convolution() -> None:
    def count(backbone: GoogLeNet) -> int:
        return sum(parameter.numel() for parameter in backbone.parameters())

    with torch.device("meta"):
        difference = count(GoogLeNet("5x5")) - count(GoogLeNet("3x3"))
    assert difference == sum(inputs * outputs * (25 - 9) for inputs, outputs in LARGE)


def test_auxiliary_maps_are_those_behind_4a_and_4d() -> None:
    torch.manual_seed(0)
    backbone = GoogLeNet().eval()
    expected = []
    for name in ("inception4a", "inception4d"):
        backbone.get_submodule(name).register_forward_hook(lambda _, __, out: expected.append(out))
    images = torch.randn(1, 3, 64, 64)
    features, maps = backbone.forward_auxiliary(images)
    assert [each.shape[1] for each in maps] == list(backbone.auxiliary_features) == [512, 528]
    assert all(ours is theirs for ours, theirs in zip(maps, expected, strict=True))
    assert torch.equal(backbone(images), features)


def test_from_imagenet() -> None:
    images = torch.rand(2, 3, 4, 5)
    normalized = (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(from_imagenet(normalized), 2 * images - 1)
