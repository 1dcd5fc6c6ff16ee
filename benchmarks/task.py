"""What every training loop of the benchmark `step` trains: a perceptron on rows of floats in memory, in batches of 64.

Small, so that what a loop does beside the computation shows: with one thread a step takes less than a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from knoll.registry import MODELS

SAMPLES, FEATURES, CLASSES, BATCH = 6400, 3072, 10, 64
STEPS = SAMPLES // BATCH  # of an epoch
MODEL = dict(
    type="ImageClassifier",
    backbone=dict(type="MLP", in_shape=[FEATURES], widths=[32, 32]),
    head=dict(type="LinearHead", num_classes=CLASSES),
)
OPTIMIZER: dict[str, Any] = dict(lr=0.01, momentum=0.9)


@cache
def data() -> tuple[Tensor, Tensor]:
    """Rows (SAMPLES, FEATURES), and the number of each one's class."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(SAMPLES, FEATURES, generator=generator)
    return images, torch.randint(CLASSES, (SAMPLES,), generator=generator)


def loader() -> DataLoader:
    """As the tutorials have it: one row after another is read, then they are put together."""
    return DataLoader(TensorDataset(*data()), batch_size=BATCH, shuffle=True)


def model() -> nn.Module:
    return MODELS.build(MODEL)


def optimizer(parameters: Iterable[nn.Parameter], **settings: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, **OPTIMIZER, **settings)
