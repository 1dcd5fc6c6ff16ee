"""The data of an experiment: loaders from their configs, and what must agree before a model is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..datasets.base import name_of
from ..datasets.combining.combine import differing_classes, name_source
from ..datasets.layouts.packed import Packed, fingerprint
from ..datasets.loading.loader import EvaluationLoader, TrainLoader
from ..datasets.transforms import build_transforms
from ..registry import DATASETS, HEADS, SAMPLERS, ConfigError, EvaluationData, TrainData, UnavailableError, UserError
from .labels import told_labels


def build_train_loader(
    config: TrainData, seed: int, source: str | None = None, part: tuple[int, int] = (0, 1)
) -> TrainLoader:
    """The training data.

    Args:
        source: the source that the data must come from, if a run was trained on it already.
        part: which of the processes of the run this is, and of how many.

    Raises:
        UserError: the data is not there, holds fewer images than a batch, or has a label out of range.
    """
    dataset = _open("train", config, source)
    _check_labels("train", dataset)
    loader = TrainLoader(
        dataset,
        build_transforms(config.transforms),
        SAMPLERS.build(config.sampler, default_args=dict(dataset=dataset, seed=seed)),
        batch_size=config.batch_size,
        drop_last=config.drop_last,
        part=part,
        num_workers=config.num_workers,
        seed=seed,
        start_method=config.start_method,
        skip=config.unreadable == "skip",
    )
    if loader.batches_per_epoch == 0:
        raise ConfigError(
            f"train: {len(dataset)} images do not fill one batch of {config.batch_size * part[1]}: "
            "make train.batch_size smaller, or set train.drop_last=False"
        )
    return loader


def build_evaluation_loaders(
    configs: Mapping[str, EvaluationData],
    seed: int,
    source_for: Callable[[str], str | None],
    part: tuple[int, int] = (0, 1),
) -> dict[str, EvaluationLoader]:
    """The evaluation sets by name.

    Args:
        source_for: the source that a set must come from, or None for any.
        part: which of the processes of the run this is, and of how many.
    """
    loaders = {}
    for name, config in configs.items():
        dataset = _open(f"evaluation.{name}", config, source_for(name))
        _check_labels(f"evaluation.{name}", dataset)
        loaders[name] = EvaluationLoader(
            dataset,
            build_transforms(config.transforms),
            batch_size=config.batch_size,
            num_workers=config.num_workers,
            seed=seed,
            part=part,
            start_method=config.start_method,
        )
    return loaders


def _open(where: str, config: TrainData | EvaluationData, source: str | None) -> Any:
    """The data set of a config, or the packed file that stands for it."""
    if config.packed is None:
        return _build_dataset(config.dataset, source)
    packed = Packed(config.packed)
    if source not in (None, packed.source):
        raise UserError(f"{where}: the run was trained on {source}; {config.packed} holds {packed.source}")
    named = config.dataset
    try:
        original = DATASETS.build({**named, "insist": packed.source} if named["type"] == "FirstAvailable" else named)
    except UnavailableError:
        return packed  # the file alone was brought here
    if (source := name_source(original, named)) != packed.source:
        raise UserError(f"{where}: {config.packed} holds {packed.source}, but the config names {source}")
    if fingerprint(original) != packed.fingerprint:
        raise UserError(
            f"{where}: {config.packed} was made of other images than {packed.source} has now: pack it again "
            "(python tools/data.py pack), or leave out `packed`"
        )
    return packed


def _build_dataset(config: dict, source: str | None) -> Any:
    """A data set that must come from `source`, if one is given; `same_choices` sees to those within it."""
    if source is not None and config["type"] == "FirstAvailable":
        return DATASETS.build({**config, "insist": source})
    dataset = DATASETS.build(config)
    if source is not None and name_source(dataset, config) != source:
        raise UserError(f"the run was trained on {source}; this config reads {name_source(dataset, config)}")
    return dataset


def _check_labels(where: str, dataset: Any) -> None:
    """All labels at once: one out of range would, on a GPU, end the run at its batch with an unreadable error."""
    if len(dataset) == 0:
        raise UserError(f"{where}: the data set is empty")
    labels, classes = told_labels(dataset), getattr(dataset, "classes", None)
    if labels is not None and len(labels) != len(dataset):
        raise UserError(f"{where}: the data set has {len(dataset)} samples, but tells {len(labels)} labels")
    if labels is None or classes is None:
        return
    count = len(classes)
    if labels.ndim == 1:
        wrong = (labels < 0) | (labels >= count)
        wanted = f"with {count} classes labels are 0 to {count - 1}"
    elif labels.shape[1] != count:
        raise UserError(f"{where}: the labels are rows of {labels.shape[1]}, but there are {count} classes")
    elif labels.is_floating_point():
        wrong, wanted = ~labels.isfinite(), "every number must be finite"
    else:
        wrong, wanted = (labels < 0) | (labels > 1), "rows of integers are multi-hot: 0 or 1; store others as floats"
    images = wrong.nonzero()[:, 0].unique()
    if len(images):
        index = int(images[0])
        raise UserError(
            f"{where}: the label of {name_of(dataset, index)} is {labels[index].tolist()}; {wanted} "
            f"({len(images)} of {len(labels)} labels are not)"
        )


def check_classes(train: Any, evaluation: Mapping[str, Any], model: Mapping) -> None:
    """Training set, evaluation sets and head must mean the same by a label.

    Raises:
        UserError: they do not; names the classes or the numbers.
    """
    classes = getattr(train, "classes", None)
    if classes is None:
        return
    for name, dataset in evaluation.items():
        if how := differing_classes(classes, getattr(dataset, "classes", classes), "train", name):
            raise UserError(f"evaluation.{name} has other classes than train, so its labels mean something else: {how}")
    where, head = _last_head(model)
    kind, count = head.get("type"), head.get("num_classes")
    wrong, remedy = f"{where}.num_classes is {count}", f"set it to {len(classes)}"
    if count is None and where != "model":
        count = getattr(HEADS.get(str(kind)), "num_classes", None)
        wrong, remedy = f"{where}, a {kind}, is for {count} classes", f"take LinearHead, num_classes={len(classes)}"
    if isinstance(count, int) and count != len(classes):
        shown = ", ".join(map(str, classes[:10])) + (", ..." if len(classes) > 10 else "")
        raise UserError(f"{wrong}, but the training data has {len(classes)} classes ({shown}): {remedy}")


def _last_head(model: Mapping) -> tuple[str, Mapping]:
    """The part of a model's config that says how many classes it tells apart (in a stack the last), and its path."""
    head, where = model.get("head"), "model.head"
    if not isinstance(head, Mapping):
        return "model", model
    while isinstance(heads := head.get("heads"), list) and heads:
        where, head = f"{where}.heads.{len(heads) - 1}", heads[-1]
    return where, head
