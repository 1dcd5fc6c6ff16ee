"""Whole runs on labels of every kind: two classes, several labels for one image, shares of classes, measured values."""

from __future__ import annotations

import csv
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from knoll.runner import Runner
from knoll.tools.test import main

COUNTS = dict(train=96, val=32)


def write(images_of, labels: dict[str, np.ndarray]) -> None:
    """`arrays.npz`, with the images that a function makes of each label."""
    arrays = {}
    for split, own in labels.items():
        arrays |= {f"{split}_images": np.stack([images_of(label) for label in own]), f"{split}_labels": own}
    np.savez("arrays.npz", **arrays)


def corners(rng: np.random.Generator, on: Any) -> np.ndarray:
    """Noise, with the corners bright that are on."""
    image = rng.integers(0, 60, (28, 28), dtype=np.uint8)
    for corner, bright in enumerate(on):
        top, left = 14 * (corner // 2), 14 * (corner % 2)
        image[top : top + 14, left : left + 14] += np.uint8(150 * bright)
    return image


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def experiment(tiny: dict[str, Any]) -> dict[str, Any]:
    tiny["optimizer"] = dict(type="Adam", lr=2e-3)
    tiny["train"] |= dict(transforms=tiny["evaluation"]["val"]["transforms"], batch_size=8)
    tiny["metrics"] = {}
    del tiny["hooks"]["checkpoint"]["best"], tiny["hooks"]["lr_schedule"]
    return tiny | dict(accumulate=1, duration="15ep")


def predictions() -> list[dict[str, str]]:
    assert main(["run/checkpoints/last.pt", "--out", "predictions.csv", "--device", "cpu"]) == 0
    with open("predictions.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_two_classes(experiment, rng):
    labels = {split: np.arange(count) % 2 for split, count in COUNTS.items()}
    write(lambda label: corners(rng, [label, 1 - label, 0, 0]), labels)
    experiment["model"]["head"] = dict(type="BinaryHead")
    experiment["metrics"] = dict(top1=dict(type="Accuracy"), auroc=dict(type="torchmetrics/BinaryAUROC"))
    measured = Runner(experiment | dict(duration="5ep"), "run").train()
    assert measured["val/top1"] == measured["val/auroc"] == 1.0

    rows = predictions()
    assert [row["label"] for row in rows] == ["0", "1"] * 16
    likelihood = [float(row[f"p({row['label']})"]) for row in rows]
    assert -np.log(likelihood).mean() == pytest.approx(measured["val/loss"], rel=1e-3)


@pytest.mark.parametrize(
    ("dtype", "loss"), [("uint8", "BCEWithLogitsLoss"), ("float64", "timm/AsymmetricLossMultiLabel")]
)
def test_several_labels_for_one_image(experiment, rng, dtype, loss):
    labels = {split: rng.integers(0, 2, (count, 4)).astype(dtype) for split, count in COUNTS.items()}
    write(partial(corners, rng), labels)
    labels["val"][:8] = 1 - labels["val"][:8]  # wrong, so that what is measured is not all 1
    np.savez("arrays.npz", **dict(np.load("arrays.npz")) | dict(val_labels=labels["val"]))
    experiment["model"]["head"] = dict(type="MultiLabelHead", num_classes=4, prior=0.5)
    experiment["loss"] = dict(type=loss)
    experiment["metrics"] = dict(
        f1=dict(type="torchmetrics/MultilabelF1Score"), accuracy=dict(type="torchmetrics/MultilabelAccuracy")
    )
    for split in ("train", "val"):
        part = experiment["train"] if split == "train" else experiment["evaluation"]["val"]
        part["dataset"]["classes"] = ["nw", "ne", "sw", "se"]
    experiment["hooks"]["log"] = dict(type="JSONLog", every=2)
    measured = Runner(experiment, "run").train()
    assert 0.7 < measured["val/f1"] < 0.8

    rows = predictions()
    found = np.array([[each in row["prediction"].split("|") for each in ("nw", "ne", "sw", "se")] for row in rows])
    truth = labels["val"] == 1
    assert np.array_equal(
        found, [[float(row[f"p({each})"]) > 0.5 for each in ("nw", "ne", "sw", "se")] for row in rows]
    )
    assert [row["label"] for row in rows] == ["|".join(np.array(["nw", "ne", "sw", "se"])[each]) for each in truth]
    assert [row["correct"] for row in rows] == [str(int(same)) for same in (found == truth).all(1)]
    hits, wrong = (found & truth).sum(0), (found != truth).sum(0)
    assert measured["val/f1"] == pytest.approx(np.mean(2 * hits / (2 * hits + wrong)))
    assert measured["val/accuracy"] == pytest.approx(np.mean(found == truth))


def test_shares_of_classes_are_learned_and_the_largest_counts(experiment, rng):
    numbers = {split: np.arange(count) % 4 for split, count in COUNTS.items()}
    soft = {split: 0.1 + 0.6 * np.eye(4, dtype=np.float32)[own] for split, own in numbers.items()}
    write(lambda shares: corners(rng, shares > 0.5), soft)
    experiment["metrics"] = dict(top1=dict(type="Accuracy"))
    measured = Runner(experiment | dict(duration="8ep"), "run").train()
    assert measured["val/top1"] == 1.0
    # Of labels (0.7, 0.1, 0.1, 0.1) no model's loss is below their own entropy.
    assert -0.7 * np.log(0.7) - 0.3 * np.log(0.1) < measured["val/loss"] < 1.05
    assert [row["label"] for row in predictions()] == [str(number) for number in numbers["val"]]


def test_measured_values(experiment, rng):
    brightness = {split: rng.uniform(-1, 1, (count, 1)) for split, count in COUNTS.items()}
    write(lambda value: rng.integers(0, 20, (28, 28), dtype=np.uint8) + np.uint8(100 * (value[0] + 1)), brightness)
    experiment["model"]["head"] = dict(type="LinearHead", num_classes=1)
    experiment["loss"] = dict(type="MSELoss")
    experiment["metrics"] = dict(mae=dict(type="torchmetrics/MeanAbsoluteError"), r2=dict(type="torchmetrics/R2Score"))
    measured = Runner(experiment, "run").train()
    rows = predictions()
    truth, found = (np.array([float(row[key]) for row in rows]) for key in ("label(0)", "prediction(0)"))
    assert np.array_equal(truth.astype(np.float32), brightness["val"][:, 0].astype(np.float32))
    errors = found - truth
    assert measured["val/loss"] == pytest.approx(np.mean(errors**2), rel=1e-5)
    assert measured["val/mae"] == pytest.approx(np.mean(np.abs(errors)), rel=1e-5)
    assert measured["val/r2"] == pytest.approx(1 - np.mean(errors**2) / np.var(truth), rel=1e-4)
    assert measured["val/r2"] > 0.9


def test_several_measured_values(experiment, rng):
    positions = {split: rng.normal(size=(count, 2)).astype(np.float32) for split, count in COUNTS.items()}
    write(lambda _: corners(rng, [0, 0, 0, 0]), positions)
    experiment["model"]["head"] = dict(type="LinearHead", num_classes=2)
    experiment["loss"] = dict(type="L1Loss")
    Runner(experiment | dict(duration=2), "run").train()
    assert list(predictions()[0])[3:] == ["label(0)", "label(1)", "prediction(0)", "prediction(1)"]


def test_one_yes_or_no_as_a_single_number(experiment, rng):
    labels = {split: (np.arange(count) % 2)[:, None].astype(np.float32) for split, count in COUNTS.items()}
    write(lambda label: corners(rng, [label[0], 0, 0, 0]), labels)
    experiment["model"]["head"] = dict(type="MultiLabelHead", num_classes=1)
    experiment["loss"] = dict(type="BCEWithLogitsLoss")
    experiment["metrics"] = dict(accuracy=dict(type="torchmetrics/BinaryAccuracy"))
    measured = Runner(experiment | dict(duration="5ep"), "run").train()
    rows = predictions()
    assert measured["val/accuracy"] == np.mean([row["correct"] == "1" for row in rows]) == 1.0
    assert [row["label"] for row in rows] == ["", "0"] * 16


def test_a_run_on_several_labels_continues_to_the_same_bits(experiment, rng):
    write(partial(corners, rng), {split: rng.integers(0, 2, (count, 4)) for split, count in COUNTS.items()})
    experiment["model"]["head"] = dict(type="MultiLabelHead", num_classes=4, dropout=0.2)
    experiment["loss"] = dict(type="BCEWithLogitsLoss")
    experiment["hooks"]["checkpoint"]["keep"] = 99
    experiment["duration"] = 8
    whole = Runner(experiment, "whole")
    whole.train()
    resumed = Runner(experiment, "resumed", resume="whole/checkpoints/step_00000004.pt")
    resumed.train()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
