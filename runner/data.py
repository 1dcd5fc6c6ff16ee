"""The data of an experiment: loaders from their configs, and what must agree before a model is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..datasets.combine import name_source
from ..datasets.loader import EvaluationLoader, TrainLoader, name_of
from ..datasets.transforms import build_transform
from ..registry import DATASETS, SAMPLERS, ConfigError, EvaluationData, TrainData, UserError


def build_train_loader(config: TrainData, seed: int, source: str | None = None) -> TrainLoader:
    """The training data.

    Args:
        source: the source that the data must come from, if a run was trained on it already.

    Raises:
        UserError: the data is not there, holds fewer images than a batch, or has a label out of range.
    """
    dataset = _build_dataset(config.dataset, source)
    _check_labels("train", dataset)
    loader = TrainLoader(
        dataset,
        build_transform(config.transforms),
        SAMPLERS.build(config.sampler, default_args=dict(dataset=dataset, seed=seed)),
        batch_size=config.batch_size,
        drop_last=config.drop_last,
        num_workers=config.num_workers,
        seed=seed,
        pin_memory=torch.accelerator.is_available(),
    )
    if loader.batches_per_epoch == 0:
        raise ConfigError(
            f"train: {len(dataset)} images do not fill one batch of {config.batch_size}: "
            "make train.batch_size smaller, or set train.drop_last=False"
        )
    return loader


def build_evaluation_loaders(
    configs: Mapping[str, EvaluationData], seed: int, source_for: Callable[[str], str | None]
) -> dict[str, EvaluationLoader]:
    """The evaluation sets by name.

    Args:
        source_for: the source that a set must come from, or None for any.
    """
    loaders = {}
    for name, config in configs.items():
        dataset = _build_dataset(config.dataset, source_for(name))
        if len(dataset) == 0:
            raise UserError(f"evaluation.{name}: the data set is empty")
        _check_labels(f"evaluation.{name}", dataset)
        loaders[name] = EvaluationLoader(
            dataset,
            build_transform(config.transforms),
            batch_size=config.batch_size,
            num_workers=config.num_workers,
            seed=seed,
            pin_memory=torch.accelerator.is_available(),
        )
    return loaders


def _build_dataset(config: dict, source: str | None) -> Any:
    """A data set that must come from `source`, if one is given."""
    if source is not None and config["type"] == "FirstAvailable":
        return DATASETS.build({**config, "insist": source})
    dataset = DATASETS.build(config)
    if source is not None and name_source(dataset, config) != source:
        raise UserError(f"the run was trained on {source}; this config reads {name_source(dataset, config)}")
    return dataset


def _check_labels(where: str, dataset: Any) -> None:
    """All labels at once: one out of range would, on a GPU, end the run at its batch with an unreadable error."""
    labels, classes = getattr(dataset, "labels", None), getattr(dataset, "classes", None)
    if labels is None or not classes or len(labels) == 0:
        return
    values = torch.as_tensor(labels)
    if values.ndim == 2:
        _check_rows(where, dataset, values, len(classes))
        return
    wrong = ((values < 0) | (values >= len(classes))).nonzero()
    if len(wrong):
        index = int(wrong[0])
        raise UserError(
            f"{where}: the label of {name_of(dataset, index)} is {int(values[index])}; with {len(classes)} classes "
            f"labels are 0 to {len(classes) - 1} ({len(wrong)} of {len(values)} labels are out of range)"
        )


def _check_rows(where: str, dataset: Any, values: torch.Tensor, classes: int) -> None:
    """Labels (N, classes): what is in an image, as 0 and 1, or shares of classes."""
    if values.shape[1] != classes:
        raise UserError(f"{where}: there are {values.shape[1]} labels for each image, but {classes} classes")
    wrong = ((values < 0) | (values > 1)).any(1).nonzero()
    if len(wrong):
        index = int(wrong[0])
        raise UserError(f"{where}: the labels of {name_of(dataset, index)} are {values[index].tolist()}, not 0 to 1")


def check_classes(train: Any, evaluation: Mapping[str, Any], model: Mapping) -> None:
    """Training set, evaluation sets and head must mean the same by a label.

    Raises:
        UserError: they do not; names the classes or the numbers.
    """
    classes = getattr(train, "classes", None)
    if not classes:
        return
    for name, dataset in evaluation.items():
        others = getattr(dataset, "classes", classes)
        if list(others) != list(classes):
            only_here = [each for each in classes if each not in others]
            only_there = [each for each in others if each not in classes]
            how = f"only train has {only_here}, only {name} has {only_there}"
            if not only_here and not only_there:
                how = f"train's order is {list(classes)}, {name}'s is {list(others)}"
            raise UserError(f"evaluation.{name} has other classes than train, so its labels mean something else: {how}")
    where, holder = _last_head(model)
    if holder.get("type") == "BinaryHead" and len(classes) != 2:
        raise UserError(
            f"{where} is a BinaryHead, for two classes; the training data has {len(classes)}: take "
            f"dict(type='LinearHead', num_classes={len(classes)})"
        )
    if isinstance(holder.get("num_classes"), int) and holder["num_classes"] != len(classes):
        raise UserError(
            f"{where}.num_classes is {holder['num_classes']}, but the training data has {len(classes)} classes "
            f"({', '.join(map(str, classes[:10]))}{', ...' if len(classes) > 10 else ''}): set it to {len(classes)}"
        )


def _last_head(model: Mapping) -> tuple[str, Mapping]:
    """The part of a model's config that says how many classes there are, and its path."""
    where, holder = ("model.head", model["head"]) if isinstance(model.get("head"), Mapping) else ("model", model)
    while isinstance(holder.get("heads"), list) and holder["heads"]:
        where, holder = f"{where}.heads.{len(holder['heads']) - 1}", holder["heads"][-1]
    return where, holder
