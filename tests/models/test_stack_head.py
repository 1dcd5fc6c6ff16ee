from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from knoll.models.heads.stack import StackHead
from knoll.registry import HEADS, MODELS, ConfigError, check, config_from_dict


def test_each_head_takes_what_the_one_before_it_gives() -> None:
    heads = [dict(type="LinearHead", num_classes=7), dict(type="MLPHead", num_classes=5, hidden=[6], pool=1)]
    stack = StackHead(4, [*heads, dict(type="LinearHead", num_classes=3)]).eval()
    features = torch.randn(2, 4, 5, 5)
    first, second, third = stack.heads
    assert (first.fc.in_features, second.classifier[0].in_features, third.fc.in_features) == (4, 7, 5)
    assert torch.equal(stack(features), third(second(first(features))))
    assert stack.num_classes == 3


def test_ten_classes_behind_vggs_thousand() -> None:
    heads = [dict(type="MLPHead", num_classes=1000), dict(type="LinearHead", num_classes=10)]
    backbone = dict(type="VGG", column="A")
    with torch.device("meta"):  # 130 million weights that nobody looks at
        model = MODELS.build(dict(type="ImageClassifier", backbone=backbone, head=dict(type="StackHead", heads=heads)))
        vgg = torchvision.models.vgg11()
    vgg.classifier.add_module("7", nn.Linear(1000, 10, device="meta"))
    own, theirs = model.state_dict(), vgg.state_dict()
    for name in ("classifier.0.weight", "classifier.3.bias", "classifier.6.weight"):
        assert own[f"head.heads.0.{name}"].shape == theirs[name].shape
    assert own["head.heads.1.fc.weight"].shape == theirs["classifier.7.weight"].shape
    assert len(own) == len(theirs)


def test_the_last_head_says_whether_labels_are_several() -> None:
    linear, several = dict(type="LinearHead", num_classes=4), dict(type="MultiLabelHead", num_classes=4)
    assert StackHead(3, [linear, several]).multi_label
    assert not StackHead(3, [several, linear]).multi_label
    binary = StackHead(3, [linear, dict(type="BinaryHead")])
    assert binary.num_classes == 2
    assert binary(torch.randn(5, 3)).shape == (5, 2)


def test_no_heads() -> None:
    with pytest.raises(ConfigError, match="`heads` is empty"):
        StackHead(3, [])


def test_a_head_that_does_not_say_its_width() -> None:
    @HEADS.register_module()
    class Mute(nn.Identity):
        pass

    try:
        with pytest.raises(ConfigError, match=r"heads\.1 \(Mute\) has no num_classes: give your head an attribute"):
            StackHead(3, [dict(type="LinearHead", num_classes=2), dict(type="Mute")])
    finally:
        del HEADS.module_dict["Mute"]


def test_an_input_width_is_not_to_be_given() -> None:
    with pytest.raises(ConfigError, match=r"heads\.1\.in_features is filled in by Knoll"):
        StackHead(3, [dict(type="BinaryHead"), dict(type="BinaryHead", in_features=2)])


def test_the_check_looks_into_it(tiny: dict) -> None:
    heads = [dict(type="LinearHead", num_clases=4), dict(type="LinerHead"), dict(type="BinaryHead", in_features=4)]
    tiny["model"]["head"] = dict(type="StackHead", heads=heads)
    found = {".".join(map(str, problem.path)): problem.message for problem in check(config_from_dict(tiny))}
    assert "Did you mean `num_classes`" in found["model.head.heads.0.num_clases"]
    assert "Did you mean `LinearHead`" in found["model.head.heads.1.type"]
    assert "filled in by Knoll" in found["model.head.heads.2.in_features"]
