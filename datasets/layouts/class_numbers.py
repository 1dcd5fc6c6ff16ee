"""From labels as people write them, names or numbers, to class numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ...registry import UserError
from ...registry.names import did_you_mean

# "007" is a name: as a number it would lose its zeros.
_WHOLE_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,18})")
MOST_CLASSES = 1_000_000


def class_numbers(
    labels: Sequence[str], classes: Sequence[str] | None, place: Callable[[int], str]
) -> tuple[list[int], list[str]]:
    """The class number of every sample, and the names of the classes in that order.

    Names are numbered in alphabetical order, or as `classes` has them. Labels that are all whole numbers stay as they
    are: `classes` names them in order; without it they are their own names, from 0 up to the largest.

    Args:
        labels: one for each sample, as it is written.
        classes: names of the classes, at least those that occur.
        place: where a person finds the label of a sample, for the error.

    Raises:
        UserError: a label that `classes` has not, a number below 0 or beyond `classes`, a class named twice; without
            `classes` a number so large that it can be none.
    """
    names = list(classes) if classes is not None else sorted(set(labels))
    twice = next((name for name in names if names.count(name) > 1), None) if classes is not None else None
    if twice is not None:
        raise UserError(f"`classes` has {twice!r} twice: each name stands for one class")
    known = {name: number for number, name in enumerate(names)}
    if all(map(_WHOLE_NUMBER.fullmatch, labels)) and (classes is None or not known.keys() >= set(labels)):
        return _numbers([int(label) for label in labels], classes, place)
    unknown = [index for index, label in enumerate(labels) if label not in known]
    if unknown:
        label = labels[unknown[0]]
        raise UserError(
            f"{place(unknown[0])}: the label {label!r} is not among the {len(names)} `classes` "
            f"({len(unknown)} of {len(labels)} labels are not).{did_you_mean(label, names)}"
        )
    return [known[label] for label in labels], names


def _numbers(
    labels: list[int], classes: Sequence[str] | None, place: Callable[[int], str]
) -> tuple[list[int], list[str]]:
    if classes is None:
        count = max(labels, default=-1) + 1
        require_classes(count, lambda: place(labels.index(count - 1)))
        names = [str(number) for number in range(count)]
    else:
        names = list(classes)
    outside = [index for index, label in enumerate(labels) if not 0 <= label < len(names)]
    if outside:
        known = "0 or more" if classes is None else f"0 to {len(names) - 1}, for there are {len(names)} `classes`"
        raise UserError(
            f"{place(outside[0])}: the label is {labels[outside[0]]}; a class number is {known} "
            f"({len(outside)} of {len(labels)} labels are not)"
        )
    return labels, names


def require_classes(count: int, place: Callable[[], str]) -> None:
    """Refuse a number of classes of which the names alone would fill the memory: an identifier among the labels.

    Raises:
        UserError: there are more than a million.
    """
    if count > MOST_CLASSES:
        raise UserError(f"{place()}: the label {count - 1} would make {count:,} classes; up to {MOST_CLASSES:,} can be")
