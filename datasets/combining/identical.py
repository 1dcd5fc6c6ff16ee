"""Samples with the same picture, byte for byte: they must not be split between training and validation."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import Any

from ...registry import UserError
from ..base import ArrayImages, CombinedImages, EncodedImages, ImageFiles, place_of

ENDING = 4096  # bytes; two photographs that agree in so many at their ends are hardly ever two


def first_identical(dataset: Any) -> list[int]:
    """For every sample the first one that has the same picture: itself, mostly.

    Files are compared with files, arrays with arrays. The rows of a table are no pictures, and what a data set of
    another kind holds is not known: such samples are the same only if a combined data set has them twice.

    Raises:
        UserError: a file cannot be read.
    """
    samples = [_bottom(dataset, index) for index in range(len(dataset))]
    suspects = [list(range(len(samples)))]
    # Each question costs more than the one before it, and is asked only of those that were alike so far.
    for tell in (_size, _ending, _digest):
        suspects = [alike for group in suspects for alike in _divide(group, samples, tell)]
    first = list(range(len(samples)))
    for group in suspects:
        for index in group:
            first[index] = group[0]
    return first


def _divide(group: list[int], samples: list[tuple[Any, int]], tell: Callable[[Any, int], Hashable]) -> list[list[int]]:
    """The samples of a group that are alike in what is told of them, without those that are like no other."""
    parts: dict[Hashable, list[int]] = defaultdict(list)
    for index in group:
        parts[tell(*samples[index])].append(index)
    return [part for part in parts.values() if len(part) > 1]


def _bottom(dataset: Any, index: int) -> tuple[Any, int]:
    while isinstance(dataset, CombinedImages):
        dataset, index = dataset.locate(index)
    return dataset, index


def _size(dataset: Any, index: int) -> Hashable:
    if isinstance(dataset, ImageFiles):
        return "file", _read(dataset, index, lambda path: path.stat().st_size)
    if isinstance(dataset, EncodedImages):
        return "encoded"
    if isinstance(dataset, ArrayImages) and dataset.images.ndim > 2:
        return "array", dataset.images.shape[1:]
    return id(dataset), index


def _ending(dataset: Any, index: int) -> bytes | None:
    if isinstance(dataset, ImageFiles):
        return _read(dataset, index, _last_bytes)
    if isinstance(dataset, ArrayImages) and dataset.images.ndim > 2:
        return dataset.images[index, -1].tobytes()
    return None


def _digest(dataset: Any, index: int) -> bytes | None:
    if isinstance(dataset, EncodedImages):
        return hashlib.sha256(dataset.encoded(index)).digest()
    if isinstance(dataset, ArrayImages) and dataset.images.ndim > 2:
        return hashlib.sha256(dataset.images[index].tobytes()).digest()
    return None


def _last_bytes(path: os.PathLike) -> bytes:
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - ENDING))
        return file.read()


def _read(dataset: ImageFiles, index: int, how: Callable[[Any], Any]) -> Any:
    try:
        return how(dataset.files[index])
    except OSError as error:
        raise UserError(f"{place_of(dataset, index)} cannot be read: {error.strerror}") from error
