"""Parts of a data set by a seed: training, validation and test, or folds. What belongs together stays together."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from ...registry import DATASETS, ConfigError, UserError
from ...registry.fit import AtLeast
from ..base import name_of
from .combine import Selection, class_numbers, shorten, tell
from .identical import first_identical
from .name_table import read_names, write_names
from .partition import partition


@DATASETS.register_module()
class Split(Selection):
    """One part of a data set, such as its training or its validation part. The parts share no sample and no picture.

    Every class is divided by the parts' shares, rounded up or down, with at least one sample in each part. A sample's
    place follows from a hash of the seed and its name: neither the order in which a file system lists files nor the
    order of `parts` matters, and a picture that is added to a class moves at most one other over each border, two with
    three parts. (A twin of another picture, or one that joins a group of several, may move more.) Samples with the same
    picture, byte for byte, fall into one part, and so do all samples of a group; `partition` says how these are placed.
    Labels that are rows are divided by each different row, the rare ones together.

    Args:
        dataset: config of the whole.
        parts: the share of each part; they add up to 1.
        part: the one to take.
        seed: another seed gives other parts.
        groups: what shall not be divided, say the pictures of one patient: a regular expression that finds the group in
            a sample's name by its one pair of parentheses, such as "^(p[0-9]+)_"; or a file with each sample's group,
            .csv with the columns name and group or .json {name: group}.
        file: .csv with the columns name and part, or .json {name: part}. Written when it is not there; from then on it
            alone says which part a sample is in, whatever shares, seed and groups are.

    Raises:
        ConfigError: shares, a part, a regular expression that cannot be; a class with fewer samples, or groups, than
            there are parts.
        UserError: a file that cannot be read or written, or does not name the data set's samples.
    """

    def __init__(
        self,
        dataset: dict,
        parts: dict[str, float],
        part: str,
        seed: int = 0,
        groups: str | None = None,
        file: str | None = None,
    ) -> None:
        _require_shares(parts, part)
        whole = DATASETS.build(dataset)
        names = _names(whole)
        if file is not None and Path(file).exists():
            placed = _read_parts(Path(file), names, parts)
        else:
            placed = _divide(whole, names, parts, seed, groups, "Split")
            if file is not None:
                _require_unique(names, file)
                write_names(Path(file), "part", dict(zip(names, placed, strict=True)))
        super().__init__(whole, dataset, [index for index, own in enumerate(placed) if own == part])


@DATASETS.register_module()
class KFold(Selection):
    """All but one of `folds` equal parts of a data set to train on, or that one to validate on: for cross-validation,
    in which every sample validates once.

    The folds are stratified, independent of the order of files, and keep identical pictures and groups together, all as
    in Split.

    Args:
        dataset: config of the whole.
        folds: how many parts.
        fold: the one that validates, from 0.
        part: "train" or "val".
        seed: another seed gives other folds.
        groups: as in Split.

    Raises:
        ConfigError: no such fold; a class with fewer samples, or groups, than there are folds.
    """

    def __init__(
        self,
        dataset: dict,
        part: Literal["train", "val"],
        folds: Annotated[int, AtLeast(2)] = 5,
        fold: Annotated[int, AtLeast(0)] = 0,
        seed: int = 0,
        groups: str | None = None,
    ) -> None:
        if fold >= folds:
            raise ConfigError(f"KFold: fold is {fold}; the {folds} folds are 0 to {folds - 1}")
        whole = DATASETS.build(dataset)
        shares = {f"fold {number}": 1 / folds for number in range(folds)}
        placed = _divide(whole, _names(whole), shares, seed, groups, "KFold")
        validates = part == "val"
        chosen = [index for index, own in enumerate(placed) if (own == f"fold {fold}") == validates]
        super().__init__(whole, dataset, chosen)


def _require_shares(parts: Mapping[str, float], part: str) -> None:
    wrong = {name: share for name, share in parts.items() if not 0 <= share <= 1}
    if wrong:
        raise ConfigError(f"Split: parts are shares between 0 and 1, but {wrong}")
    if not math.isclose(sum(parts.values()), 1, abs_tol=1e-6):
        raise ConfigError(
            f"Split: the shares of {', '.join(parts) or 'no part'} add up to {sum(parts.values()):g}, not 1"
        )
    if part not in parts:
        raise ConfigError(f"Split: there is no part `{part}`; parts has {', '.join(parts)}")


def _names(whole: Any) -> list[str]:
    return [name_of(whole, index) for index in range(len(whole))]


def _divide(
    whole: Any, names: Sequence[str], shares: Mapping[str, float], seed: int, groups: str | None, who: str
) -> list[str]:
    """The part of every sample."""
    strata, by_class = _strata(whole, min(share for share in shares.values() if share > 0), who)
    units = _units(whole, names, groups)
    placed = partition(strata, units, shares, seed)
    if by_class:
        wanted = {part for part, share in shares.items() if share > 0}
        _require_everywhere(strata, units, placed, wanted, who)
    return placed


def _strata(whole: Any, smallest: float, who: str) -> tuple[list[str], bool]:
    """What each sample counts as when the whole is divided, and whether that is its class."""
    labels = np.asarray(tell(whole, "labels"))
    if labels.ndim == 1:
        classes = tell(whole, "classes")
        return [str(classes[label]) for label in class_numbers(whole, who)], True
    rows = [repr(row.tolist()) for row in labels]
    counts = Counter(rows)
    return [row if counts[row] * smallest >= 1 else "rare" for row in rows], False


def _units(whole: Any, names: Sequence[str], groups: str | None) -> list[str]:
    """What each sample may not be divided from, under the least of the names or groups in it."""
    own = _unique(names) if groups is None else _groups(names, groups)
    joined: dict[str, str] = {}

    def find(unit: str) -> str:
        while unit in joined:
            unit = joined[unit]
        return unit

    for index, first in enumerate(first_identical(whole)):
        low, high = sorted((find(own[first]), find(own[index])))
        if low != high:
            joined[high] = low
    return [find(unit) for unit in own]


def _unique(names: Sequence[str]) -> list[str]:
    """Names with a number behind those that came before: two folders of a concatenation may call files the same."""
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return unique


def _groups(names: Sequence[str], groups: str) -> list[str]:
    if groups.endswith((".csv", ".json")):
        told = read_names(Path(groups), "group")
        missing = [name for name in names if name not in told]
        if missing:
            raise UserError(f"{groups} names no group for {len(missing)} samples, {shorten(missing, 3)}: add them")
        return [told[name] for name in names]
    try:
        pattern = re.compile(groups)
    except re.error as error:
        raise ConfigError(f"groups: {groups!r} is not a regular expression: {error}") from error
    if pattern.groups != 1:
        raise ConfigError(f"groups: {groups!r} has {pattern.groups} pairs of parentheses; one pair holds the group")
    found = [pattern.search(name) for name in names]
    unmatched = [name for name, match in zip(names, found, strict=True) if match is None or match[1] is None]
    if unmatched:
        raise ConfigError(
            f"groups: {groups!r} finds no group in the names of {len(unmatched)} samples, {shorten(unmatched, 3)}"
        )
    return [match[1] for match in found if match is not None]


def _require_everywhere(
    strata: Sequence[str], units: Sequence[str], placed: Sequence[str], parts: set[str], who: str
) -> None:
    """Every part must have every class."""
    where: dict[str, set[str]] = defaultdict(set)
    for stratum, part in zip(strata, placed, strict=True):
        where[stratum].add(part)
    for stratum, has in where.items():
        if has != parts:
            samples = strata.count(stratum)
            own = len({unit for unit, each in zip(units, strata, strict=True) if each == stratum})
            apart = f" that stay together in {own} group{'s' * (own > 1)}" if own < samples else ""
            raise ConfigError(
                f"{who}: the class {stratum} has {samples} samples{apart}, and none is left for "
                f"{', '.join(sorted(parts - has))}: add images, take fewer parts or folds, or leave the class out by "
                "dict(type='Subset', dataset=..., classes=[...])"
            )


def _require_unique(names: Sequence[str], file: str) -> None:
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise UserError(f"{file}: {count} samples are called {name}, so a file of names cannot tell them apart")


def _read_parts(file: Path, names: Sequence[str], parts: Mapping[str, float]) -> list[str]:
    told = read_names(file, "part")
    _require_unique(names, str(file))
    new = [name for name in names if name not in told]
    gone = sorted(told.keys() - set(names))
    if new or gone:
        said = [f"does not name {len(new)} samples of the data set, {shorten(new, 3)}"] if new else []
        said += [f"names {len(gone)} that the data set does not have, {shorten(gone, 3)}"] if gone else []
        raise UserError(
            f"{file} {' and '.join(said)}: it is of other data, or the data has changed. Add or remove these names "
            "there; or remove the file, and the data is split anew"
        )
    other = {name: told[name] for name in names if told[name] not in parts}
    if other:
        name = min(other)
        raise UserError(f"{file}: {name} is in the part {other[name]}; the config's parts are {', '.join(parts)}")
    return [told[name] for name in names]
