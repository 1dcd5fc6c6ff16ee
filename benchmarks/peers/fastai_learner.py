"""fastai: Learner.fit."""

from __future__ import annotations

from fastai.callback.progress import ProgressCallback  # noqa: F401  a default callback by being imported
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import SGD
from torch import nn

from .. import task


def train(model: nn.Module, epochs: int, folder: str) -> None:
    data = DataLoaders(task.loader(), [])
    learner = Learner(data, model, nn.CrossEntropyLoss(), opt_func=SGD, lr=task.OPTIMIZER["lr"], path=folder)
    learner.fit(epochs)
