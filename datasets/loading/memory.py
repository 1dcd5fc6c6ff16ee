"""Memory for batches, used again as soon as nobody holds the batch that lay in it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

KEPT = 3  # a batch that is computed with, the one before it, and the one being made
ALIGNMENT = 64  # bytes: where torch lets its own tensors begin


class Reused:
    """Gives arrays for batches.

    Fresh memory costs as much again as what is written to it, for the system clears it page by page at the first touch.
    An array is given again only if nothing refers to it: no tensor made of it, no view, no graph that keeps one.
    Several threads may ask at once.

    Arrays begin at multiples of 64 bytes, as torch's tensors do: for others a network's first layer takes a tenth
    longer. And none goes back to the C library, which may have no use for it: where freed memory is kept
    (`runner/step/allocator.py`), glibc before 2.38 finds a freed block too small for a tensor of the very size.
    """

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array with anything in it."""
        kept = self._arrays
        for place in range(len(kept)):
            array, references = _held(kept, place)
            if references == _FREE and array.shape == shape and array.dtype == dtype:
                return array
        array = _aligned(shape, np.dtype(dtype))
        self._arrays = [*self._arrays[-(KEPT - 1) :], array]
        return array

    def __reduce__(self) -> tuple[type[Reused], tuple[()]]:
        return Reused, ()  # another process has memory of its own


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.__array_interface__["data"][0] % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def _held(arrays: list[np.ndarray], place: int) -> tuple[np.ndarray, tuple[int, int]]:
    """An array, and how many refer to it, and to the memory that it lies in: views of it refer to that alone."""
    # It is held before it is counted, so of two threads that want it at most one finds it free.
    array = arrays[place]
    return array, (sys.getrefcount(array), sys.getrefcount(array.base))


# As Python counts here: its versions differ by one.
_FREE = _held([_aligned((1,), np.dtype(np.uint8))], 0)[1]
