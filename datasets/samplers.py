"""The order of an epoch. A sampler has no state: the order follows from the seed and the epoch, so a run can resume."""

from __future__ import annotations

from collections.abc import Sized
from typing import Protocol

import torch

from ..registry import SAMPLERS
from .randomness import derive_seed


class Sampler(Protocol):
    """What every sampler does."""

    def __len__(self) -> int:
        """Samples in one epoch."""
        ...

    def order(self, epoch: int) -> list[int]:
        """Positions in the data set, in the order in which this epoch visits them."""
        ...


@SAMPLERS.register_module()
class Shuffled:
    """Every sample once, in a new order each epoch."""

    def __init__(self, dataset: Sized, seed: int) -> None:
        self.length = len(dataset)
        self.seed = seed

    def __len__(self) -> int:
        return self.length

    def order(self, epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
        return torch.randperm(self.length, generator=generator).tolist()


@SAMPLERS.register_module()
class Sequential:
    """Every sample once, in the data set's own order."""

    def __init__(self, dataset: Sized, seed: int) -> None:
        self.length = len(dataset)

    def __len__(self) -> int:
        return self.length

    def order(self, epoch: int) -> list[int]:
        return list(range(self.length))
