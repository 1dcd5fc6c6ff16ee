from __future__ import annotations

import pytest
import torch

from knoll.models.heads.linear import LinearHead
from knoll.models.heads.multi_label import MultiLabelHead
from knoll.registry import LOSSES, ConfigError

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [-3.0, 0.0, 1.0]])
LABELS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])


def test_it_computes_what_a_linear_head_does_and_says_that_it_is_multi_label() -> None:
    head, linear = MultiLabelHead(6, 3), LinearHead(6, 3)
    linear.load_state_dict(head.state_dict())
    features = torch.randn(2, 6, 5, 4)
    assert torch.equal(head(features), linear(features))
    assert (head.num_classes, head.multi_label) == (3, True)
    assert not hasattr(linear, "multi_label")


@pytest.mark.parametrize("prior", [0.01, 0.5, 0.9])
def test_the_prior_is_the_probability_of_a_label_where_there_are_no_features(prior: float) -> None:
    probabilities = MultiLabelHead(6, 4, prior=prior)(torch.zeros(2, 6)).sigmoid()
    torch.testing.assert_close(probabilities, torch.full((2, 4), prior))


def test_the_prior_of_the_paper() -> None:
    """Lin et al. 2017, section 4.1: b = -log((1 - 0.01) / 0.01) = -log 99 = -4.595."""
    assert MultiLabelHead(6, 4, prior=0.01).fc.bias.tolist() == pytest.approx([-4.59512] * 4)


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, 3.0])
def test_a_prior_that_is_no_probability(prior: float) -> None:
    with pytest.raises(ConfigError, match=f"prior is {prior}; a probability lies between 0 and 1"):
        MultiLabelHead(6, 4, prior=prior)


def cross_entropies() -> torch.Tensor:
    p = 1 / (1 + torch.exp(-LOGITS))
    return -LABELS * torch.log(p) - (1 - LABELS) * torch.log(1 - p)


@pytest.mark.parametrize("name", ["BCEWithLogitsLoss", "MultiLabelSoftMarginLoss"])
def test_losses_of_torch_are_the_mean_of_the_binary_cross_entropies(name: str) -> None:
    torch.testing.assert_close(LOSSES.build(dict(type=name))(LOGITS, LABELS), cross_entropies().mean())


def test_the_asymmetric_loss_of_timm_is_a_mean_over_images() -> None:
    """Without focusing and clipping it is binary cross-entropy, summed over labels (Ridnik et al. 2021, eq. 1 to 3)."""
    plain = dict(gamma_neg=0, gamma_pos=0, clip=0)
    loss = LOSSES.build(dict(type="timm/AsymmetricLossMultiLabel", **plain))
    torch.testing.assert_close(loss(LOGITS, LABELS), cross_entropies().sum(1).mean())
