"""The samples of a batch, from whatever a data set is made of, as cheaply as they come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import to_image

from ...registry import UserError
from ..base import LabelledImages, place_of
from .pictures import SampleError, as_pil, each, stacked
from .randomness import own_randomness, seed_sample

Images: TypeAlias = Tensor | list[Any]
Seeds: TypeAlias = Callable[[], Sequence[int]]


class Reader:
    """Reads batches of a data set."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self._kind = _kind(dataset)
        self._tells_labels = self._kind != "foreign"
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
            labels = self._labels.index_select(0, torch.from_numpy(indices))
        images = self.dataset.gather(indices) if self._kind == "gathers" else _images(self.dataset, indices, seeds)
        return images, labels


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
    of_stack = np.zeros(len(indices), bool)
    for places in found.values():
        positions = [position for position, _, _ in places]
        inner = np.array([each_inner for _, _, each_inner in places])
        try:
            own = _images(places[0][1], inner, lambda positions=positions: [seeds()[each] for each in positions])
        except SampleError as error:
            error.position = positions[error.position]  # in the whole batch
            raise
        if len(found) == 1:
            return own
        for position, image in zip(positions, own, strict=True):
            images[position] = image
        of_stack[positions] = isinstance(own, Tensor)
    if of_stack.all() and isinstance(stack := stacked(images), Tensor):
        return stack
    # Bytes of a stack are pictures, as they are if the whole batch is of that part; a tensor in a list is a tensor.
    return [
        as_pil(image) if picture and image.dtype == torch.uint8 else image
        for image, picture in zip(images, of_stack.tolist(), strict=True)
    ]


def _load(dataset: Any, indices: Sequence[int], seeds: Seeds) -> list[tuple[Any, Any]]:
    def load(index: int, seed: int) -> tuple[Any, Any]:
        seed_sample(seed)
        kind, place = type(dataset).__name__, place_of(dataset, index)
        try:
            sample = dataset[index]
        except UserError:
            raise
        except Exception as error:  # a data set can be anyone's
            raise UserError(f"{kind} fails on sample {place}: {type(error).__name__}: {error}") from error
        if not isinstance(sample, (tuple, list)) or len(sample) != 2:
            many = f" of {len(sample)}" if isinstance(sample, (tuple, list, dict)) else ""
            raise UserError(f"{kind} gives a {type(sample).__name__}{many} as sample {place}; expected (image, label)")
        image, label = sample
        return to_image(image).as_subclass(Tensor) if isinstance(image, np.ndarray) else image, label

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
