"""What labels mean to a model: one class for each image, several at once, or measured values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..datasets.base import name_of
from ..datasets.loading.loader import Batch, EvaluationLoader, TrainLoader
from ..registry import UserError

# "class": one class for each image, as its number (N,) or as shares of the classes that sum to one (N, classes).
# "labels": a yes or no for each class, multi-hot (N, classes).
# "values": anything else that is a row of numbers for each image, (N, outputs): what a regression learns.
Meaning = Literal["class", "labels", "values"]


def meaning_of(labels: Tensor, multi_label: bool) -> Meaning:
    """What labels (N,) or (N, classes) mean.

    Rows of zeros and ones alone do not tell whether they are multi-hot: the model says so, by `multi_label`.
    """
    if labels.ndim == 1:
        return "class"
    if multi_label:
        return "labels"
    return "class" if labels.shape[1] > 1 and bool(_are_shares(labels).all()) else "values"


def is_multi_label(model: nn.Module, loss: nn.Module) -> bool:
    """Whether a model answers yes or no for each class: its head says so, or it learns by a loss that asks for that."""
    by_head = getattr(getattr(model, "head", model), "multi_label", False)
    return bool(by_head) or isinstance(loss, nn.BCEWithLogitsLoss) or "MultiLabel" in type(loss).__name__


def all_labels(loader: TrainLoader | EvaluationLoader) -> Tensor:
    """The labels of a set, (N,) or (N, classes), on the CPU; the first one alone if its data set does not tell them."""
    told = told_labels(loader.dataset)
    return told if told is not None else loader.first().labels


def told_labels(dataset: Any) -> Tensor | None:
    """All labels that a data set tells without loading its images: class numbers (N,) or rows (N, classes).

    None if it tells none, or something else: names, say, which it turns into numbers with its images.
    """
    labels = getattr(dataset, "labels", None)
    if labels is None or len(labels) == 0:
        return None
    try:
        array = np.asarray(labels)
    except (TypeError, ValueError, RuntimeError):  # not all of one shape
        return None
    if array.dtype.kind in "biu" and array.ndim in (1, 2):
        return torch.from_numpy(array.astype(np.int64))
    if array.dtype.kind == "f" and array.ndim == 2:
        return torch.from_numpy(array.astype(np.float32))
    return None


def require_fitting(labels: Tensor, name: str, outputs: int, loss: nn.Module, multi_label: bool) -> None:
    """Labels, model and loss must mean the same; some losses would take what does not fit, and learn nonsense.

    Args:
        name: of the set.
        outputs: the width of the model's logits.

    Raises:
        UserError: they do not; says what would fit.
    """
    if labels.ndim == 1:
        _require_class_numbers(labels, name, outputs, multi_label)
    elif labels.shape[1] != outputs:
        hint = ": a class number is a number, not a row of one" if labels.shape[1] == 1 else ""
        raise UserError(f"{name}: a label is a row of {labels.shape[1]}, but the model has {outputs} outputs{hint}")
    elif multi_label:
        if isinstance(loss, nn.CrossEntropyLoss):
            raise UserError(
                "CrossEntropyLoss takes one class for each image, but the model answers yes or no for each class: set "
                "loss=dict(type='BCEWithLogitsLoss')"
            )
        _refuse(name, labels, (labels < 0) | (labels > 1), "multi-hot labels lie between 0 and 1")
    elif isinstance(loss, nn.CrossEntropyLoss):
        wanted = (
            "CrossEntropyLoss takes one class for each image: its number, or shares that sum to one. For multi-hot "
            "labels take MultiLabelHead and BCEWithLogitsLoss, for measured values MSELoss"
        )
        _refuse(name, labels, ~_are_shares(labels)[:, None].expand_as(labels), wanted)


def require_known_classes(labels: Tensor, dataset: Any, name: str, outputs: int, indices: Tensor | None = None) -> None:
    """Class numbers must be of classes that the model tells apart; rows are let through.

    CrossEntropyLoss leaves out a label of -100 in silence. Any other that is out of range ends a run on a GPU with an
    error that does not say which.

    Args:
        name: of the set.
        indices: where in the data set the labels stand; by default they are all of its labels.

    Raises:
        UserError: names the first sample of which it is not so.
    """
    if labels.ndim != 1 or labels.is_floating_point() or outputs < 2:
        return
    outside = ((labels < 0) | (labels >= outputs)).nonzero()[:, 0]
    if len(outside):
        first = int(outside[0])
        sample = name_of(dataset, first if indices is None else int(indices[first]))
        raise UserError(
            f"{name}: the label of sample {sample} is {int(labels[first])}; the model tells the classes 0 to "
            f"{outputs - 1} apart ({len(outside)} of {len(labels)} labels here are none of them)"
        )


def checked(batches: Iterable[Batch], dataset: Any, name: str, outputs: int) -> Iterator[Batch]:
    """Batches as they come, with a look at each one's labels if the data set tells them only with its images."""
    if told_labels(dataset) is not None:
        return iter(batches)

    def known(batch: Batch) -> Batch:
        require_known_classes(batch.labels, dataset, name, outputs, batch.indices)
        return batch

    return map(known, batches)


def _require_class_numbers(labels: Tensor, name: str, outputs: int, multi_label: bool) -> None:
    if labels.is_floating_point():
        raise UserError(
            f"{name}: the label of an image is the number {float(labels[0]):g}. The number of a class is an integer; "
            "a measured value is a row of one, so that labels are (N, 1) as the model's outputs are"
        )
    if multi_label:
        raise UserError(
            f"{name}: the labels are class numbers, but head or loss ask for a yes or no to each class, for which "
            "labels are multi-hot (N, classes). For class numbers take LinearHead and CrossEntropyLoss; for two "
            "classes BinaryHead and CrossEntropyLoss"
        )
    if outputs == 1:
        raise UserError(
            f"{name}: the labels are class numbers, but the model has one output. To tell two classes apart take "
            "BinaryHead and CrossEntropyLoss; to learn a measured value store the labels as floats (N, 1)"
        )


def _are_shares(rows: Tensor) -> Tensor:
    """Which rows of (N, classes) are shares of one whole."""
    # The tolerance is float16's, in which such labels may have been kept.
    return ((rows.float().sum(1) - 1).abs() < 1e-2) & (rows >= 0).all(1)


def _refuse(name: str, labels: Tensor, wrong: Tensor, wanted: str) -> None:
    """Show the first row that has something wrong, if there is one."""
    rows = wrong.any(1).nonzero()
    if len(rows):
        row = [f"{value:g}" for value in labels[int(rows[0])].tolist()]
        shown = ", ".join(row[:8]) + (", ..." if len(row) > 8 else "")
        raise UserError(f"{name}: the label of image {int(rows[0])} is ({shown}). {wanted}")
