"""ignite: the engine of create_supervised_trainer."""

from __future__ import annotations

from ignite.engine import create_supervised_trainer
from torch import nn

from .. import task


def train(model: nn.Module, epochs: int, folder: str) -> None:
    trainer = create_supervised_trainer(model, task.optimizer(model.parameters()), nn.CrossEntropyLoss())
    trainer.run(task.loader(), max_epochs=epochs)
