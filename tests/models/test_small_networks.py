"""The small networks of courses, with their layers and parameters written out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from knoll.models.classifier import ImageClassifier

LINEAR = dict(type="LinearHead", num_classes=10)
MNIST = (1, 28, 28)


def convolution(inputs: int, outputs: int, side: int) -> int:
    return (inputs * side * side + 1) * outputs


def linear(*widths: int) -> int:
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(widths))


TUDUI = nn.Sequential(
    nn.Conv2d(3, 32, 5, padding=2),
    nn.MaxPool2d(2),
    nn.Conv2d(32, 32, 5, padding=2),
    nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 5, padding=2),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(1024, 64),
    nn.Linear(64, 10),
)
FIVE_LAYERS = nn.Sequential(
    nn.Flatten(),
    nn.Linear(784, 512),
    nn.ReLU(),
    nn.Linear(512, 256),
    nn.ReLU(),
    nn.Linear(256, 128),
    nn.ReLU(),
    nn.Linear(128, 64),
    nn.ReLU(),
    nn.Linear(64, 10),
)
TABLE = nn.Sequential(nn.Linear(8, 6), nn.Sigmoid(), nn.Linear(6, 4), nn.Sigmoid(), nn.Linear(4, 1))
NARROW = nn.Sequential(
    nn.Conv2d(1, 10, 5),
    nn.MaxPool2d(2),
    nn.ReLU(),
    nn.Conv2d(10, 20, 5),
    nn.MaxPool2d(2),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(320, 10),
)
WIDE = nn.Sequential(
    nn.Conv2d(1, 64, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(64, 128, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(14 * 14 * 128, 1024),
    nn.ReLU(),
    nn.Dropout(0.5),
    nn.Linear(1024, 10),
)
WIDE_HEAD = dict(type="MLPHead", num_classes=10, hidden=[1024], pool=14)


@pytest.mark.parametrize(
    ("backbone", "head", "course", "in_shape", "parameters"),
    [
        (
            dict(type="Tudui"),
            LINEAR,
            TUDUI,
            (3, 32, 32),
            convolution(3, 32, 5) + convolution(32, 32, 5) + convolution(32, 64, 5) + linear(1024, 64, 10),
        ),
        (dict(type="Flatten"), LINEAR, nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), MNIST, linear(784, 10)),
        (dict(type="MLP"), LINEAR, FIVE_LAYERS, MNIST, linear(784, 512, 256, 128, 64, 10)),
        (
            dict(type="MLP", in_shape=[8], widths=[6, 4], activation="sigmoid"),
            dict(type="LinearHead", num_classes=1),
            TABLE,
            (8,),
            linear(8, 6, 4, 1),
        ),
        (
            dict(type="CNN5x5"),
            LINEAR,
            NARROW,
            MNIST,
            convolution(1, 10, 5) + convolution(10, 20, 5) + linear(320, 10),
        ),
        (
            dict(type="CNN3x3"),
            WIDE_HEAD,
            WIDE,
            MNIST,
            convolution(1, 64, 3) + convolution(64, 128, 3) + linear(14 * 14 * 128, 1024, 10),
        ),
    ],
    ids=["Tudui", "Flatten", "MLP", "MLP for a table", "CNN5x5", "CNN3x3"],
)
def test_the_network_of_the_course(
    backbone: dict[str, Any], head: dict[str, Any], course: nn.Module, in_shape: Sequence[int], parameters: int
) -> None:
    ours = ImageClassifier(backbone, head)
    assert sum(parameter.numel() for parameter in ours.parameters()) == parameters
    with torch.no_grad():
        for parameter, value in zip(ours.parameters(), course.parameters(), strict=True):
            parameter.copy_(value)
    inputs = torch.randn(4, *in_shape)
    for training in (True, False):
        torch.manual_seed(0)  # for dropout
        logits = ours.train(training)(inputs)
        torch.manual_seed(0)
        torch.testing.assert_close(logits, course.train(training)(inputs))


def test_the_parameters_that_docstrings_name() -> None:
    assert convolution(3, 32, 5) + convolution(32, 32, 5) + convolution(32, 64, 5) + linear(1024, 64, 10) == 145_578
    assert linear(784, 10) == 7_850
    assert convolution(1, 10, 5) + convolution(10, 20, 5) + linear(320, 10) == 8_490
    assert convolution(1, 64, 3) + convolution(64, 128, 3) + linear(14 * 14 * 128, 1024, 10) == 25_775_882


@pytest.mark.parametrize("in_shape", [(3, 32, 32), (1, 17, 30), (2, 16, 16)])
@pytest.mark.parametrize("name", ["Flatten", "MLP", "CNN5x5", "CNN3x3"])
def test_other_shapes(name: str, in_shape: Sequence[int]) -> None:
    model = ImageClassifier(dict(type=name, in_shape=list(in_shape)), LINEAR)
    assert model(torch.randn(3, *in_shape)).shape == (3, 10)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_activations_of_the_mlp(activation: str) -> None:
    model = ImageClassifier(dict(type="MLP", in_shape=[5], widths=[50], activation=activation), LINEAR)
    features = model.backbone(torch.randn(100, 5))
    low, high = {"tanh": (-1, 1), "relu": (0, float("inf")), "sigmoid": (0, 1)}[activation]
    assert low <= features.min() < low + 0.2
    assert features.max() <= high
