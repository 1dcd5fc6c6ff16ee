"""The labels of a set counted: images with each class, or the spread of measured values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...datasets.base import name_of
from ..labels import told_labels


@dataclass
class Spread:
    """Of the numbers in a column."""

    mean: float
    std: float
    smallest: float
    largest: float


@dataclass
class LabelCounts:
    """Of a set.

    Args:
        counts: images with each class, by its name.
        values: where labels are measured values, the spread of each.
        wrong: names of the samples whose label is no class, or no finite number, each with it.
    """

    counts: dict[str, int] = field(default_factory=dict)
    values: dict[str, Spread] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @property
    def imbalance(self) -> float | None:
        """Images of the largest class for each of the smallest; None if a class has none."""
        counts = self.counts.values()
        return max(counts) / min(counts) if counts and min(counts) else None


def labels_of(dataset: Any, found: Sequence[Any]) -> np.ndarray | None:
    """All labels, (N,) or (N, classes): as the data set tells them, else as they were found with the samples."""
    told = told_labels(dataset)
    if told is not None:
        return told.numpy()
    try:
        array = np.asarray(found)
    except ValueError:  # not all of one shape
        return None
    return array if array.dtype.kind in "biuf" and array.ndim in (1, 2) and len(array) == len(dataset) else None


def count_labels(dataset: Any, labels: np.ndarray) -> LabelCounts:
    """What labels (N,), which are class numbers, or (N, classes), which are rows of numbers, come to."""
    width = int(labels.max(initial=-1)) + 1 if labels.ndim == 1 else labels.shape[1]
    classes = [str(name) for name in getattr(dataset, "classes", range(width))]
    if labels.ndim == 1:
        fits = (labels >= 0) & (labels < len(classes))
        counts = np.bincount(labels[fits].astype(np.int64), minlength=len(classes))
    else:
        fits = np.isfinite(labels).all(axis=1)
        if not ((labels[fits] >= 0) & (labels[fits] <= 1)).all() or labels.shape[1] == 1:
            return LabelCounts(values=spreads(classes, labels[fits]), wrong=_named(dataset, labels, ~fits))
        counts = (labels[fits] > 0.5).sum(axis=0)
    told = dict(zip(classes, counts.tolist(), strict=False))
    return LabelCounts(counts=told, wrong=_named(dataset, labels, ~fits))


def spreads(names: Sequence[str], rows: np.ndarray) -> dict[str, Spread]:
    """Of every column of (N, columns), in double precision; NaN is left out."""
    columns = {}
    for name, column in zip(names, rows.astype(np.float64).T, strict=False):
        known = column[np.isfinite(column)]
        if len(known):
            columns[name] = Spread(*(float(value) for value in (known.mean(), known.std(), known.min(), known.max())))
    return columns


def label_in_words(label: Any, classes: Sequence[str]) -> str:
    """ "roses"; of several classes "roses|tulips"; of shares "roses 0.70|tulips 0.30"; of values the numbers."""
    values = np.asarray(label)
    if values.ndim == 0:
        number = values.item()
        return classes[number] if isinstance(number, int) and 0 <= number < len(classes) else str(number)
    if len(values) != len(classes) or (values < 0).any() or (values > 1).any():
        return ", ".join(f"{value:g}" for value in values)
    shown = [
        name if share == 1 else f"{name} {share:.2f}"
        for name, share in zip(classes, values.tolist(), strict=True)
        if share > 0
    ]
    return "|".join(shown) or "none"


def _named(dataset: Any, labels: np.ndarray, wrong: Any) -> list[str]:
    return [f"{name_of(dataset, int(index))}: {labels[index].tolist()}" for index in np.flatnonzero(wrong)]
