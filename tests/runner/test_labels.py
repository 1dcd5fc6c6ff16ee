"""What a label can be: the number of a class, several at once, a share of each, a quantity. From array to figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from knoll.registry import ConfigError, UserError
from knoll.runner import Runner, Trained
from knoll.runner.evaluate import evaluate


def write(labels: np.ndarray, train: int = 42) -> None:
    """`arrays.npz` anew: images whose four corners are bright as the labels say; the first 42 are for training."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (len(labels), 28, 28), dtype=np.uint8)
    rows = labels if labels.ndim == 2 else np.eye(4)[labels.astype(int) % 4]
    for image, row in zip(images, rows, strict=True):
        for corner, value in enumerate(row):
            top, left = 14 * (corner // 2), 14 * (corner % 2)
            image[top : top + 14, left : left + 14] += np.uint8(180 * value)
    parts = dict(train=slice(0, train), val=slice(train, None))
    np.savez(
        "arrays.npz",
        **{f"{name}_images": images[part] for name, part in parts.items()},
        **{f"{name}_labels": labels[part] for name, part in parts.items()},
    )


def experiment(tiny: dict[str, Any], head: dict, loss: str, metrics: dict | None = None, **changes: Any) -> dict:
    tiny["model"]["head"] = head
    tiny["hooks"]["checkpoint"] = dict(type="Checkpoint", every="1ep")
    return tiny | dict(loss=dict(type=loss), metrics=metrics or {}, duration="6ep", accumulate=1) | changes


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, bool])
def test_several_labels_for_an_image(tiny, dtype) -> None:
    labels = np.random.default_rng(1).integers(0, 2, (90, 4)).astype(dtype)
    write(labels, train=72)
    metrics = dict(f1=dict(type="torchmetrics/MultilabelF1Score"), acc=dict(type="torchmetrics/MultilabelAccuracy"))
    head = dict(type="MultiLabelHead", num_classes=4)
    config = experiment(tiny, head, "BCEWithLogitsLoss", metrics, optimizer=dict(type="AdamW", lr=3e-3))
    measured = Runner(config, "run").train()
    assert measured["val/f1"] > 0.85  # always yes gives 2/3

    # The F1 score from its definition, over the predictions of the checkpoint.
    trained = Trained("run/checkpoints/last.pt")
    truth, guess = [], []
    evaluate(
        trained.forward,
        trained.evaluation_loaders(),
        trained.loss,
        trained.new_metrics(),
        on_batch=lambda _, batch, logits: (truth.append(batch.labels), guess.append(logits > 0)),
    )
    true, said = torch.cat(truth).bool(), torch.cat(guess)
    f1 = 2 * (true & said).sum(0) / (true.sum(0) + said.sum(0))
    assert measured["val/f1"] == pytest.approx(float(f1.mean()), abs=1e-6)
    assert measured["val/acc"] == pytest.approx(float((true == said).float().mean()), abs=1e-6)


def test_their_predictions_in_a_table(tiny, tool, tmp_path) -> None:
    labels = np.random.default_rng(1).integers(0, 2, (60, 4))
    write(labels)
    metrics = dict(f1=dict(type="torchmetrics/MultilabelF1Score"))
    config = experiment(tiny, dict(type="MultiLabelHead", num_classes=4), "BCEWithLogitsLoss", metrics, duration=1)
    Runner(config, "run").train()
    done = tool("test", "run/checkpoints/last.pt", "--out", "p.csv")
    assert done.returncode == 0, done.stderr
    rows = [line.split(",") for line in (tmp_path / "p.csv").read_text().splitlines()]
    assert rows[0] == ["set", "index", "name", "label", "prediction", "correct", "p(0)", "p(1)", "p(2)", "p(3)"]
    assert len(rows) == 19
    for row, truth in zip(rows[1:], labels[42:], strict=True):
        said = [str(number) for number in range(4) if float(row[6 + number]) > 0.5]
        assert row[3] == " ".join(str(number) for number in range(4) if truth[number])
        assert row[4] == " ".join(said)
        assert row[5] == str(int(row[3] == row[4]))


