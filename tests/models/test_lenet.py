"""LeNet-5 is the paper's, but for what its docstring says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from knoll.models.backbones.lenet import LeNet5, SparseC3
from knoll.models.classifier import ImageClassifier
from knoll.registry import BACKBONES, ConfigError


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_lenet_parameters() -> None:
    c1, c3, c5 = (25 + 1) * 6, (6 * 25 + 1) * 16, (16 * 25 + 1) * 120
    f6, output = (120 + 1) * 84, (84 + 1) * 10
    model = ImageClassifier(dict(type="LeNet5"), dict(type="LinearHead", num_classes=10))
    assert count(model) == c1 + c3 + c5 + f6 + output == 61_706


def test_lenet_sparse_has_the_paper_number_of_parameters() -> None:
    backbone = LeNet5(connections="sparse")
    c3 = backbone.c3
    assert isinstance(c3, SparseC3)
    used = int(c3.mask.expand_as(c3.weight).sum()) + 16
    assert used == 1516  # section II.B on C3
    trained_in_s2_and_s4 = 2 * 6 + 2 * 16  # only in the paper
    assert count(backbone) - count(c3) + used + trained_in_s2_and_s4 == 60_000  # section II.B, last paragraph


def test_lenet_sparse_follows_table_1() -> None:
    # One row for each map of S2, as printed.
    table = """
        X . . . X X X . . X X X X . X X
        X X . . . X X X . . X X X X . X
        X X X . . . X X X . . X . X X X
        . X X X . . X X X X . . X . X X
        . . X X X . . X X X X . X X . X
        . . . X X X . . X X X X . X X X
    """
    c3 = SparseC3()
    for s2_map, row in enumerate(table.split("\n")[1:-1]):
        x = torch.zeros(1, 6, 14, 14, requires_grad=True)
        with torch.no_grad():
            x[0, s2_map] = torch.randn(14, 14)
        change = (c3(x) - c3(torch.zeros_like(x))).abs().sum(dim=(0, 2, 3))
        assert (change > 0).tolist() == [mark == "X" for mark in row.split()]


def test_lenet_absent_connections_have_no_gradient() -> None:
    c3 = SparseC3()
    c3(torch.randn(2, 6, 14, 14)).sum().backward()
    assert c3.weight.grad is not None
    assert torch.equal(c3.weight.grad != 0, (c3.mask != 0).expand_as(c3.weight))


def test_lenet_sparse_and_full_share_their_state_dict() -> None:
    LeNet5(connections="sparse").load_state_dict(LeNet5().state_dict())


def test_lenet_28_is_32_with_a_border() -> None:
    small, large = LeNet5(image_size=28), LeNet5(image_size=32)
    large.load_state_dict(small.state_dict())
    images = torch.randn(3, 1, 28, 28)
    torch.testing.assert_close(small(images), large(nn.functional.pad(images, (2, 2, 2, 2))))


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
@pytest.mark.parametrize("pool", ["avg", "max"])
def test_lenet_options(activation: str, pool: str) -> None:
    backbone = BACKBONES.build(dict(type="LeNet5", in_channels=3, image_size=32, activation=activation, pool=pool))
    features = backbone(torch.randn(2, *backbone.example_shape))
    assert features.shape == (2, 84)
    low, high = {"tanh": (-1, 1), "relu": (0, float("inf")), "sigmoid": (0, 1)}[activation]
    assert features.min() >= low
    assert features.max() <= high


def test_lenet_refuses_another_size() -> None:
    with pytest.raises(ConfigError, match=r"shape \(N, 1, 28, 28\), got \(2, 3, 32, 32\): set its in_channels"):
        LeNet5()(torch.zeros(2, 3, 32, 32))
