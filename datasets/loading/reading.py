"""The samples of a batch, from whatever a data set is made of, as cheaply as they come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..base import LabelledImages
from .pictures import each, stacked
from .randomness import own_randomness, seed_sample

Images: TypeAlias = Tensor | list[Any]
Seeds: TypeAlias = Callable[[], Sequence[int]]


class Reader:
    """Reads batches of a data set."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self._tells_labels = _kind(dataset) != "foreign"
        self._labels = _label_table(dataset.labels) if self._tells_labels else None

    def read(self, indices: np.ndarray, seeds: Seeds) -> tuple[Images, Tensor | list[Any]]:
        """Images, as a tensor (N, C, H, W) or a list of pictures, and labels, as a tensor or a list.

        Args:
            seeds: gives one for each sample: what others' data sets draw when they load it follows from that.

        Raises:
            SampleError: a data set that loads an image at once cannot read one.
        """
        if not self._tells_labels:
            samples = _load(self.dataset, indices.tolist(), seeds)
            return [image for image, _ in samples], [label for _, label in samples]
        if self._labels is None:
            labels: Any = [self.dataset.labels[index] for index in indices.tolist()]
        else:
            labels = self._labels[torch.from_numpy(indices)]
        return _images(self.dataset, indices, seeds), labels


def bottoms(dataset: Any) -> list[Any]:
    """The data sets at the bottom of one that is made of others; itself if it is not."""
    if _kind(dataset) != "locates":
        return [dataset]
    parts = {id(part): part for part, _ in map(dataset.locate, range(len(dataset)))}
    return [bottom for part in parts.values() for bottom in bottoms(part)]


def _kind(dataset: Any) -> Literal["gathers", "locates", "foreign"]:
    """How a data set is read. One that has a `__getitem__` of its own is asked by that, whatever it derives from."""
    if isinstance(dataset, LabelledImages):
        for kind in type(dataset).__mro__:
            if "gather" in vars(kind):
                return "gathers"
            if "locate" in vars(kind):
                return "locates"
            if "__getitem__" in vars(kind):
                break
    return "foreign"


def _images(dataset: Any, indices: np.ndarray, seeds: Seeds) -> Images:
    kind = _kind(dataset)
    if kind == "gathers":
        return dataset.gather(indices)
    if kind == "foreign":
        return [image for image, _ in _load(dataset, indices.tolist(), seeds)]
    found: dict[int, list[tuple[int, Any, int]]] = defaultdict(list)
    for position, index in enumerate(indices.tolist()):
        part, inner = dataset.locate(index)
        found[id(part)].append((position, part, inner))
    images: list[Any] = [None] * len(indices)
    for places in found.values():
        positions = [position for position, _, _ in places]
        inner = np.array([each_inner for _, _, each_inner in places])
        own = _images(places[0][1], inner, lambda positions=positions: [seeds()[position] for position in positions])
        if len(found) == 1:
            return own
        for (position, _, _), image in zip(places, own, strict=True):
            images[position] = image
    return stacked(images)


def _load(dataset: Any, indices: Sequence[int], seeds: Seeds) -> list[tuple[Any, Any]]:
    def load(index: int, seed: int) -> tuple[Any, Any]:
        seed_sample(seed)
        image, label = dataset[index]
        return image, label

    with own_randomness():
        return list(each(load, indices, seeds()))


def _label_table(labels: Any) -> Tensor | None:
    """All labels as losses take them, int64 (N,) or float32 (N, classes); None of labels that are neither."""
    try:
        array = np.asarray(labels)
    except (TypeError, ValueError):  # not all of one shape
        return None
    if array.dtype.kind in "biu" and array.ndim == 1:
        return torch.from_numpy(array.astype(np.int64))
    return torch.from_numpy(array.astype(np.float32)) if array.dtype.kind in "biuf" and array.ndim == 2 else None
