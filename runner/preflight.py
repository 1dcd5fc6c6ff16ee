"""One image of every set through all that it will meet in a run: what does not fit together shows before the run."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from ..datasets.loading.loader import Batch, EvaluationLoader, TrainLoader
from ..registry import UserError
from .evaluate import evaluation_mode
from .labels import Meaning, all_labels, is_multi_label, meaning_of, require_fitting, require_known_classes
from .metrics import MetricSet, measures
from .step.forward import Forward
from .views import Views


def try_everything(
    forward: Forward,
    loss: nn.Module,
    loaders: Mapping[str, TrainLoader | EvaluationLoader],
    metrics: Mapping[str, dict],
    classes: int,
    views: Mapping[str, Views],
    mixed: bool = False,
) -> int:
    """Read one image of each set, and send it through the model, the loss and the metrics.

    An evaluation comes an epoch after the start: a mistake in it would otherwise cost that epoch.

    Args:
        metrics: configs by name.
        classes: how many the data has; 0 if it does not say.
        views: of the sets, by name, that are measured by several views of each image.
        mixed: whether a hook mixes the labels of training.

    Returns:
        the number of classes that the model tells apart.

    Raises:
        UserError: an image cannot be read, or something does not take what it is given; says what.
    """
    loss = copy.deepcopy(loss)  # one that keeps a state shall not have seen this
    multi_label = is_multi_label(forward.model, loss)
    with evaluation_mode(forward.model):
        for name, loader in loaders.items():
            batch = loader.first().to(forward.device)
            call = partial(views[name], forward.model) if name in views else forward.model
            logits = _try_model(call, batch, name, classes)
            classes = logits.shape[1]
            labels = all_labels(loader)
            for each in (batch.labels, labels):
                require_fitting(each, name, classes, loss, multi_label)
            require_known_classes(labels, loader.dataset, name, classes)
            meaning = meaning_of(labels, multi_label)
            if mixed and name == "train":
                _try_mixed(loss, logits, batch.labels, meaning)
            else:
                _try_loss(loss, logits, batch.labels)
            _try_metrics(metrics, logits, batch.labels, meaning)
    return classes


def _try_model(call: Callable[[Tensor], Tensor], batch: Batch, name: str, classes: int) -> Tensor:
    shape = tuple(batch.images.shape)
    with _explained(f"the model fails on one image of {name}, of the shape {shape}"), torch.no_grad():
        logits = call(batch.images)
    found = tuple(getattr(logits, "shape", ()))
    if len(found) != 2 or found[0] != 1 or (classes and found[1] != classes):
        wanted = f"(1, {classes})" if classes else "(1, classes)"
        remedy = f": set the model's num_classes to {classes}" if len(found) == 2 and classes else ""
        raise UserError(f"for one image {shape} the model returns {found or type(logits)}, not logits {wanted}{remedy}")
    return logits.float()


def _try_loss(loss: nn.Module, logits: Tensor, labels: Tensor) -> None:
    # One more copy than there are classes: with as many, or one, labels could be broadcast over the logits.
    copies = logits.shape[1] + 1
    name = type(loss).__name__
    logits, labels = logits.repeat(copies, 1), labels.repeat(copies, *[1] * (labels.ndim - 1))
    shapes = f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)}"
    with _explained(f"the loss {name} does not take {shapes}", lambda: _other_labels(loss, logits, labels)):
        value = loss(logits, labels)
    if not isinstance(value, Tensor) or value.ndim != 0:
        given = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise UserError(f"the loss {name} gives {given}, not one number: set reduction='mean'")
    twice = loss(logits.repeat(2, 1), labels.repeat(2, *[1] * (labels.ndim - 1)))
    if value != 0 and torch.isclose(twice, 2 * value, rtol=1e-4):
        raise UserError(f"the loss {name} sums over the images of a batch instead of averaging: set reduction='mean'")


def _try_mixed(loss: nn.Module, logits: Tensor, labels: Tensor, meaning: Meaning) -> None:
    if meaning == "values":
        raise UserError("train: a hook mixes the labels, which is for classes; these are measured values: leave it out")
    rows = nn.functional.one_hot(labels, logits.shape[1]).float() if labels.ndim == 1 else labels
    try:
        _try_loss(loss, logits, rows)
    except UserError as error:
        raise UserError(
            f"a hook mixes the labels of training into shares of several classes, rows (N, classes), and {error}. "
            "Leave the hook out, or take a loss such as CrossEntropyLoss, which takes both"
        ) from error


def _other_labels(loss: nn.Module, logits: Tensor, labels: Tensor) -> str:
    """Which labels a loss would have taken, if that can be found out."""
    if labels.ndim == 1:
        others = nn.functional.one_hot(labels, logits.shape[1]).float()
        remedy = (
            ". It takes a row of numbers for each image, such as multi-hot labels (N, classes). For class numbers take "
            "CrossEntropyLoss; for two classes BinaryHead and CrossEntropyLoss"
        )
    else:
        others = labels.argmax(1)
        remedy = ". It takes class numbers (N,), not rows"
    try:
        loss(logits, others)
    except Exception:  # it takes neither: there is nothing to advise
        return ""
    return remedy


def _try_metrics(configs: Mapping[str, dict], logits: Tensor, labels: Tensor, meaning: Meaning) -> None:
    for name, config in configs.items():
        said = f"the metric {name} ({config['type']})"
        metric = MetricSet({name: config}, logits.shape[1], logits.device)
        compared = measures(metric.metrics[name])
        if meaning != "class" and (compared == "class" or (compared == "two classes" and logits.shape[1] > 1)):
            raise UserError(
                f"{said} compares class numbers, but a label is a row that is no class: for multi-hot labels take such "
                "as torchmetrics/MultilabelF1Score, for measured values torchmetrics/MeanAbsoluteError"
            )
        with _explained(f"{said} cannot be reported as one number"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no image of some class
            metric.update(torch.cat([logits, logits]), torch.cat([labels, labels]))  # some need two
            metric.compute()


@contextmanager
def _explained(what: str, remedy: Callable[[], str] = str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what}: {type(error).__name__}: {error} (--debug shows where){remedy()}") from error