def test_two_classes_with_one_output(tiny) -> None:
    write(np.arange(60) % 2)
    metrics = dict(top1=dict(type="Accuracy"))
    config = experiment(
        tiny, dict(type="BinaryHead"), "CrossEntropyLoss", metrics, optimizer=dict(type="AdamW", lr=3e-3)
    )
    assert Runner(config, "run").train()["val/top1"] == 1.0


def test_shares_of_classes(tiny) -> None:
    """Soft labels: cross-entropy takes them, and accuracy counts the largest."""
    labels = np.eye(4, dtype=np.float32)[np.arange(60) % 4] * 0.9 + 0.025
    write(labels)
    head = dict(type="LinearHead", num_classes=4)
    config = experiment(tiny, head, "CrossEntropyLoss", dict(top1=dict(type="Accuracy")))
    config["optimizer"] = dict(type="AdamW", lr=3e-3)
    assert Runner(config, "run").train()["val/top1"] == 1.0


def test_a_quantity(tiny) -> None:
    """Linear regression's loss: how bright one corner is."""
    labels = np.random.default_rng(2).random((90, 1)).astype(np.float32)
    write(labels, train=72)
    config = experiment(tiny, dict(type="LinearHead", num_classes=1), "MSELoss", optimizer=dict(type="AdamW", lr=3e-3))
    measured = Runner(config | dict(duration="10ep"), "run").train()
    assert measured["val/loss"] < 0.25 * labels[72:].var()


@pytest.mark.parametrize(
    ("labels", "head", "loss", "message"),
    [
        (
            np.arange(60) % 4,
            dict(type="LinearHead", num_classes=4),
            "BCEWithLogitsLoss",
            "takes labels (N, classes) of 0 and 1; for class numbers take CrossEntropyLoss, with a BinaryHead if there",
        ),
        (np.arange(60) % 3, dict(type="BinaryHead"), "CrossEntropyLoss", "model.head is a BinaryHead, for two classes"),
        (
            np.arange(60) % 3,
            dict(
                type="StackHead",
                heads=[dict(type="LinearHead", num_classes=9), dict(type="LinearHead", num_classes=4)],
            ),
            "CrossEntropyLoss",
            "model.head.heads.1.num_classes is 4, but the training data has 3 classes (0, 1, 2): set it to 3",
        ),
        (np.zeros((60, 4)) + 2, dict(type="MultiLabelHead", num_classes=4), "BCEWithLogitsLoss", "not 0 to 1"),
        (
            np.zeros((60, 1)),
            dict(type="LinearHead", num_classes=4),
            "MSELoss",
            "each image has 1 labels, but the model",
        ),
        (np.zeros(60), dict(type="LinearHead", num_classes=1), "MSELoss", "expected integers (42,), or (42, classes)"),
    ],
)
def test_what_does_not_fit_is_said_before_training(tiny, labels, head, loss, message: str) -> None:
    write(labels.astype(np.float64) if labels.ndim == 2 or "MSE" in loss else labels)
    with pytest.raises((ConfigError, UserError)) as caught:
        Runner(experiment(tiny, head, loss), "run")
    assert message in str(caught.value)


def test_a_metric_must_count_as_the_head_does(tiny) -> None:
    write(np.random.default_rng(1).integers(0, 2, (60, 4)))
    head = dict(type="MultiLabelHead", num_classes=4)
    config = experiment(tiny, head, "BCEWithLogitsLoss", dict(top1=dict(type="Accuracy")))
    with pytest.raises(UserError, match=r"top1 \(Accuracy\) expects one class .* take torchmetrics/MultilabelF1Score"):
        Runner(config, "run")
    write(np.arange(60) % 4)
    metrics = dict(f1=dict(type="torchmetrics/MultilabelF1Score"))
    config = experiment(tiny, dict(type="LinearHead", num_classes=4), "CrossEntropyLoss", metrics)
    with pytest.raises(UserError, match=r"f1 \(torchmetrics/MultilabelF1Score\) expects several .* take Accuracy"):
        Runner(config, "run")
