"""All that is found in the data sets of an experiment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...datasets.base import ArrayImages, name_of
from ...registry import Experiment, UserError
from ..data import check_classes
from ..labels import told_labels
from .duplicates import Duplicates, find_duplicates
from .labels import LabelCounts, Spread, count_labels, labels_of, spreads
from .pixels import PixelStatistics, before_normalize, pixel_statistics
from .scan import Record, scan
from .sets import NamedSet, bottom
from .sizes import Sizes, measure_sizes


@dataclass
class SetReport:
    """Of one set.

    Args:
        images: how many samples.
        labels: None if they are neither class numbers nor rows of numbers.
        formats: how many files of each.
        modes: how many images of each of Pillow's modes, as in the file.
        turned: images that their EXIF orientation turns.
        sizes: None for a table of numbers.
        columns: of a table of numbers, the spread of each column.
        unreadable: what is wrong with each sample that cannot be read.
    """

    source: str
    images: int
    labels: LabelCounts | None
    formats: dict[str, int]
    modes: dict[str, int]
    turned: int
    sizes: Sizes | None
    columns: dict[str, Spread]
    unreadable: list[str]


@dataclass
class Report:
    """Of an experiment's data.

    Args:
        sets: by name, `train` first.
        classes: what is wrong with the classes of the sets, or with the head for them.
        pixels: of the training images before Normalize; None for a table of numbers.
        no_pixels: why there are none; "" if there are.
        duplicates: all groups of samples that are the same.
    """

    sets: dict[str, SetReport]
    classes: list[str]
    pixels: PixelStatistics | None
    no_pixels: str
    duplicates: list[Duplicates]

    @property
    def wrong(self) -> bool:
        """Whether there is something that a run would end with."""
        labels = [each.labels.wrong for each in self.sets.values() if each.labels]
        return bool(self.classes or any(labels) or any(each.unreadable for each in self.sets.values()))


def make_report(
    experiment: Experiment,
    sets: Mapping[str, NamedSet],
    workers: int = 0,
    on_progress: Callable[[str, int], None] = lambda name, count: None,
) -> Report:
    """Read every sample of every set once, and tell what was found.

    Args:
        workers: processes that read.
        on_progress: called with the name of a set and how many more of its samples were read.
    """
    train = sets["train"]
    fixed, left_out = before_normalize(train.transforms, _example(train))
    records = {
        name: list(
            scan(
                own.dataset,
                transforms=fixed if name == "train" else None,
                with_labels=told_labels(own.dataset) is None,
                workers=workers,
                on_progress=partial(on_progress, name),
            )
        )
        for name, own in sets.items()
    }
    labels = {name: labels_of(own.dataset, [each.label for each in records[name]]) for name, own in sets.items()}
    pixels, no_pixels = _pixels(records["train"], train.transforms, left_out)
    return Report(
        sets={name: _report_set(own, records[name], labels[name]) for name, own in sets.items()},
        classes=_compare_classes(experiment, sets),
        pixels=pixels,
        no_pixels=no_pixels,
        duplicates=find_duplicates(sets, records, labels),
    )


def _example(own: NamedSet) -> object:
    """A picture to try the transforms on: of arrays the first, which all others are like."""
    array, place = bottom(own.dataset, 0)
    return array[place][0] if isinstance(array, ArrayImages) else None


def _report_set(own: NamedSet, records: list[Record], labels: np.ndarray | None) -> SetReport:
    readable = [record for record in records if not record.problem]
    return SetReport(
        source=own.source,
        images=len(records),
        labels=None if labels is None else count_labels(own.dataset, labels),
        formats=dict(Counter(record.format for record in readable).most_common()),
        modes=dict(Counter(record.mode for record in readable).most_common()),
        turned=sum(record.turned for record in readable),
        sizes=measure_sizes(records, partial(name_of, own.dataset)),
        columns=_columns(own),
        unreadable=[record.problem for record in records if record.problem],
    )


def _columns(own: NamedSet) -> dict[str, Spread]:
    table, _ = bottom(own.dataset, 0)
    if not isinstance(table, ArrayImages) or table.images.ndim != 2:
        return {}
    places = (bottom(own.dataset, index) for index in range(len(own.dataset)))
    rows = np.stack([part.images[place] for part, place in places])
    return spreads(getattr(table, "features", None) or [str(number) for number in range(rows.shape[1])], rows)


def _pixels(records: list[Record], transforms: list[dict], left_out: list[str]) -> tuple[PixelStatistics | None, str]:
    if all(record.mode == "row" for record in records):
        return None, ""
    misfits = [record.misfit for record in records if record.misfit]
    if misfits:
        return None, f"the transforms before Normalize fail on {len(misfits)} images, such as {misfits[0]}"
    try:
        measured = (record.moments for record in records if record.moments is not None)
        return pixel_statistics(measured, transforms, left_out), ""
    except ValueError as error:
        return None, str(error)


def _compare_classes(experiment: Experiment, sets: Mapping[str, NamedSet]) -> list[str]:
    found = []
    datasets = {name: own.dataset for name, own in sets.items() if name != "train"}
    for evaluation, model in [({}, experiment.model), *(({name: each}, {}) for name, each in datasets.items())]:
        try:
            check_classes(sets["train"].dataset, evaluation, model)
        except UserError as error:
            found.append(str(error))
    return found
