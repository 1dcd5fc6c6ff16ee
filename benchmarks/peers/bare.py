"""The loops that one writes by hand. Each trains for ever, and yields after every epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .. import task


def ordinary() -> Iterator[None]:
    """As the tutorials have it: a DataLoader with its default collation."""
    loader = task.loader()
    return _train(lambda: loader)


def fused() -> Iterator[None]:
    """The loop `gathered`, with the fused form of the optimizer."""
    return gathered(fused=True)


def gathered(**optimizer: Any) -> Iterator[None]:
    """The same as `ordinary`, but that the rows of a batch are taken at once."""
    images, labels = task.data()

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for indices in torch.randperm(len(images)).split(task.BATCH):
            yield images.index_select(0, indices), labels.index_select(0, indices)

    return _train(batches, **optimizer)


def _train(batches: Callable[[], Iterable[tuple[Tensor, Tensor]]], **settings: Any) -> Iterator[None]:
    model = task.model()
    optimizer = task.optimizer(model.parameters(), **settings)
    loss_function = nn.CrossEntropyLoss()
    model.train()
    while True:
        for images, labels in batches():
            optimizer.zero_grad()
            loss = loss_function(model(images), labels)
            loss.backward()
            optimizer.step()
        yield
