from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from knoll.models.heads.cosine import CosineHead
from knoll.registry import ConfigError


def test_logits_are_the_scaled_cosines_of_the_angles() -> None:
    head = CosineHead(3, 2, scale=7.0)
    features = torch.randn(5, 3)
    logits = head(features)
    for image, row in zip(features.tolist(), logits.tolist(), strict=True):
        for weights, logit in zip(head.fc.weight.tolist(), row, strict=True):
            dot = sum(a * b for a, b in zip(image, weights, strict=True))
            assert logit == pytest.approx(7 * dot / (math.hypot(*image) * math.hypot(*weights)), abs=1e-5)


def test_lengths_do_not_matter() -> None:
    head = CosineHead(8, 4)
    features = torch.randn(3, 8)
    logits = head(features)
    torch.testing.assert_close(head(features * torch.tensor([[0.01], [1.0], [300.0]])), logits)
    with torch.no_grad():
        head.fc.weight *= torch.tensor([[0.5], [2.0], [9.0], [0.1]])
    torch.testing.assert_close(head(features), logits)


def test_features_of_nothing_favour_no_class() -> None:
    features = torch.zeros(2, 8, requires_grad=True)
    logits = CosineHead(8, 4)(features)
    assert not logits.any()
    logits.sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()


@pytest.mark.parametrize(("classes", "scale"), [(2, 1.0), (3, 4.0), (10, 10.0)])
def test_the_least_loss_is_that_of_the_paper(classes: int, scale: float) -> None:
    """NormFace, Proposition 2: reached where each feature is its class's weight, and the classes are a simplex."""
    simplex = torch.eye(classes, dtype=torch.float64) - 1 / classes
    head = CosineHead(classes, classes, scale=scale).double()
    head.fc.weight.data = simplex
    loss = nn.functional.cross_entropy(head(simplex), torch.arange(classes))
    assert loss.item() == pytest.approx(math.log(1 + (classes - 1) * math.exp(-scale * classes / (classes - 1))))


def test_the_scale_is_learned_or_not_and_a_state_dict_fits_both() -> None:
    learned, fixed = CosineHead(8, 4, scale=3.0), CosineHead(8, 4, scale=20.0, learn_scale=False)
    for head in (learned, fixed):
        head(torch.randn(2, 8))[:, 0].sum().backward()
    assert learned.scale.grad is not None
    assert fixed.scale.grad is None
    learned.load_state_dict(fixed.state_dict())
    assert learned.scale.item() == 20.0


def test_it_averages_a_feature_map() -> None:
    head = CosineHead(6, 3)
    features = torch.randn(2, 6, 5, 4)
    torch.testing.assert_close(head(features), head(features.sum(dim=(2, 3)) / 20))


def test_defaults_are_those_of_the_published_code() -> None:
    torch.manual_seed(0)
    head = CosineHead(512, 400)
    assert head.scale.item() == 10.0
    assert head.fc.weight.std().item() == pytest.approx(math.sqrt(2 / 512), rel=0.01)
    assert head.fc.bias is None
    assert head.num_classes == 400


@pytest.mark.parametrize("scale", [0.0, -10.0])
def test_a_scale_that_turns_nothing_into_logits(scale: float) -> None:
    with pytest.raises(ConfigError, match=f"scale is {scale}; it must be above 0"):
        CosineHead(6, 3, scale=scale)
