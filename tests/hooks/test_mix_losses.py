"""Labels that are mixed, through every loss there is: taken for what they are, or refused before the run."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from knoll.registry import LOSSES, UserError
from knoll.runner import Runner


def softmax_with_shares(logits: Tensor, labels: Tensor) -> Tensor:
    return -(labels * log_softmax(logits, 1)).sum(1).mean()


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (dict(type="CrossEntropyLoss"), softmax_with_shares),
        (
            dict(type="CrossEntropyLoss", label_smoothing=0.1),
            lambda logits, labels: softmax_with_shares(logits, 0.9 * labels + 0.1 / 4),
        ),
        (dict(type="timm/SoftTargetCrossEntropy"), softmax_with_shares),
        (dict(type="timm/BinaryCrossEntropy"), binary_cross_entropy_with_logits),  # its smoothing is for numbers alone
    ],
)
def test_soft_labels_through_a_loss(tiny, loss, expected):
    """Of one step by the definition of the loss; evaluation is left out, for one of them takes rows alone."""
    tiny["hooks"] = dict(mix=dict(type="Mix", mixup=1.0))
    tiny |= dict(loss=loss, evaluation={}, metrics={}, accumulate=1, duration=1)
    runner = Runner(tiny, "run")
    runner.train()
    assert bool((runner.batches[0].labels.max(1).values < 1).any())
    torch.testing.assert_close(runner.loss, expected(runner.logits[0], runner.batches[0].labels))


ROWS_ONLY = ["timm/SoftTargetCrossEntropy", "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"]
BOTH = ["CrossEntropyLoss", "timm/BinaryCrossEntropy"]
NUMBERS_ONLY = ["NLLLoss", "MultiMarginLoss", "timm/LabelSmoothingCrossEntropy"]


def takes_rows(name: str) -> bool | None:
    """Whether a loss gives a number for rows of shares; None if it cannot be built without arguments."""
    try:
        loss = LOSSES.build(dict(type=name))
    except Exception:
        return None
    try:
        return loss(torch.randn(6, 4), torch.rand(6, 4).softmax(1)).ndim == 0
    except Exception:
        return False


def test_what_is_known_of_some() -> None:
    assert all(takes_rows(name) for name in ROWS_ONLY + BOTH)
    assert not any(takes_rows(name) for name in NUMBERS_ONLY)


@pytest.mark.parametrize("name", [name for name in LOSSES.list(sources=True) if takes_rows(name) is not None])
def test_every_loss_takes_mixed_labels_or_is_refused_before_the_run(tiny, name):
    tiny["hooks"] = dict(mix=dict(type="Mix"))
    tiny |= dict(loss=dict(type=name), evaluation={}, metrics={}, duration=1)
    try:
        runner = Runner(tiny, "run")
    except UserError as error:
        said = str(error)
    else:
        said = ""
        assert runner.train() == {}
        assert runner.loss.isfinite()
    if "MultiLabel" in name or name == "BCEWithLogitsLoss":  # class numbers, as this set has, are not for them
        assert "ask for a yes or no to each class" in said
    elif takes_rows(name):
        assert said == ""
    else:
        assert "CrossEntropyLoss, which takes both" in said
        assert f"the loss {name.rpartition('/')[2]} does not take logits (5, 4) and labels (5, 4)" in said
