"""Meter: takes the time of a training loop that it knows nothing of, from within its model."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor, nn


class Meter(nn.Module):
    """A model that, after every so many forward passes in training, lets another loop take its turn.

    So a framework's own loop and a bare one alternate in one process, whatever the framework is: it need only train
    this model. A turn lasts from one forward pass to the one `every` steps later, and holds all that a step does.

    Args:
        model: what is trained.
        other: a loop that yields after as many steps.
        clock: in seconds.

    Attributes: `own`, `other`: seconds of the turns of each.
    """

    def __init__(self, model: nn.Module, other: Iterator[None], every: int, clock: Callable[[], float]) -> None:
        super().__init__()
        self.model, self.every = model, every
        self.own: list[float] = []
        self.other: list[float] = []
        self._loop, self._clock, self._steps, self._start = other, clock, 0, 0.0

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            if self._steps % self.every == 0:
                self._turn()
            self._steps += 1
        return self.model(images)

    def _turn(self) -> None:
        now = self._clock()
        if self._steps:
            self.own.append(now - self._start)
            next(self._loop)
            self.other.append(self._clock() - now)
        self._start = self._clock()
