"""Samples that are the same: within a set, and, worse, in a set that is trained on and one that measures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...datasets.base import EncodedImages, name_of
from .labels import label_in_words
from .scan import Record
from .sets import NamedSet, bottom


@dataclass(frozen=True)
class Member:
    """One of several samples that are the same."""

    set: str
    name: str
    label: str


@dataclass
class Duplicates:
    """Samples with the same bytes.

    Args:
        members: in the order of the sets, training first.
        labels_differ: not all have the same label.
    """

    members: list[Member]
    labels_differ: bool

    @property
    def sets(self) -> list[str]:
        return list(dict.fromkeys(member.set for member in self.members))


def find_duplicates(
    sets: Mapping[str, NamedSet], records: Mapping[str, Sequence[Record]], labels: Mapping[str, np.ndarray | None]
) -> list[Duplicates]:
    """All samples that are the same as others, by the bytes of their files, or by their pixels where there is no file.

    A sample that a set has several times, for it repeats it, counts once.
    """
    alike: dict[bytes, dict[Hashable, Member]] = defaultdict(dict)
    for name, own in sets.items():
        classes = [str(each) for each in getattr(own.dataset, "classes", [])]
        for record in records[name]:
            if not record.digest:
                continue
            known = labels[name]
            label = "?" if known is None else label_in_words(known[record.index], classes)
            member = Member(name, name_of(own.dataset, record.index), label)
            alike[record.digest].setdefault((name, _identity(own.dataset, record.index)), member)
    groups = [list(group.values()) for group in alike.values() if len(group) > 1]
    return [Duplicates(group, len({member.label for member in group}) > 1) for group in groups]


def _identity(dataset: Any, index: int) -> Hashable:
    """What tells a sample from its copies: its place, if it has one."""
    own, place = bottom(dataset, index)
    return own.place(place) if isinstance(own, EncodedImages) else (id(own), place)
