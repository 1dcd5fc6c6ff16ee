"""skorch: NeuralNetClassifier.fit."""

from __future__ import annotations

from skorch import NeuralNetClassifier
from torch import nn, optim

from .. import task


def train(model: nn.Module, epochs: int, folder: str) -> None:
    net = NeuralNetClassifier(
        model,
        criterion=nn.CrossEntropyLoss,
        optimizer=optim.SGD,
        lr=task.OPTIMIZER["lr"],
        optimizer__momentum=task.OPTIMIZER["momentum"],
        max_epochs=epochs,
        batch_size=task.BATCH,
        iterator_train__shuffle=True,
        train_split=None,
    )
    net.fit(*(each.numpy() for each in task.data()))
