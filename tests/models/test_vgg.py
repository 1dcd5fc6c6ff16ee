"""VGG has the columns of Table 1. Its values are compared with torchvision's in test_parity.py."""

from __future__ import annotations

from math import sqrt
from typing import Any

import pytest
import torch
from torch import nn

from knoll.models.backbones.vgg import VGG

# Table 1 as printed, from top to bottom: `3-64` is conv3-64, `M` a pooling.
TABLE_1 = {
    "A": "3-64 M 3-128 M 3-256 3-256 M 3-512 3-512 M 3-512 3-512 M",
    "B": "3-64 3-64 M 3-128 3-128 M 3-256 3-256 M 3-512 3-512 M 3-512 3-512 M",
    "C": "3-64 3-64 M 3-128 3-128 M 3-256 3-256 1-256 M 3-512 3-512 1-512 M 3-512 3-512 1-512 M",
    "D": "3-64 3-64 M 3-128 3-128 M 3-256 3-256 3-256 M 3-512 3-512 3-512 M 3-512 3-512 3-512 M",
    "E": "3-64 3-64 M 3-128 3-128 M 3-256 3-256 3-256 3-256 M 3-512 3-512 3-512 3-512 M 3-512 3-512 3-512 3-512 M",
}


@pytest.mark.parametrize("column", TABLE_1)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_table_1(column: Any, batch_norm: bool) -> None:
    with torch.device("meta"):
        backbone = VGG(column, batch_norm)
    found = []
    for layer in backbone.features:
        if isinstance(layer, nn.Conv2d):
            found.append(f"{layer.kernel_size[0]}-{layer.out_channels}")
        elif isinstance(layer, nn.MaxPool2d):
            found.append("M")
    assert " ".join(found) == TABLE_1[column]


def test_the_layers_with_weights_give_the_usual_names() -> None:
    weights = {column: len(layers.replace("M", "").split()) + 3 for column, layers in TABLE_1.items()}
    assert weights == {"A": 11, "B": 13, "C": 16, "D": 16, "E": 19}


@pytest.mark.parametrize("column", TABLE_1)
def test_feature_map(column: Any) -> None:
    with torch.device("meta"):
        assert VGG(column, in_channels=1)(torch.zeros(2, 1, 224, 96)).shape == (2, 512, 7, 3)


def test_initialisation_is_he_over_the_outgoing_connections() -> None:
    torch.manual_seed(0)
    convolution = VGG("A").features[11]
    assert isinstance(convolution, nn.Conv2d)
    assert convolution.weight.shape == (512, 256, 3, 3)
    assert convolution.weight.std().item() == pytest.approx(sqrt(2 / (9 * 512)), rel=0.01)
