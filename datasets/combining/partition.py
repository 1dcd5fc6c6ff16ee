"""Which part of a data set a sample falls into: by a seed, every class by its share, what belongs together together."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from ..loading.randomness import derive_seed

HASHES = 2**32


def hash_order(names: Iterable[str], seed: int) -> list[str]:
    """Names shuffled by a seed: in the order of a hash of each, so that a new one does not move the others."""
    return sorted(names, key=lambda name: (derive_seed(seed, name), name))


def partition(strata: Sequence[str], units: Sequence[str], shares: Mapping[str, float], seed: int) -> list[str]:
    """The part of every sample.

    Depends on the names of strata, units and parts, and not on the order in which they come. Each stratum is divided
    by itself. Where every sample is a unit of its own, a part has its share of a stratum, rounded up or down (by a hash
    of the stratum, so that a thousand small classes are not all rounded the same way), and at least one sample if there
    are as many as parts. One sample more moves at most one other over each of the borders between the parts.

    Units of several samples are placed before those of one, the largest first, each into the part where it does least
    harm: that of the least chi-square between what the parts have and what is theirs, which for parts that are filled
    one by one is Webster's method. Where parts lack a stratum and no more units of it than that are left, only these
    parts are asked.

    Args:
        strata: of every sample what the parts shall have equal shares of: its class.
        units: of every sample what it belongs to. A unit falls into one part.
        shares: of each part; they add up to 1.
        seed: other seeds give other parts.
    """
    shares = {part: shares[part] for part in sorted(shares) if shares[part] > 0}
    members: dict[str, Counter[str]] = defaultdict(Counter)
    for stratum, unit in zip(strata, units, strict=True):
        members[unit][stratum] += 1
    order = hash_order(members, seed)
    several = sorted((unit for unit in order if members[unit].total() > 1), key=lambda unit: -members[unit].total())

    totals = Counter(strata)
    have = {part: Counter[str]() for part in shares}
    place = _place_several(several, members, shares, totals, have)
    single: dict[str, list[str]] = defaultdict(list)
    for unit in order:
        if unit not in place:
            single[next(iter(members[unit]))].append(unit)
    for stratum, own in single.items():
        offset = derive_seed(seed, "border", stratum) / HASHES
        sizes = _sizes(totals[stratum], shares, [1] * len(shares), offset)
        left = {part: max(0, size - have[part][stratum]) for part, size in zip(shares, sizes, strict=True)}
        sizes = _sizes(len(own), left, [int(not have[part][stratum]) for part in shares], offset)
        place |= zip(own, (part for part, size in zip(shares, sizes, strict=True) for _ in range(size)), strict=True)
    return [place[unit] for unit in units]


def _place_several(
    several: Sequence[str],
    members: Mapping[str, Counter[str]],
    shares: Mapping[str, float],
    totals: Mapping[str, int],
    have: Mapping[str, Counter[str]],
) -> dict[str, str]:
    """The parts of units of several samples; counts in `have` what each part then has of each stratum."""
    place = {}
    left = Counter(stratum for own in members.values() for stratum in own)
    for unit in several:
        own = members[unit]
        scarce = [stratum for stratum in own if left[stratum] <= sum(not each[stratum] for each in have.values())]
        asked = [part for part in shares if any(not have[part][stratum] for stratum in scarce)] or list(shares)

        def harm(part: str, own: Counter[str] = own) -> float:
            added = sum(count * (2 * have[part][stratum] + count) / totals[stratum] for stratum, count in own.items())
            return round(added / shares[part], 12)  # so that equal is equal, whatever the totals are

        place[unit] = min(asked, key=harm)
        have[place[unit]].update(own)
        left.subtract(own.keys())
    return place


def _sizes(count: int, weights: Mapping[str, float], least: Sequence[int], offset: float) -> list[int]:
    """How many of `count` each part gets by its weight, and not less than `least` where there are so many.

    Borders move up by 0 or 1 with every one more: what is on one side of a border stays there, but for one.
    """
    if count < sum(least):
        least = [0] * len(least)
    whole, reached = sum(weights.values()), 0.0
    borders = [0]
    for number, weight in enumerate(weights.values()):
        reached += weight
        border = math.floor(round(count * reached / whole, 9) + offset)
        border = max(border, borders[-1] + least[number])
        borders.append(min(border, count - sum(least[number + 1 :])))
    return [high - low for low, high in pairwise(borders)]
