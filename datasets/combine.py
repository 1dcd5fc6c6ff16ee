"""Data sets made of others: one after another, a part of one, the first of several that is there."""

from __future__ import annotations

import bisect
import logging
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from ..registry import DATASETS, ConfigError, UnavailableError
from .base import CombinedImages
from .randomness import derive_seed

logger = logging.getLogger("knoll")


@DATASETS.register_module()
class ConcatDataset(CombinedImages):
    """Several data sets with the same classes, one after another.

    Args:
        datasets: configs of the parts.

    Raises:
        ConfigError: the parts' classes differ.
    """

    def __init__(self, datasets: Sequence[dict]) -> None:
        self.parts = [DATASETS.build(part) for part in datasets]
        if not self.parts:
            raise ConfigError("ConcatDataset: `datasets` is empty")
        for number, part in enumerate(self.parts):
            if tell(part, "classes") != tell(self.parts[0], "classes"):
                raise ConfigError(
                    f"ConcatDataset: part 0 has the classes {self.parts[0].classes}, part {number} has {part.classes}"
                )
        self.classes = self.parts[0].classes
        self.labels = [label for part in self.parts for label in tell(part, "labels")]
        sources = (name_source(part, config) for part, config in zip(self.parts, datasets, strict=True))
        self.source = " and ".join(dict.fromkeys(sources))
        self._ends = list(accumulate(len(part) for part in self.parts))

    def locate(self, index: int) -> tuple[Any, int]:
        number = bisect.bisect_right(self._ends, index)
        return self.parts[number], index - (self._ends[number - 1] if number else 0)


@DATASETS.register_module()
class Subset(CombinedImages):
    """Some samples of a data set: those at `indices`, or `size` of them drawn by a seed with every class's share kept.

    Args:
        dataset: config of the whole.
        indices: positions in the whole.
        size: how many samples, instead of `indices`.
        seed: of the drawing.

    Raises:
        ConfigError: both or neither of indices and size, or more than there are.
    """

    def __init__(self, dataset: dict, indices: list[int] | None = None, size: int | None = None, seed: int = 0) -> None:
        self.whole = DATASETS.build(dataset)
        if (indices is None) == (size is None):
            raise ConfigError("Subset: give either `indices` or `size`")
        self.indices = _stratified(tell(self.whole, "labels"), size, seed) if size is not None else indices or []
        outside = [index for index in self.indices if not 0 <= index < len(self.whole)]
        if outside:
            raise ConfigError(f"Subset: index {outside[0]} is outside a data set of {len(self.whole)} samples")
        self.classes = tell(self.whole, "classes")
        self.labels = [tell(self.whole, "labels")[index] for index in self.indices]
        self.source = name_source(self.whole, dataset)

    def locate(self, index: int) -> tuple[Any, int]:
        return self.whole, self.indices[index]


def tell(dataset: Any, attribute: str) -> Any:
    """An attribute that a data set must have to be combined with others."""
    if not hasattr(dataset, attribute):
        raise ConfigError(f"{type(dataset).__name__} has no attribute `{attribute}`, which is needed to combine it")
    return getattr(dataset, attribute)


def _stratified(labels: Sequence[int] | np.ndarray, size: int, seed: int) -> list[int]:
    """`size` positions, spread evenly over a shuffled order in which the classes stand one after another.

    Of labels that are rows, each different one counts as a class.
    """
    if not 0 < size <= len(labels):
        raise ConfigError(f"Subset: size is {size}; the data set has {len(labels)} samples")
    generator = torch.Generator().manual_seed(derive_seed(seed, "subset"))
    shuffled = torch.randperm(len(labels), generator=generator)
    ranks = torch.from_numpy(np.unique(np.asarray(labels), axis=0, return_inverse=True)[1].reshape(-1))
    by_class = shuffled[ranks[shuffled].argsort(stable=True)]
    places = ((torch.arange(size) + 0.5) * len(labels) / size).long()
    return sorted(by_class[places].tolist())


@DATASETS.register_module()
def FirstAvailable(datasets: list[dict], split: str | None = None, insist: str | None = None) -> Any:
    """The first data set of a list that is there; which one, and why not those before it, is said in one line.

    Args:
        datasets: configs in order of preference.
        split: given to each of them.
        insist: only a data set of this source will do: the one that a run was trained on.

    Returns:
        That data set itself.

    Raises:
        UnavailableError: none of them is there.
    """
    reasons = []
    for candidate in datasets:
        known = declared_source(candidate)
        if insist is not None and known not in (None, insist):
            continue
        try:
            dataset = DATASETS.build(candidate if split is None else {**candidate, "split": split})
        except UnavailableError as error:
            reasons.append(f"{candidate['type']}: {error}")
            continue
        if insist is not None and name_source(dataset, candidate) != insist:
            continue
        why = f" (not available: {'; '.join(reasons)})" if reasons else ""
        logger.info("%s data: %s%s", split or "", name_source(dataset, candidate), why)
        return dataset
    if insist is not None:
        reasons.append(f"only {insist} will do, for the run uses them elsewhere; change the config to use others")
    raise UnavailableError("no data set is available: " + "; ".join(reasons))


def declared_source(config: dict) -> str | None:
    """The source of a data set as far as its config or its class says, without building it."""
    return config.get("source") or getattr(DATASETS.require(config["type"]), "source", None) or None


def name_source(dataset: Any, config: dict) -> str:
    """Where a data set's images come from, in words."""
    return getattr(dataset, "source", None) or declared_source(config) or config["type"]
