"""Data sets made of others: one after another, a part of one, one several times over."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated, Any

import numpy as np
import torch

from ...registry import DATASETS, ConfigError, UserError
from ...registry.fit import AtLeast
from ...registry.names import did_you_mean
from ..base import CombinedImages, name_of
from ..loading.randomness import derive_seed


@DATASETS.register_module()
class ConcatDataset(CombinedImages):
    """Several data sets with the same classes, one after another.

    Args:
        datasets: configs of the parts.

    Raises:
        ConfigError: the parts' classes differ, if only in their order; or one has class numbers and another rows.
    """

    def __init__(self, datasets: Sequence[dict]) -> None:
        self.parts = [DATASETS.build(part) for part in datasets]
        if not self.parts:
            raise ConfigError("ConcatDataset: `datasets` is empty")
        self.classes = tell(self.parts[0], "classes")
        shape = np.shape(tell(self.parts[0], "labels")[:1])[1:]
        for number, part in enumerate(self.parts):
            if difference := differing_classes(self.classes, tell(part, "classes"), "part 0", f"part {number}"):
                raise ConfigError(
                    f"ConcatDataset: part {number} has other classes than part 0, so its labels mean something else: "
                    f"{difference}. A part's classes are chosen and put in order by "
                    "dict(type='Subset', dataset=..., classes=[...])"
                )
            own = np.shape(tell(part, "labels")[:1])[1:]
            if len(part) and own != shape:
                raise ConfigError(f"ConcatDataset: a label of part 0 has the shape {shape}, of part {number} {own}")
        self.labels = [label for part in self.parts for label in tell(part, "labels")]
        sources = (name_source(part, config) for part, config in zip(self.parts, datasets, strict=True))
        self.source = " and ".join(dict.fromkeys(sources))
        self._ends = list(accumulate(len(part) for part in self.parts))

    def locate(self, index: int) -> tuple[Any, int]:
        index += len(self) if index < 0 else 0
        number = bisect.bisect_right(self._ends, index)
        return self.parts[number], index - (self._ends[number - 1] if number else 0)


class Selection(CombinedImages):
    """Base of the data sets that are some samples of another one, in an order of their own.

    Args:
        whole: the other one.
        config: its config.
        indices: positions in it.
    """

    def __init__(self, whole: Any, config: dict, indices: Sequence[int]) -> None:
        self.whole = whole
        self.indices = list(indices)
        self.classes = tell(whole, "classes")
        self.labels = _at(tell(whole, "labels"), self.indices)
        self.source = name_source(whole, config)

    def locate(self, index: int) -> tuple[Any, int]:
        return self.whole, self.indices[index]


@DATASETS.register_module()
class Subset(Selection):
    """Some samples of a data set: those at `indices`, those of some `classes`, or `size` of them drawn by a seed with
    every class's share kept.

    Args:
        dataset: config of the whole.
        indices: positions in the whole.
        size: how many samples, instead of `indices`.
        seed: of the drawing.
        classes: names of the classes to keep; labels are their positions in this list. All of them in another order
            keep every sample. With `size`, so many are drawn of what is kept.

    Raises:
        ConfigError: indices together with another choice, or no choice; more samples than there are; a class that the
            whole does not have, or that is named twice; classes of a whole whose labels are rows.
    """

    def __init__(
        self,
        dataset: dict,
        indices: list[int] | None = None,
        size: int | None = None,
        seed: int = 0,
        classes: list[str] | None = None,
    ) -> None:
        whole = DATASETS.build(dataset)
        if (indices is None) == (size is None and classes is None):
            raise ConfigError("Subset: give either `indices`, or `size` or `classes` or both of these")
        kept = np.arange(len(whole)) if indices is None else np.asarray(indices, dtype=np.int64)
        outside = kept[(kept < 0) | (kept >= len(whole))]
        if len(outside):
            raise ConfigError(f"Subset: index {outside[0]} is outside a data set of {len(whole)} samples")
        new_labels = None if classes is None else _renumber(whole, classes)
        if new_labels is not None:
            kept = kept[new_labels >= 0]
        if size is not None:
            labels = tell(whole, "labels") if new_labels is None else new_labels
            kept = kept[_stratified(_at(labels, kept.tolist()), size, seed)]
        super().__init__(whole, dataset, kept.tolist())
        if classes is not None and new_labels is not None:
            self.classes, self.labels = list(classes), new_labels[kept].tolist()


@DATASETS.register_module()
class Repeat(CombinedImages):
    """A data set several times over: an epoch that is longer, or a part of a concatenation that counts for more.

    Args:
        dataset: config of the data set.
        times: how often it comes.
    """

    def __init__(self, dataset: dict, times: Annotated[int, AtLeast(1)]) -> None:
        self.once = DATASETS.build(dataset)
        labels = tell(self.once, "labels")
        self.classes = tell(self.once, "classes")
        self.labels = np.concatenate([labels] * times) if isinstance(labels, np.ndarray) else list(labels) * times
        self.source = name_source(self.once, dataset)

    def locate(self, index: int) -> tuple[Any, int]:
        return self.once, index % len(self.once)


def tell(dataset: Any, attribute: str) -> Any:
    """An attribute that a data set must have to be combined with others."""
    if not hasattr(dataset, attribute):
        raise ConfigError(f"{type(dataset).__name__} has no attribute `{attribute}`, which is needed here")
    return getattr(dataset, attribute)


def class_numbers(dataset: Any, who: str) -> np.ndarray:
    """The labels of a data set (N,), for what goes by the class of an image.

    Args:
        who: asks for them.

    Raises:
        ConfigError: the labels are rows.
        UserError: one is not the number of a class.
    """
    labels = np.asarray(tell(dataset, "labels"))
    if labels.ndim != 1 or (len(labels) and labels.dtype.kind not in "iu"):
        raise ConfigError(f"{who} goes by the class of an image, but the labels are rows of numbers, not class numbers")
    count = len(tell(dataset, "classes"))
    wrong = np.flatnonzero((labels < 0) | (labels >= count))
    if len(wrong):
        index = int(wrong[0])
        raise UserError(
            f"{who}: the label of {name_of(dataset, index)} is {labels[index]}; with {count} classes labels are 0 to "
            f"{count - 1} ({len(wrong)} of {len(labels)} labels are not)"
        )
    return labels.astype(np.int64)


def differing_classes(here: Sequence[str], there: Sequence[str], first: str, second: str) -> str:
    """How two lists of classes differ, in words; nothing if they do not.

    Args:
        first: what to call the one list.
        second: what to call the other.
    """
    here, there = list(here), list(there)
    if here == there:
        return ""
    only = [
        f"only {name} has {shorten([each for each in own if each not in other])}"
        for name, own, other in ((first, here, set(there)), (second, there, set(here)))
        if not set(own) <= other
    ]
    return ", ".join(only) or f"{first}'s order is {shorten(here)}, {second}'s is {shorten(there)}"


def shorten(names: Sequence[str], most: int = 20) -> str:
    """A list as it is written, cut off where it would fill the screen."""
    shown = ", ".join(repr(name) for name in names[:most])
    return f"[{shown}{f', ... {len(names) - most} more' if len(names) > most else ''}]"


def _at(labels: Sequence[int] | np.ndarray, indices: list[int]) -> Sequence[int] | np.ndarray:
    return labels[indices] if isinstance(labels, np.ndarray) else [labels[index] for index in indices]


def _renumber(whole: Any, classes: list[str]) -> np.ndarray:
    """The label of every sample among some of its classes; -1 if it is of none of them."""
    labels, known = class_numbers(whole, "Subset(classes=...)"), list(tell(whole, "classes"))
    for number, name in enumerate(classes):
        if name not in known:
            raise ConfigError(f"Subset: the data set has no class `{name}`.{did_you_mean(name, known)}")
        if name in classes[:number]:
            raise ConfigError(f"Subset: the class `{name}` is named twice")
    new = np.full(len(known), -1)
    new[[known.index(name) for name in classes]] = np.arange(len(classes))
    return new[labels]


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


def declared_source(config: dict) -> str | None:
    """The source of a data set as far as its config or its class says, without building it."""
    return config.get("source") or getattr(DATASETS.require(config["type"]), "source", None) or None


def name_source(dataset: Any, config: dict) -> str:
    """Where a data set's images come from, in words."""
    return getattr(dataset, "source", None) or declared_source(config) or config["type"]
