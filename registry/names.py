"""Near names: what a misspelt name was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, names: Iterable[str], most: int = 3) -> list[str]:
    """The names most like `name`, best first; upper and lower case count as the same letter."""
    by_folded = {candidate.lower(): candidate for candidate in names}
    return [by_folded[match] for match in get_close_matches(name.lower(), by_folded, n=most, cutoff=0.6)]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A closing sentence for an error message: near names, or the few that there are, or nothing."""
    names = sorted(names)
    near = nearest(name, names)
    if near:
        return f" Did you mean {' or '.join(f'`{match}`' for match in near)}?"
    if 0 < len(names) <= 12:
        return f" There is {', '.join(f'`{known}`' for known in names)}."
    return ""
