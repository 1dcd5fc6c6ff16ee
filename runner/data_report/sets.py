"""The data sets of an experiment by name, as a run would choose them, with nothing refused yet."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...datasets.base import CombinedImages
from ...datasets.combining.combine import name_source
from ...registry import DATASETS, Experiment, UserError


class NamedSet(NamedTuple):
    """A data set, where its images come from, and the configs of its transforms."""

    dataset: Any
    source: str
    transforms: list[dict]


def build_sets(experiment: Experiment) -> dict[str, NamedSet]:
    """The training set as `train`, and every evaluation set. Of the same candidates all take the same one.

    Raises:
        UserError: a set is not there, or empty.
    """
    config = experiment.train.dataset
    train = DATASETS.build(config)
    sets = {"train": NamedSet(train, name_source(train, config), experiment.train.transforms)}
    for name, settings in experiment.evaluation.items():
        own = settings.dataset
        shares = own["type"] == "FirstAvailable" and own.get("datasets") == config.get("datasets")
        dataset = DATASETS.build({**own, "insist": sets["train"].source} if shares else own)
        sets[name] = NamedSet(dataset, name_source(dataset, own), settings.transforms)
    empty = [name for name, each in sets.items() if len(each.dataset) == 0]
    if empty:
        raise UserError(f"{empty[0]}: the data set is empty")
    return sets


def bottom(dataset: Any, index: int) -> tuple[Any, int]:
    """The data set that holds a sample itself, below all that are made of others, and its position there."""
    while isinstance(dataset, CombinedImages):
        dataset, index = dataset.locate(index)
    return dataset, index
