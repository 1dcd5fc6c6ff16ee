from __future__ import annotations

import pytest
import torch
from torch import nn

from knoll.models.heads.binary import BinaryHead
from knoll.registry import HEADS, ConfigError


def test_its_cross_entropy_is_binary_cross_entropy_with_the_same_gradient() -> None:
    torch.manual_seed(0)
    head = BinaryHead(5)
    features, labels = torch.randn(9, 5), torch.tensor([0, 1, 1, 0, 1, 0, 0, 1, 1])
    loss = nn.CrossEntropyLoss()(head(features), labels)
    loss.backward()

    fc = nn.Linear(5, 1)
    fc.load_state_dict(head.fc.state_dict())
    expected = nn.BCEWithLogitsLoss()(fc(features)[:, 0], labels.float())
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(head.fc.weight.grad, fc.weight.grad)
    torch.testing.assert_close(head.fc.bias.grad, fc.bias.grad)


def test_softmax_of_its_logits_is_the_sigmoid_and_its_complement() -> None:
    head = BinaryHead(5)
    features = torch.randn(7, 5)
    z = features @ head.fc.weight[0] + head.fc.bias
    logits = head(features)
    torch.testing.assert_close(logits, torch.stack([torch.zeros(7), z], 1))
    torch.testing.assert_close(logits.softmax(1), torch.stack([1 - z.sigmoid(), z.sigmoid()], 1))


def test_behind_a_body_of_8_6_4_there_are_87_parameters() -> None:
    """(8 + 1) 6 + (6 + 1) 4 + (4 + 1) 1 = 54 + 28 + 5."""
    body = nn.Sequential(nn.Linear(8, 6), nn.Sigmoid(), nn.Linear(6, 4), nn.Sigmoid())
    head = BinaryHead(4)
    assert sum(each.numel() for each in [*body.parameters(), *head.parameters()]) == 87
    assert head(body(torch.randn(3, 8))).shape == (3, 2)


def test_it_averages_a_feature_map() -> None:
    head = BinaryHead(6)
    features = torch.randn(2, 6, 5, 4)
    torch.testing.assert_close(head(features), head(features.sum(dim=(2, 3)) / 20))


def test_it_has_two_classes_and_takes_no_other_number() -> None:
    assert BinaryHead.num_classes == BinaryHead(3).num_classes == 2
    with pytest.raises(ConfigError, match="num_classes: unknown key"):
        HEADS.build(dict(type="BinaryHead", in_features=3, num_classes=2))
