"""What a layer is for layer-wise learning rates, by timm's convention."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from timm.models import group_parameters
from timm.optim import param_groups_layer_decay

from knoll.registry import BACKBONES


def groups(model: Any, coarse: bool) -> dict[str, int]:
    return group_parameters(model, model.group_matcher(coarse=coarse), reverse=True)


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("resnet18", dict(type="ResNet", depth=18)),
        ("resnet50", dict(type="ResNet", depth=50)),
        ("vgg11", dict(type="VGG", column="A")),
        ("vgg16", dict(type="VGG", column="D")),
        ("vgg16_bn", dict(type="VGG", column="D", batch_norm=True)),
    ],
)
@pytest.mark.parametrize("coarse", [False, True])
def test_as_timm(name: str, backbone: dict[str, Any], coarse: bool) -> None:
    with torch.device("meta"):
        ours, theirs = BACKBONES.build(backbone), timm.create_model(name)
    expected = groups(theirs, coarse)
    found = groups(ours, coarse)
    assert found == {key: group for key, group in expected.items() if key in found}
    # What only timm's has is its head, in a group of its own behind all others.
    assert {group for key, group in expected.items() if key not in found} == {max(found.values()) + 1}


@pytest.mark.parametrize(
    ("backbone", "fine", "coarse"),
    [
        (dict(type="CIFARResNet", depth=20), 1 + 9, 1 + 3),
        (dict(type="CIFARResNet", depth=20, shortcut="B"), 1 + 9, 1 + 3),
        (dict(type="ResNet", depth=18, stem="3x3"), 1 + 8, 1 + 4),
        (dict(type="AlexNet"), 5, 5),
        (dict(type="GoogLeNet"), 1 + 9, 1 + 3),
    ],
    ids=str,
)
def test_layers(backbone: dict[str, Any], fine: int, coarse: int) -> None:
    with torch.device("meta"):
        model = BACKBONES.build(backbone)
    for is_coarse, layers in ((False, fine), (True, coarse)):
        found = groups(model, is_coarse)
        assert set(found) == {key for key, _ in model.named_parameters()}
        # In the order in which the network computes them, so that rates fall towards the image.
        order = list(found.values())
        assert sorted(order) == [found[key] for key, _ in model.named_parameters()]
        assert set(order) == set(range(layers))


@pytest.mark.parametrize("name", ["AlexNet", "CIFARResNet", "GoogLeNet", "ResNet", "VGG"])
def test_rates_fall_towards_the_image(name: str) -> None:
    with torch.device("meta"):
        model = BACKBONES.build(dict(type=name))
        decayed = param_groups_layer_decay(model, layer_decay=0.5)
    scale = {id(parameter): group["lr_scale"] for group in decayed for parameter in group["params"]}
    scales = [scale[id(parameter)] for parameter in model.parameters()]
    assert scales == sorted(scales)
    assert scales[0] < scales[-1] / 4
