from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from knoll.models.classifier import ImageClassifier
from knoll.models.outputs import Outputs
from knoll.registry import MODELS, ConfigError

HEAD = dict(type="LinearHead", num_classes=10)


class Returns(nn.Module):
    """A backbone that returns what it is told to."""

    def __init__(self, value: Any, num_features: Any = None) -> None:
        super().__init__()
        self.value = value
        if num_features is not None:
            self.num_features = num_features

    def forward(self, images: Tensor) -> Any:
        return self.value


def test_built_from_a_config() -> None:
    model = MODELS.build(dict(type="ImageClassifier", backbone=dict(type="ResNet", depth=18), head=HEAD))
    assert model.head.fc.weight.shape == (10, 512)
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 10)


def test_built_from_modules() -> None:
    head = nn.Linear(7, 3)
    features = torch.randn(2, 7)
    model = ImageClassifier(Returns(features, num_features=7), head)
    assert torch.equal(model(torch.zeros(2, 1, 1, 1)), head(features))


def test_backbone_without_num_features() -> None:
    message = "Returns has no num_features: give your backbone an attribute `num_features`: the channels of what its"
    with pytest.raises(ConfigError, match=message):
        ImageClassifier(Returns(None), HEAD)


@pytest.mark.parametrize(
    ("value", "returned"),
    [
        (torch.zeros(2, 128), r"one of the shape \(2, 128\)"),
        (torch.zeros(2, 49, 64), r"one of the shape \(2, 49, 64\)"),
        ((torch.zeros(2, 64),), "a tuple"),
    ],
)
def test_backbone_that_returns_something_else(value: Any, returned: str) -> None:
    model = ImageClassifier(Returns(value, num_features=64), HEAD)
    message = rf"Returns: .* \(N, 64\) or \(N, 64, H, W\), for its num_features is 64; it returned {returned}"
    with pytest.raises(ConfigError, match=message):
        model(torch.zeros(2, 3, 8, 8))


# --- auxiliary heads --------------------------------------------------------------------------------------------------

AUXILIARY = dict(type="GoogLeNetAuxiliaryHead", num_classes=10)


def test_auxiliary_heads_are_for_training_only() -> None:
    torch.manual_seed(0)
    model = ImageClassifier(dict(type="GoogLeNet"), HEAD, auxiliary_head=AUXILIARY | dict(dropout=0.0))
    images = torch.randn(2, 3, 64, 64)
    assert list(model.auxiliary) == ["aux1", "aux2"]

    features, maps = model.backbone.forward_auxiliary(images)
    outputs = model(images)
    assert isinstance(outputs, Outputs)
    assert outputs.auxiliary_weight == 0.3
    assert torch.equal(outputs.logits, model.head(features))
    for name, logits, each in zip(["aux1", "aux2"], outputs.auxiliary, maps, strict=True):
        assert logits.shape == (2, 10)
        assert torch.equal(logits, model.auxiliary[name](each))

    model.eval()
    assert torch.equal(model(images), model.head(model.backbone(images)))


def test_without_auxiliary_heads_training_gives_logits() -> None:
    model = ImageClassifier(dict(type="GoogLeNet"), HEAD)
    assert model.training
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 10)
    assert [key for key in model.state_dict() if not key.startswith(("backbone.", "head."))] == []


def test_any_head_can_be_an_auxiliary_head() -> None:
    model = ImageClassifier(dict(type="GoogLeNet"), HEAD, auxiliary_head=HEAD, auxiliary_weight=0.1)
    assert [head.fc.weight.shape for head in model.auxiliary.values()] == [(10, 512), (10, 528)]
    outputs = model(torch.randn(2, 3, 64, 64))
    assert isinstance(outputs, Outputs)
    assert outputs.auxiliary_weight == 0.1


def test_backbone_without_auxiliary_outputs() -> None:
    with pytest.raises(ConfigError, match="LeNet5 has nothing for an auxiliary_head: leave it out, or take a backbone"):
        ImageClassifier(dict(type="LeNet5"), HEAD, auxiliary_head=AUXILIARY)


def test_heads_of_different_classes() -> None:
    message = "must tell the same classes apart, not 10 and 5: set auxiliary_head.num_classes to 10"
    with pytest.raises(ConfigError, match=message):
        ImageClassifier(dict(type="GoogLeNet"), HEAD, auxiliary_head=AUXILIARY | dict(num_classes=5))
