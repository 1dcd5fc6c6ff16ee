"""Labels that do not fit the model, the loss or a metric: said before the run, with what would fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from knoll.registry import DATASETS, HEADS, UserError
from knoll.runner import Runner, Trained
from knoll.runner.preflight import _try_loss

SPLITS = dict(train=42, val=18)  # as in `arrays.npz`
several = dict(type="MultiLabelHead", num_classes=4)
one_value = dict(type="LinearHead", num_classes=1)
BCE = dict(type="BCEWithLogitsLoss")


def relabel(of: Any) -> None:
    """Other labels for the images of `arrays.npz`: what a function makes of their number."""
    arrays = dict(np.load("arrays.npz"))
    for split, count in SPLITS.items():
        arrays[f"{split}_labels"] = of(count)
    np.savez("arrays.npz", **arrays)


def multi_hot(count: int, dtype: Any = int) -> np.ndarray:
    return (np.arange(count)[:, None] // [1, 2, 4, 8] % 2).astype(dtype)


def with_one(value: float) -> Any:
    """Multi-hot labels of floats, one of which is something else."""

    def of(count: int) -> np.ndarray:
        labels = multi_hot(count, float)
        labels[5, 2] = value
        return labels

    return of


def values(count: int) -> np.ndarray:
    return np.linspace(-2, 3, count)[:, None]


@pytest.mark.parametrize(
    ("of", "head", "loss", "metrics", "message"),
    [
        # class numbers with what takes several labels
        (None, None, BCE, {}, "class numbers, but head or loss ask for a yes or no to each class"),
        (None, None, BCE, {}, "For class numbers take LinearHead and CrossEntropyLoss; for two classes BinaryHead and"),
        (None, None, dict(type="timm/AsymmetricLossMultiLabel"), {}, "for which labels are multi-hot"),
        (
            None,
            several,
            BCE,
            {},
            "the labels are class numbers, but head or loss ask for a yes or no to each class.*BinaryH",
        ),
        (None, None, None, dict(f1=dict(type="torchmetrics/MultilabelF1Score")), "the metric f1 .*multi-hot labels"),
        (None, None, None, dict(r2=dict(type="torchmetrics/R2Score")), "the metric r2 .*compares measured values"),
        (
            None,
            None,
            None,
            dict(f1=dict(type="torchmetrics/BinaryF1Score")),
            "for two classes; the model tells 4 apart",
        ),
        # several labels with what takes one class
        (multi_hot, None, None, {}, r"the label of image 0 is \(0, 0, 0, 0\). CrossEntropyLoss takes one class"),
        (multi_hot, several, None, {}, "CrossEntropyLoss takes one class for each image, but the model answers yes or"),
        (multi_hot, several, BCE, None, r"metric top1 \(Accuracy\) compares class numbers.*MultilabelF1Score"),
        (multi_hot, several, dict(type="MultiMarginLoss"), {}, r"It takes class numbers \(N,\), not rows"),
        (
            multi_hot,
            several,
            BCE,
            dict(f1=dict(type="torchmetrics/BinaryF1Score")),
            "metric f1 .*compares class numbers",
        ),
        # rows that are not what they should be
        (
            with_one(2),
            several,
            BCE,
            {},
            r"train: the label of image 5 is \(1, 0, 2, 0\). multi-hot labels lie between 0 and 1",
        ),
        (
            with_one(-1),
            None,
            BCE,
            {},
            r"train: the label of image 5 is \(1, 0, -1, 0\). multi-hot labels lie between 0 and 1",
        ),
        (
            with_one(np.nan),
            several,
            BCE,
            {},
            r"train: the label of train/00005 is \[1.0, 0.0, nan, 0.0\]; every number",
        ),
        (
            lambda n: 3 * multi_hot(n),
            several,
            BCE,
            {},
            r"the label of train/00001 is \[3, 0, 0, 0\]; rows of integers ar",
        ),
        (
            lambda n: multi_hot(n)[:, :3],
            several,
            BCE,
            {},
            "model.head.num_classes is 4, but the training data has 3 cl",
        ),
        # measured values
        (values, one_value, None, {}, r"the label of image 0 is \(-2\). CrossEntropyLoss takes one class"),
        (values, one_value, dict(type="MSELoss"), None, "Accuracy tells classes apart, and the model has one output"),
        (
            lambda n: values(n)[:, 0],
            one_value,
            dict(type="MSELoss"),
            {},
            r"train_labels is float64 of shape \(42,\); ex",
        ),
        # one class or several numbers
        (
            lambda n: np.zeros(n, int),
            one_value,
            dict(type="MSELoss"),
            {},
            "class numbers, but the model has one output",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_the_run(tiny, of, head, loss, metrics, message):
    if of is not None:
        relabel(of)
    if head is not None:
        tiny["model"]["head"] = head
    if loss is not None:
        tiny["loss"] = loss
    if metrics is not None:
        tiny["metrics"] = metrics
    tiny["hooks"]["checkpoint"].pop("best")
    with pytest.raises(UserError, match=message):
        Runner(tiny, "run")


def test_a_class_number_out_of_range_is_named(tiny):
    for part in (tiny["train"], tiny["evaluation"]["val"]):
        part["dataset"]["classes"] = list("abc")
    tiny["model"]["head"]["num_classes"] = 3
    with pytest.raises(
        UserError, match=r"the label of train/00003 is 3; with 3 classes labels are 0 to 2 \(10 of 42 lab"
    ):
        Runner(tiny, "run")


def test_other_labels_than_a_checkpoint_knows_are_refused(tiny):
    relabel(multi_hot)
    tiny["model"]["head"] = several
    tiny |= dict(loss=BCE, metrics={}, duration=1)
    tiny["hooks"] = dict(checkpoint=dict(type="Checkpoint"))
    Runner(tiny, "run").train()
    relabel(lambda count: np.arange(count) % 4)
    with pytest.raises(
        UserError, match=r"evaluation\.val: the labels are class numbers, but head or loss ask for a yes or no"
    ):
        Trained("run/checkpoints/last.pt").evaluation_loaders()


class Images(torch.utils.data.Dataset):
    """Nothing but images and a label of each; tells neither its labels nor its classes."""

    def __init__(self, label: Any) -> None:
        self.label = label

    def __len__(self) -> int:
        return 42

    def __getitem__(self, index: int) -> Any:
        return Image.new("L", (28, 28)), self.label


@pytest.mark.parametrize(
    ("label", "head", "message"),
    [
        (
            0.5,
            one_value,
            r"train: the label of an image is the number 0.5. .*a row of one, so that labels are \(N, 1\)",
        ),
        ([0.5], dict(type="LinearHead", num_classes=3), "train: a label is a row of 1, but the model has 3 outputs"),
        (
            4,
            dict(type="LinearHead", num_classes=4),
            "train: the label of sample 0 is 4; the model tells the classes 0 to 3 apart",
        ),
    ],
)
def test_a_set_that_tells_nothing_is_tried_with_its_first_sample(tiny, label, head, message):
    DATASETS.register_module(module=Images)
    tiny["model"]["head"] = head
    tiny |= dict(loss=dict(type="MSELoss"), metrics={}, evaluation={})
    tiny["train"]["dataset"] = dict(type="Images", label=label)
    tiny["hooks"] = {}
    try:
        with pytest.raises(UserError, match=message):
            Runner(tiny, "run")
    finally:
        del DATASETS.module_dict["Images"]


def stack(*heads: dict) -> dict:
    return dict(type="StackHead", heads=list(heads))


linear = dict(type="LinearHead", num_classes=7)
binary = dict(type="BinaryHead")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (linear, "model.head.num_classes is 7, but the training data has 4 classes (0, 1, 2, 3): set it to 4"),
        (
            binary,
            "model.head, a BinaryHead, is for 2 classes, but the training data has 4 classes (0, 1, 2, 3): take Lin",
        ),
        (stack(several, linear), "model.head.heads.1.num_classes is 7, but the training data has 4 classes"),
        (
            stack(linear, stack(linear, binary)),
            "model.head.heads.1.heads.1, a BinaryHead, is for 2 classes, but the tra",
        ),
    ],
)
def test_the_head_that_counts_is_the_last(tiny, head, message):
    tiny["model"]["head"] = head
    with pytest.raises(UserError) as error:
        Runner(tiny, "run")
    assert message in str(error.value)


def test_a_stack_may_be_wider_before_its_last_head(tiny):
    tiny["model"]["head"] = stack(linear, dict(type="LinearHead", num_classes=4))
    assert Runner(tiny | dict(duration=1), "run").train()["val/loss"] > 0


def test_a_head_of_ones_own_says_that_it_is_multi_label(tiny):
    @HEADS.register_module()
    class Mine(nn.Linear):
        num_classes, multi_label = 4, True

        def __init__(self, in_features: int) -> None:
            super().__init__(in_features, 4)

    tiny["model"]["head"] = dict(type="Mine")
    try:
        with pytest.raises(UserError, match="head or loss ask for a yes or no to each class"):
            Runner(tiny, "run")
    finally:
        del HEADS.module_dict["Mine"]


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "MSELoss"])
def test_a_loss_that_sums_over_images_is_refused(name):
    """Its gradient would depend on the size of the batch, and a shorter last batch would not count by its share."""
    labels = torch.tensor([1]) if name == "CrossEntropyLoss" else torch.rand(1, 3)
    logits = torch.tensor([[0.3, -0.2, 1.0]])
    _try_loss(getattr(nn, name)(), logits, labels)
    with pytest.raises(UserError, match=f"the loss {name} sums over the images of a batch.*reduction='mean'"):
        _try_loss(getattr(nn, name)(reduction="sum"), logits, labels)
