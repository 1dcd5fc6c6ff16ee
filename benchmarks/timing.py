"""Timings that mean something on a machine that others use too: taken in turn, and compared pair by pair."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Timing = Callable[[], float]


@dataclass(frozen=True)
class Estimate:
    """A median and its 95 % interval. `f"{estimate:.2f}"` is "1.05 (1.02 to 1.08)"."""

    median: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        return f"{self.median:{spec}} ({self.low:{spec}} to {self.high:{spec}})"


def in_turn(timings: Mapping[str, Timing], rounds: int, warmup: int = 1) -> dict[str, list[float]]:
    """What each timing returned in each round: A B C, A B C, ..., so that what slows the machine slows all of them.

    Args:
        timings: by name; each does its work and returns seconds, of all of it or of one step. See `seconds`.
        rounds: 10 or more give an interval that is not just the lowest and the highest.
        warmup: rounds before these, which fill caches and are not returned.
    """
    taken: dict[str, list[float]] = {name: [] for name in timings}
    for _ in range(warmup + rounds):
        for name, timing in timings.items():
            gc.collect()  # what the one before it left is not to be this one's to clear
            taken[name].append(timing())
    return {name: values[warmup:] for name, values in taken.items()}


def seconds(work: Callable[[], object]) -> Timing:
    """A timing of all that `work` does."""

    def timing() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return timing


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """`ours / theirs` of each round; below 1, ours took less."""
    return median([our / their for our, their in zip(ours, theirs, strict=True)])


def difference(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """`ours - theirs` of each round: what ours costs beyond theirs."""
    return median([our - their for our, their in zip(ours, theirs, strict=True)])


def median(values: Sequence[float]) -> Estimate:
    """The median, and the interval in which the sign test looks for the one that endless rounds would have.

    It goes from the k-th of the sorted values to the k-th from above, with the largest k for which fewer than k heads
    among as many fair coins come at most 2.5 times in 100. It asks nothing of how timings are distributed. Five values
    or fewer allow no such k: then it is the lowest and the highest, which cover less than 95 % (of five: 94 %).

    Source: Conover, Practical Nonparametric Statistics (3rd ed., 1999), section 3.2.
    """
    ordered = sorted(values)
    count = len(ordered)
    k, tail = 0, 0.0
    while (tail := tail + math.comb(count, k) / 2**count) <= 0.025:
        k += 1
    k = max(k, 1)
    return Estimate(statistics.median(ordered), ordered[k - 1], ordered[-k])
