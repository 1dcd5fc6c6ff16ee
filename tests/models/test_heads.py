from __future__ import annotations

import pytest
import torch
from torch import nn

from knoll.models.heads.binary import BinaryHead
from knoll.models.heads.linear import LinearHead
from knoll.models.heads.mlp import MLPHead
from knoll.registry import HEADS, ConfigError


def test_linear_head_averages_a_feature_map() -> None:
    head = LinearHead(8, 3)
    features = torch.randn(2, 8, 5, 4)
    average = features.sum(dim=(2, 3)) / 20
    torch.testing.assert_close(head(features), average @ head.fc.weight.T + head.fc.bias)
    torch.testing.assert_close(head(features), head(average))


@pytest.mark.parametrize("head", [LinearHead(1000, 1, dropout=0.25), BinaryHead(1000, dropout=0.25)])
def test_dropout_is_for_training_only(head: LinearHead | BinaryHead) -> None:
    torch.manual_seed(0)
    for training, low, high in ((True, 200, 300), (False, 0, 0)):
        features = torch.ones(1, 1000, requires_grad=True)
        head.train(training)(features).sum().backward()
        assert features.grad is not None
        assert low <= int((features.grad == 0).sum()) <= high


def test_mlp_head_layers() -> None:
    head = MLPHead(in_features=6, num_classes=5, hidden=[11, 13], pool=2)
    shapes = [tuple(layer.weight.shape) for layer in head.classifier if isinstance(layer, nn.Linear)]
    assert shapes == [(11, 6 * 2 * 2), (13, 11), (5, 13)]
    assert head(torch.randn(3, 6, 7, 9)).shape == (3, 5)


def test_mlp_head_initialisation() -> None:
    torch.manual_seed(0)
    for layer in MLPHead(64, 500, hidden=[500]).classifier:
        if isinstance(layer, nn.Linear):
            assert layer.weight.std().item() == pytest.approx(0.01, rel=0.01)
            assert not layer.bias.any()


def test_mlp_head_without_hidden_layers() -> None:
    assert MLPHead(6, 5, hidden=[], pool=1)(torch.randn(3, 6, 4, 4)).shape == (3, 5)


def test_mlp_head_takes_vectors_with_pool_1() -> None:
    assert MLPHead(6, 5, hidden=[4], pool=1)(torch.randn(3, 6)).shape == (3, 5)
    with pytest.raises(ConfigError, match=r"shape \(3, 6\), without a height and width to pool to 7 x 7: set pool=1"):
        MLPHead(6, 5, hidden=[4])(torch.randn(3, 6))


def test_missing_number_of_classes() -> None:
    with pytest.raises(ConfigError, match="num_classes: is missing"):
        HEADS.build(dict(type="LinearHead", in_features=3))


@pytest.mark.parametrize("head", [LinearHead(4, 3), MLPHead(4, 3, hidden=[2])])
def test_num_classes(head: LinearHead | MLPHead) -> None:
    assert head.num_classes == 3
