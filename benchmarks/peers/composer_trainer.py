"""Composer: Trainer.fit."""

from __future__ import annotations

from composer import Trainer
from composer.models import ComposerClassifier
from torch import nn

from .. import task


def train(model: nn.Module, epochs: int, folder: str) -> None:
    trainer = Trainer(
        model=ComposerClassifier(model, num_classes=task.CLASSES),
        train_dataloader=task.loader(),
        optimizers=task.optimizer(model.parameters()),
        max_duration=f"{epochs}ep",
        device="cpu",
    )
    trainer.fit()
