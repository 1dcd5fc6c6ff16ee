"""The splits of an experiment: which its config has, and how its classes fall into their parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ...registry import DATASETS, UserError
from .labels import LabelCounts, count_labels, labels_of

TYPE = "Split"


class ConfiguredSplit(NamedTuple):
    """A split without its `part`, and where the config uses which: {"train.dataset": "train"}."""

    config: dict[str, Any]
    used: dict[str, str]

    @property
    def parts(self) -> list[str]:
        """The names of all parts, also of those that the config does not use."""
        return list(self.config["parts"])


def find_splits(data: Mapping[str, Any]) -> list[ConfiguredSplit]:
    """Every split of a config's data sets, each once, though several sets are its parts.

    Raises:
        UserError: there is none.
    """
    found: list[ConfiguredSplit] = []
    for key in ("train", "evaluation"):
        for path, config in _of_type(data.get(key, {}), key):
            common = {name: value for name, value in config.items() if name != "part"}
            split = next((each for each in found if each.config == common), None)
            if split is None:
                found.append(split := ConfiguredSplit(common, {}))
            split.used[path] = config["part"]
    if not found:
        raise UserError(
            f"the config has no split to write: train.dataset=dict(type='{TYPE}', dataset=dict(...), "
            "parts=dict(train=0.8, val=0.2), part='train', file='splits/mine.csv'), and the same for the other parts"
        )
    return found


def _of_type(value: Any, path: str) -> Iterator[tuple[str, dict]]:
    if isinstance(value, Mapping):
        if value.get("type") == TYPE:
            yield path, dict(value)
        for key, item in value.items():
            yield from _of_type(item, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _of_type(item, f"{path}.{number}")


class Part(NamedTuple):
    """How many images a part has, and their labels; None where the data set does not tell them."""

    images: int
    labels: LabelCounts | None


def build_parts(split: ConfiguredSplit) -> dict[str, Part]:
    """Build every part of a split, which writes its file if that is not there."""
    parts = {}
    for name in split.parts:
        dataset = DATASETS.build({**split.config, "part": name})
        labels = labels_of(dataset, [])
        parts[name] = Part(len(dataset), None if labels is None else count_labels(dataset, labels))
    return parts
