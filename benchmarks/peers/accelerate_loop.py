"""accelerate: the bare loop with its preparation and its backward pass."""

from __future__ import annotations

from accelerate import Accelerator
from torch import nn

from .. import task


def train(model: nn.Module, epochs: int, folder: str) -> None:
    accelerator = Accelerator(cpu=True)
    prepared = accelerator.prepare(model, task.optimizer(model.parameters()), task.loader())
    model, optimizer, loader = prepared
    loss_function = nn.CrossEntropyLoss()
    model.train()
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = loss_function(model(images), labels)
            accelerator.backward(loss)
            optimizer.step()
