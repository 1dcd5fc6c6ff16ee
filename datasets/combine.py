"""Data sets made of others: one after another, a part of one, the first of several that is there."""

from __future__ import annotations

import bisect
import logging
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch

from ..registry import DATASETS, ConfigError, UnavailableError
from .base import LabelledImages
from .randomness import derive_seed

logger = logging.getLogger("knoll")


@DATASETS.register_module()
class ConcatDataset(LabelledImages):
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
            if part.classes != self.parts[0].classes:
                raise ConfigError(
                    f"ConcatDataset: part 0 has the classes {self.parts[0].classes}, part {number} has {part.classes}"
                )
        self.classes = self.parts[0].classes
        self.labels = [label for part in self.parts for label in part.labels]
        self.source = " and ".join(dict.fromkeys(part.source for part in self.parts))
        self._ends = list(accumulate(len(part) for part in self.parts))

    def __getitem__(self, index: int) -> tuple[Any, int]:
        part, inner = self._find(index)
        return part[inner]

    def name(self, index: int) -> str:
        part, inner = self._find(index)
        return part.name(inner)

    def _find(self, index: int) -> tuple[LabelledImages, int]:
        number = bisect.bisect_right(self._ends, index)
        return self.parts[number], index - (self._ends[number - 1] if number else 0)


@DATASETS.register_module()
class Subset(LabelledImages):
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
        self.indices = _stratified(self.whole.labels, size, seed) if size is not None else indices or []
        outside = [index for index in self.indices if not 0 <= index < len(self.whole)]
        if outside:
            raise ConfigError(f"Subset: index {outside[0]} is outside a data set of {len(self.whole)} samples")
        self.classes = self.whole.classes
        self.labels = [self.whole.labels[index] for index in self.indices]
        self.source = self.whole.source

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.whole[self.indices[index]]

    def name(self, index: int) -> str:
        return self.whole.name(self.indices[index])


def _stratified(labels: Sequence[int], size: int, seed: int) -> list[int]:
    """`size` positions, spread evenly over a shuffled order in which the classes stand one after another."""
    if not 0 < size <= len(labels):
        raise ConfigError(f"Subset: size is {size}; the data set has {len(labels)} samples")
    generator = torch.Generator().manual_seed(derive_seed(seed, "subset"))
    shuffled = torch.randperm(len(labels), generator=generator)
    by_class = shuffled[torch.tensor(labels)[shuffled].argsort(stable=True)]
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
        if insist is not None and source_of(candidate) != insist:
            continue
        try:
            dataset = DATASETS.build(candidate if split is None else {**candidate, "split": split})
        except UnavailableError as error:
            reasons.append(f"{candidate['type']}: {error}")
            continue
        why = f" (not available: {'; '.join(reasons)})" if reasons else ""
        logger.info("%s data: %s%s", split or "", dataset.source, why)
        return dataset
    if insist is not None:
        reasons.append(f"only {insist} will do, for the run uses them elsewhere; change the config to use others")
    raise UnavailableError("no data set is available: " + "; ".join(reasons))


def source_of(config: dict) -> str:
    """The source that a data set built from this config will have, without building it."""
    kind = DATASETS.require(config["type"])
    return config.get("source") or getattr(kind, "source", "") or config["type"]
