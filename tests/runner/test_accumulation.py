"""Accumulated gradients are those of one large batch, to the rounding of double precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from knoll.datasets.loading.loader import Batch
from knoll.models.outputs import Outputs
from knoll.registry import BACKBONES
from knoll.runner.step.forward import Forward
from knoll.runner.step.update import Update

NETWORKS = [
    (dict(type="LeNet5"), (1, 28, 28)),
    (dict(type="Tudui"), (3, 32, 32)),
    (dict(type="timm/convnext_atto"), (3, 32, 32)),  # layer norm
    (dict(type="timm/test_vit"), (3, 160, 160)),  # attention
    (dict(type="timm/resnetv2_50d_gn", layers=[1, 1, 1, 1]), (3, 32, 32)),  # group norm
]


class Double(Forward):
    """As it is, without the float32 that losses are computed in."""

    def outputs(self, images: Tensor) -> Outputs:
        return Outputs(self.model(images))


@pytest.mark.parametrize(("config", "shape"), NETWORKS, ids=str)
@pytest.mark.parametrize("sizes", [(4, 4), (3, 3, 1)], ids=str)
def test_it_is_the_gradient_of_all_images(config: dict[str, Any], shape: tuple[int, ...], sizes: tuple[int, ...]):
    torch.manual_seed(0)
    backbone = BACKBONES.build(config)
    model = nn.Sequential(backbone, nn.Flatten(), nn.LazyLinear(5))
    model(torch.zeros(1, *shape))
    model.double()
    images, labels = torch.randn(sum(sizes), *shape, dtype=torch.float64), torch.arange(sum(sizes)) % 5
    parts = images.split(sizes), labels.split(sizes), labels.split(sizes)
    batches = [Batch(*each) for each in zip(*parts, strict=True)]
    update = Update(Double(model), nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.1))
    loss, _ = update.backward(batches)
    found = [parameter.grad for parameter in model.parameters()]

    whole = cross_entropy(model(images), labels)
    assert loss.item() == pytest.approx(whole.item(), rel=1e-13)
    for gradient, expected in zip(found, torch.autograd.grad(whole, list(model.parameters())), strict=True):
        assert gradient is not None
        assert (gradient - expected).norm() <= 1e-12 * expected.norm() + 1e-15
