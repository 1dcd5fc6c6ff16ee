"""One image of every set through all that it will meet in a run: what does not fit together shows before the run."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..datasets.loader import Batch, EvaluationLoader, TrainLoader, first_sample
from ..registry import UserError
from .evaluate import evaluation_mode
from .forward import Forward
from .metrics import MetricSet, is_multi_label


def try_everything(
    forward: Forward,
    loss: nn.Module,
    loaders: Mapping[str, TrainLoader | EvaluationLoader],
    metrics: Mapping[str, dict],
    classes: int,
) -> int:
    """Read one image of each set, and send it through the model, the loss and the metrics.

    An evaluation comes an epoch after the start: a mistake in it would otherwise cost that epoch.

    Args:
        metrics: configs by name.
        classes: how many the data has; 0 if it does not say.

    Returns:
        the number of classes that the model tells apart.

    Raises:
        UserError: an image cannot be read, or something does not take what it is given; says what.
    """
    loss = copy.deepcopy(loss)  # one that keeps a state shall not have seen this
    head = getattr(forward.model, "head", forward.model)
    with evaluation_mode(forward.model):
        for name, loader in loaders.items():
            batch = first_sample(loader).to(forward.device)
            logits = _try_model(forward, batch, name, classes)
            classes = logits.shape[1]
            _try_loss(loss, logits, batch.labels)
            _try_metrics(metrics, logits, batch.labels, getattr(head, "multi_label", False))
    return classes


def _try_model(forward: Forward, batch: Batch, name: str, classes: int) -> Tensor:
    shape = tuple(batch.images.shape)
    with _explained(f"the model fails on one image of {name}, of the shape {shape}"), torch.no_grad():
        logits = forward.model(batch.images)
    found = tuple(getattr(logits, "shape", ()))
    if len(found) != 2 or found[0] != 1 or (classes and found[1] != classes):
        wanted = f"(1, {classes})" if classes else "(1, classes)"
        raise UserError(f"for one image {shape} the model returns {found or type(logits)}, not logits {wanted}")
    _check_label(batch.labels, name, found[1])
    return logits.float()


def _check_label(labels: Tensor, name: str, classes: int) -> None:
    if labels.ndim == 2 and labels.shape[1] != classes:
        raise UserError(f"{name}: each image has {labels.shape[1]} labels, but the model returns {classes} logits")
    if labels.ndim == 1 and labels.is_floating_point():
        raise UserError(
            f"{name}: the first label is {float(labels[0]):g}, which is no class. Quantities to be predicted "
            "are labels of the shape (N, 1) for N images"
        )
    if labels.ndim == 1 and not 0 <= int(labels[0]) < classes:
        label = int(labels[0])
        raise UserError(f"{name}: the first label is {label}; the model tells the classes 0 to {classes - 1} apart")


def _try_loss(loss: nn.Module, logits: Tensor, labels: Tensor) -> None:
    # One more copy than there are classes: with as many, or one, labels could be broadcast over the logits.
    copies = logits.shape[1] + 1
    logits, labels = logits.repeat(copies, 1), labels.repeat(copies, *[1] * (labels.ndim - 1))
    shapes = f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)}"
    kind = type(loss).__name__
    with _explained(f"the loss {kind} does not take {shapes}", _loss_hint(kind, labels)):
        value = loss(logits, labels)
    if value.ndim != 0:
        raise UserError(f"the loss {kind} gives a tensor {tuple(value.shape)}, not one number: set reduction='mean'")


def _loss_hint(kind: str, labels: Tensor) -> str:
    if ("BCE" in kind or "BinaryCrossEntropy" in kind or "MultiLabel" in kind) and labels.ndim == 1:
        return (
            f"{kind} judges every class by itself and takes labels (N, classes) of 0 and 1; for class numbers take "
            "CrossEntropyLoss, with a BinaryHead if there are two"
        )
    return ""


def _try_metrics(configs: Mapping[str, dict], logits: Tensor, labels: Tensor, multi_label: bool) -> None:
    for name, config in configs.items():
        metric = MetricSet({name: config}, logits.shape[1], logits.device)
        if multi_label != is_multi_label(metric.metrics[name]):
            wants, has = ("several classes", "one") if not multi_label else ("one class", "several")
            raise UserError(
                f"the metric {name} ({config['type']}) expects {wants} of an image, the model's head tells {has}: take "
                + ("torchmetrics/MultilabelF1Score or another Multilabel..." if multi_label else "Accuracy")
            )
        with _explained(f"the metric {name} ({config['type']}) cannot be reported as one number"):
            metric.update(logits, labels)
            metric.compute()


@contextmanager
def _explained(what: str, hint: str = "") -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = hint or f"{type(error).__name__}: {error} (--debug shows where)"
        raise UserError(f"{what}: {reason}") from error
