"""The layers of a model, and the learning rates that follow from them: timm's own in the same process."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay  # pyright: ignore[reportPrivateImportUsage]
from torch import nn

from knoll.models.classifier import ImageClassifier
from knoll.optim.layers import layer_of_each
from knoll.optim.param_groups import rules
from knoll.registry import ParamGroups

HEAD = dict(type="LinearHead", num_classes=1000)
TIMM = [
    "resnet18",
    "vit_tiny_patch16_224",  # norm behind the blocks: in the last block's layer
    "convnext_atto",  # norm in front of the classifier: in its layer
    "mobilenetv2_100",
    "swin_tiny_patch4_window7_224",  # asks for position biases without decay, which have two dimensions
    "inception_v3",  # a matcher that is a function
    "deit_tiny_distilled_patch16_224",
]


def by_timm(model: nn.Module) -> dict[str, tuple[float, float]]:
    """Scale and weight decay of each parameter, by timm's rules."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    without = getattr(model, "no_weight_decay", set)()
    groups = param_groups_layer_decay(model, weight_decay=0.05, no_weight_decay_list=without, layer_decay=0.7)
    return {names[each]: (group["lr_scale"], group["weight_decay"]) for group in groups for each in group["params"]}


def by_us(model: nn.Module) -> dict[str, tuple[float, float]]:
    made = rules(model, ParamGroups(layer_decay=0.7, decay_norms_and_biases=False))
    return {
        name: (made[each].lr_scale, 0.05 if made[each].weight_decay is None else 0.0)
        for name, each in model.named_parameters()
    }


def made_by_timm(name: str, **options) -> nn.Module:
    with torch.device("meta"):  # only names and shapes count
        return timm.create_model(name, **options)


@pytest.mark.parametrize("name", TIMM)
def test_a_model_of_timms_has_timms_rates_and_decays(name):
    model = made_by_timm(name)
    ours = by_us(model)
    assert ours == by_timm(model)
    assert len({scale for scale, _ in ours.values()}) > 5


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("name", TIMM)
def test_a_backbone_of_timms_in_our_classifier_has_those_of_the_whole_model(name, wrapped):
    bare = made_by_timm(name, num_classes=0)
    expected = by_timm(made_by_timm(name))
    prefix = "backbone."
    if wrapped:
        holder = nn.Module()
        holder.net = bare
        holder.num_features = bare.num_features
        bare, prefix = holder, "backbone.net."
    ours = by_us(ImageClassifier(bare, HEAD))
    assert (ours.pop("head.fc.weight"), ours.pop("head.fc.bias")) == ((1.0, 0.05), (1.0, 0.0))
    assert ours == {name: expected[name.removeprefix(prefix)] for name in ours}
    classifier = [name for name in expected if prefix + name not in ours]
    assert {expected[name][0] for name in classifier} == {1.0}


def test_the_layers_of_our_resnet():
    """The stem, each block, the head; that they are timm's is in tests/models/test_layer_groups.py."""
    model = ImageClassifier(dict(type="ResNet", depth=18), HEAD)
    blocks = [f"backbone.layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
    order = [("backbone.conv1.", "backbone.bn1."), *((f"{block}.",) for block in blocks), ("head.fc.",)]
    for name, layer in layer_of_each(model).items():
        assert name.startswith(order[layer])
    assert set(layer_of_each(model).values()) == set(range(10))


def test_our_sequences_are_counted_layer_by_layer():
    model = ImageClassifier(dict(type="Tudui"), HEAD)
    first = {"layers.0": 0, "layers.2": 1, "layers.4": 2, "layers.7": 3}
    expected = {f"backbone.{name}.{part}": layer for name, layer in first.items() for part in ("weight", "bias")}
    assert layer_of_each(model) == expected | {"head.fc.weight": 4, "head.fc.bias": 4}


def test_a_network_without_backbone_or_matcher_is_counted_too():
    model = nn.Module()
    model.embedding = nn.Parameter(torch.zeros(1))
    model.stem, model.act, model.fc = nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)
    layers = {"embedding": 0, "stem.weight": 0, "stem.bias": 0, "fc.weight": 1, "fc.bias": 1}
    assert layer_of_each(model) == layers


def test_a_backbone_of_ours_may_have_a_matcher_of_its_own():
    model = ImageClassifier(dict(type="LeNet5"), HEAD)
    model.backbone.group_matcher = lambda coarse=False: dict(convolutions=r"^c\d", others=r"^f\d")
    layers = layer_of_each(model)
    assert {name.split(".")[1]: layer for name, layer in layers.items() if name.startswith("backbone")} == dict(
        c1=0, c3=0, c5=0, f6=1
    )
    assert layers["head.fc.weight"] == 2
