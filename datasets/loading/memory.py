"""Memory for batches, used again as soon as nobody holds the batch that lay in it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

KEPT = 3  # a batch that is computed with, the one before it, and the one being made


class Reused:
    """Gives arrays for batches.

    Fresh memory costs as much again as what is written to it, for the system clears it page by page at the first touch.
    An array is given again only if nothing refers to it: no tensor made of it, no view, no graph that keeps one.
    Several threads may ask at once.
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
        array = np.empty(shape, dtype)
        self._arrays = [*self._arrays[-(KEPT - 1) :], array]
        return array

    def __reduce__(self) -> tuple[type[Reused], tuple[()]]:
        return Reused, ()  # another process has memory of its own


def _held(arrays: list[np.ndarray], place: int) -> tuple[np.ndarray, int]:
    """An array, and how many refer to it."""
    # It is held before it is counted, so of two threads that want it at most one finds it free.
    array = arrays[place]
    return array, sys.getrefcount(array)


_FREE = _held([np.empty(0)], 0)[1]  # as Python counts here: its versions differ by one
