"""Poutyne: Model.fit_generator."""

from __future__ import annotations

from poutyne import Model
from torch import nn

from .. import task


def train(model: nn.Module, epochs: int, folder: str) -> None:
    poutyne_model = Model(model, task.optimizer(model.parameters()), nn.CrossEntropyLoss())
    poutyne_model.fit_generator(task.loader(), epochs=epochs)
