from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from knoll.models.classifier import ImageClassifier
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
