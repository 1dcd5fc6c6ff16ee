"""Where the time of a batch goes: a profile of the loader, summed up by what is done."""

from __future__ import annotations

import cProfile
import pstats
from collections import defaultdict
from collections.abc import Iterable
from itertools import islice
from typing import Any

# What is done, by the end of a file's path and a function's name ("" for all of a file); the first that fits counts.
STAGES = [
    ("decoding", "pictures.py", "_decode_jpeg"),
    ("decoding", "", "'ImagingDecoder'"),
    ("header and file", "ImagePlugin.py", ""),
    ("header and file", "PIL/", ""),
    ("header and file", "decoding.py", ""),
    ("header and file", "", "read"),
    ("header and file", "", "open"),
    ("resizing", "", "_upsample"),
    ("resizing", "resizing.py", ""),
    ("resizing", "", "contiguous"),
    ("flipping", "flips.py", ""),
    ("flipping", "", "flip"),
    ("cropping", "crops.py", ""),
    ("cropping", "", "pad"),
    ("to floats", "finishing.py", ""),
    ("random numbers", "philox.py", ""),
    ("gathering", "base.py", "gather"),
    ("one batch of all", "pictures.py", "collect"),
]


def shares(batches: Iterable[Any], count: int) -> dict[str, float]:
    """The share of time of each stage, the largest first, over `count` batches after the first."""
    iterator = iter(batches)
    next(iterator)
    profile = cProfile.Profile()
    profile.enable()
    for _ in islice(iterator, count):
        pass
    profile.disable()
    times: dict[str, float] = defaultdict(float)
    for (file, _, function), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # pyright: ignore
        times[_stage(file, function)] += own
    total = sum(times.values())
    return {name: time / total for name, time in sorted(times.items(), key=lambda item: -item[1])}


def _stage(file: str, function: str) -> str:
    for stage, path, name in STAGES:
        if path in file and name in function and (path or file == "~"):
            return stage
    return "all else"
