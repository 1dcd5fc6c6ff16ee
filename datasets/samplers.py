"""The order of an epoch. A sampler has no state: the order follows from the seed and the epoch, so a run can resume."""

from __future__ import annotations

import math
from collections.abc import Sized
from typing import Annotated, Any, Protocol

import numpy as np
import torch
from torch.utils.data import WeightedRandomSampler

from ..registry import SAMPLERS, ConfigError
from ..registry.fit import AtLeast
from ..registry.names import did_you_mean
from .combining.combine import class_numbers
from .loading.randomness import derive_seed


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
        return torch.randperm(self.length, generator=_generator(self.seed, epoch)).tolist()


@SAMPLERS.register_module()
class Sequential:
    """Every sample once, in the data set's own order."""

    def __init__(self, dataset: Sized, seed: int) -> None:
        self.length = len(dataset)

    def __len__(self) -> int:
        return self.length

    def order(self, epoch: int) -> list[int]:
        return list(range(self.length))


@SAMPLERS.register_module()
class RepeatedAugmentation:
    """Each image several times in a row, so that a batch holds it under several augmentations (Hoffer et al.: Augment
    your batch, 2020).

    An epoch keeps its length: of N images a new random choice of N / times comes in each, as in the recipe of DeiT
    (Touvron et al. 2021) and in timm's RepeatAugSampler. Two deviations: timm cuts an epoch to a multiple of 256, where
    here `drop_last` cuts it to whole batches; and timm deals the copies out to the processes, where here they stand
    beside each other. The last image may come fewer times, and where `times` does not divide the batch size, an image
    now and then stands in two batches.

    Args:
        times: how often an image comes.
    """

    def __init__(self, dataset: Sized, seed: int, times: Annotated[int, AtLeast(1)] = 3) -> None:
        self.length = len(dataset)
        self.seed = seed
        self.times = times

    def __len__(self) -> int:
        return self.length

    def order(self, epoch: int) -> list[int]:
        shuffled = torch.randperm(self.length, generator=_generator(self.seed, epoch))
        return shuffled.repeat_interleave(self.times)[: self.length].tolist()


@SAMPLERS.register_module()
class ClassBalanced:
    """Every class equally often, to within one sample; those of a small class come several times.

    Within a class all samples come equally often, to within one: which of them come once more is drawn anew each epoch.
    Classes without a sample are left out.

    Args:
        size: samples in one epoch; by default as many of each class as the largest has.

    Raises:
        ConfigError: the labels are rows, or there are none.
    """

    def __init__(self, dataset: Any, seed: int, size: Annotated[int, AtLeast(1)] | None = None) -> None:
        labels = class_numbers(dataset, "ClassBalanced")
        self.members = [torch.from_numpy(np.flatnonzero(labels == label)) for label in np.unique(labels)]
        if not self.members:
            raise ConfigError("ClassBalanced: the data set is empty")
        self.size = size or len(self.members) * max(len(own) for own in self.members)
        self.seed = seed

    def __len__(self) -> int:
        return self.size

    def order(self, epoch: int) -> list[int]:
        generator = _generator(self.seed, epoch)
        each, more = divmod(self.size, len(self.members))
        one_more = set(torch.randperm(len(self.members), generator=generator)[:more].tolist())
        drawn = [_spread(own, each + (number in one_more), generator) for number, own in enumerate(self.members)]
        together = torch.cat(drawn)
        return together[torch.randperm(len(together), generator=generator)].tolist()


def _spread(members: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """`count` of the members, each as often as the others or once more."""
    full, more = divmod(count, len(members))
    return torch.cat([members.repeat(full), members[torch.randperm(len(members), generator=generator)[:more]]])


@SAMPLERS.register_module()
class Weighted:
    """Samples drawn with replacement, by the class they are of.

    Either by `weights`: a sample of a class of weight 3 is drawn three times as often as one of weight 1. Or by
    `power`: a class of n samples is drawn in proportion to n ** power. 1 leaves the classes as they are, 0 draws all
    equally often, and 0.5 lies between (Kang et al.: Decoupling representation and classifier, 2020, equation 1).

    Args:
        weights: of a sample of each class, by the class's name; 1 for those not named.
        power: of the classes' sizes.
        size: samples in one epoch; by default as many as there are.

    Raises:
        ConfigError: both or neither of weights and power; a class that is not there; a weight below 0, or none above;
            the labels are rows.
    """

    def __init__(
        self,
        dataset: Any,
        seed: int,
        weights: dict[str, float] | None = None,
        power: float | None = None,
        size: Annotated[int, AtLeast(1)] | None = None,
    ) -> None:
        labels = class_numbers(dataset, "Weighted")
        if weights is not None and power is None:
            of_class = _class_weights(list(dataset.classes), weights)
        elif power is not None and weights is None:
            counts = np.bincount(labels, minlength=len(dataset.classes))
            of_class = np.maximum(counts, 1) ** (power - 1.0)
        else:
            raise ConfigError("Weighted: give either `weights` or `power`")
        self.weights = of_class[labels].tolist()
        if not 0 < sum(self.weights) < math.inf:
            raise ConfigError("Weighted: no sample has a weight above 0, or weights are too large to be added")
        self.size = size or len(labels)
        self.seed = seed

    def __len__(self) -> int:
        return self.size

    def order(self, epoch: int) -> list[int]:
        return list(WeightedRandomSampler(self.weights, self.size, generator=_generator(self.seed, epoch)))


def _class_weights(classes: list[str], weights: dict[str, float]) -> np.ndarray:
    for name, weight in weights.items():
        if name not in classes:
            raise ConfigError(f"Weighted: the data set has no class `{name}`.{did_you_mean(name, classes)}")
        if not (math.isfinite(weight) and weight >= 0):
            raise ConfigError(f"Weighted: the weight of {name} is {weight}; a weight is 0 or more")
    return np.array([weights.get(name, 1.0) for name in classes])


def _generator(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
