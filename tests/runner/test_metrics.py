"""What each kind of metric is given, and what it then says."""

from __future__ import annotations

import inspect
import math

import pytest
import torch
from torchmetrics import classification

from knoll.registry import METRICS, UserError, check, config_from_dict
from knoll.runner.metrics import MetricSet, measures

LOGITS = torch.tensor([[3.0, 0.1, -1.0], [0.2, 0.1, 0.4], [-2.0, 0.9, 0.3], [1.0, -0.5, 2.0]])


def measure(logits: torch.Tensor, labels: torch.Tensor, **metric) -> float:
    metrics = MetricSet(dict(it=metric), logits.shape[1])
    for logit, label in zip(logits.split(1), labels.split(1), strict=True):
        metrics.update(logit, label)
    return metrics.compute()["it"]


def test_class_numbers_and_shares_of_classes_give_the_same():
    numbers = torch.tensor([0, 1, 1, 0])
    shares = torch.nn.functional.one_hot(numbers, 3) * 0.7 + 0.1
    for labels in (numbers, shares):
        assert measure(LOGITS, labels, type="Accuracy") == 0.5
        assert measure(LOGITS, labels, type="torchmetrics/MulticlassAccuracy", average="micro") == 0.5


def test_multi_hot_labels_are_held_against_sigmoids_of_a_half():
    """A logit of 0.1 is a yes, also where all logits could be probabilities: torchmetrics would take them for it."""
    labels = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    right = torch.tensor([[1, 1, 1], [1, 0, 1], [1, 1, 1], [1, 1, 0]])  # yes where LOGITS > 0
    options = dict(type="torchmetrics/MultilabelAccuracy", average="micro")
    assert measure(LOGITS, labels, **options) == pytest.approx(right.float().mean().item())
    # F1 = 2 TP / (2 TP + FP + FN) of each label: 6/6, 4/5, 4/5
    assert measure(LOGITS, labels, type="torchmetrics/MultilabelF1Score") == pytest.approx((1 + 4 / 5 + 4 / 5) / 3)


def test_soft_multi_hot_labels_count_from_a_half():
    labels = torch.tensor([[0.6, 0.9, 0.4], [1.0, 0.0, 0.7]])
    assert measure(LOGITS[:2], labels, type="torchmetrics/MultilabelExactMatch") == 0.5


def test_two_classes_as_two_logits_or_as_one():
    z = torch.tensor([-1.0, 0.5, 2.0, 0.1])
    numbers = torch.tensor([0, 1, 0, 1])
    pairs = torch.stack([torch.zeros(4), z], 1)
    for name, expected in (("BinaryAccuracy", 3 / 4), ("BinaryAUROC", 1 / 2), ("BinaryF1Score", 4 / 5)):
        assert measure(pairs, numbers, type=f"torchmetrics/{name}") == pytest.approx(expected)
        assert measure(z[:, None], numbers[:, None].float(), type=f"torchmetrics/{name}") == pytest.approx(expected)


def test_measured_values():
    outputs, labels = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[1.5], [2.0], [3.0]])
    assert measure(outputs, labels, type="torchmetrics/MeanAbsoluteError") == pytest.approx(0.5)
    assert measure(outputs, labels, type="torchmetrics/MeanSquaredError", squared=False) == pytest.approx(
        math.sqrt(1.25 / 3)
    )
    x, y = outputs[:, 0] - outputs.mean(), labels[:, 0] - labels.mean()
    pearson = (x * y).sum() / (x.norm() * y.norm())
    assert measure(outputs, labels, type="torchmetrics/PearsonCorrCoef") == pytest.approx(pearson.item(), rel=1e-5)
    both = torch.cat([outputs, labels], 1)
    assert measure(both, both + 2, type="torchmetrics/MeanAbsoluteError") == pytest.approx(2)


def test_every_multi_label_metric_of_torchmetrics_is_known_for_one():
    needs = dict(beta=1.0, min_precision=0.5, min_recall=0.5, min_sensitivity=0.5, min_specificity=0.5)
    names = [name for name in vars(classification) if name.startswith("Multilabel")]
    assert len(names) > 20
    for name in names:
        config = dict(type=f"torchmetrics/{name}")
        missing = needs.keys() & inspect.signature(getattr(classification, name)).parameters
        config |= {key: needs[key] for key in missing if name != "MultilabelF1Score"}  # its beta is 1
        assert measures(METRICS.build(config, default_args=dict(num_classes=3, num_labels=3))) == "labels"


def test_the_number_of_labels_is_not_to_be_given(tiny):
    tiny["metrics"] = dict(f1=dict(type="torchmetrics/MultilabelF1Score", num_labels=4))
    problems = check(config_from_dict(tiny))
    assert ("metrics", "f1", "num_labels") in [each.path for each in problems if "filled in by Knoll" in each.message]


@pytest.mark.parametrize(
    ("name", "logits", "labels", "message"),
    [
        ("MultilabelF1Score", LOGITS, torch.tensor([0, 1, 1, 0]), "compares multi-hot labels"),
        ("MeanSquaredError", LOGITS, torch.tensor([0, 1, 1, 0]), "compares measured values"),
        ("BinaryF1Score", LOGITS, torch.tensor([0, 1, 1, 0]), "is for two classes; the model tells 3 apart"),
    ],
)
def test_labels_that_a_metric_cannot_compare(name, logits, labels, message):
    with pytest.raises(UserError, match=rf"the metric it \({name}\) {message}"):
        measure(logits, labels, type=f"torchmetrics/{name}")
