"""Widths and heights of the images of a set, and those that stand out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .scan import Record

LONG, FAR = 4, 16  # an aspect beyond 1:4; an area 16 times larger or smaller than the median's


@dataclass
class Sizes:
    """Of images (width, height) in pixels.

    Args:
        smallest: by its area.
        median: of the widths, and of the heights.
        largest: by its area.
        aspect: width / height: the smallest, the median and the largest.
        different: how many sizes there are.
        extreme: names of images that are far from the others, each with its size.
    """

    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]
    aspect: tuple[float, float, float]
    different: int
    extreme: list[str]


def measure_sizes(records: Sequence[Record], name: Callable[[int], str]) -> Sizes | None:
    """The sizes of what has one: None for the rows of a table, or if nothing could be read."""
    known = [(record.index, record.size) for record in records if record.size is not None]
    if not known:
        return None
    widths, heights = np.array([size for _, size in known], dtype=np.int64).T
    areas, aspects = widths * heights, widths / heights
    typical = float(np.median(areas))
    far = (areas > FAR * typical) | (areas * FAR < typical) | (aspects > LONG) | (aspects * LONG < 1)
    return Sizes(
        smallest=known[int(areas.argmin())][1],
        median=(int(np.median(widths)), int(np.median(heights))),
        largest=known[int(areas.argmax())][1],
        aspect=(float(aspects.min()), float(np.median(aspects)), float(aspects.max())),
        different=len({size for _, size in known}),
        extreme=[f"{name(known[at][0])} ({widths[at]} x {heights[at]})" for at in np.flatnonzero(far)],
    )
