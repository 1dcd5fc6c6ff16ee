"""Computing activations again changes the memory that is needed, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from knoll.models.backbones.cifar_resnet import CIFARResNet
from knoll.models.checkpointing import Checkpointed
from knoll.models.classifier import ImageClassifier

BACKBONES = [
    dict(type="ResNet", depth=18),
    dict(type="ResNet", depth=50, stride_in="1x1"),
    dict(type="CIFARResNet", depth=20),
    dict(type="CIFARResNet", depth=20, shortcut="B"),
]


def train(model: nn.Module, shape: tuple[int, ...], compiled: bool = False) -> tuple[list[float], dict, dict]:
    """Losses, state and the last gradients of two steps, each over two batches."""
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    call = torch.compile(model, backend="aot_eager") if compiled else model
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        for _ in range(2):
            loss = cross_entropy(call(torch.randn(4, *shape)), torch.arange(4))
            loss.backward()
            losses.append(loss.item())
        optimizer.step()
    return losses, model.state_dict(), {key: parameter.grad for key, parameter in model.named_parameters()}


def require_same(plain: tuple[list[float], dict, dict], again: tuple[list[float], dict, dict]) -> None:
    assert plain[0] == again[0]
    for expected, found in zip(plain[1:], again[1:], strict=True):
        assert list(expected) == list(found)
        assert [key for key in expected if not torch.equal(expected[key], found[key])] == []


@pytest.mark.parametrize(
    ("backbone", "compiled"),
    [*((backbone, False) for backbone in BACKBONES), (dict(type="CIFARResNet", depth=14), True)],
    ids=str,
)
def test_training_is_the_same_to_the_bit(backbone: dict[str, Any], compiled: bool) -> None:
    if compiled and torch.__version__.startswith("2.6."):
        pytest.skip("torch 2.6 counts each batch twice when it is compiled, as the docstring says")
    results = []
    for checkpointing in (False, True):
        torch.manual_seed(1)
        model = ImageClassifier(backbone | dict(checkpointing=checkpointing), dict(type="LinearHead", num_classes=10))
        results.append(train(model, (3, 32, 32), compiled))
    require_same(*results)
    counts = [value for key, value in results[1][1].items() if key.endswith("num_batches_tracked")]
    assert {int(value) for value in counts} == {4}


def test_dropout_draws_the_same_numbers_again() -> None:
    def members() -> list[nn.Module]:
        torch.manual_seed(1)
        block = [nn.Linear(5, 5), nn.Dropout(0.5), nn.BatchNorm1d(5, momentum=None)]
        return [nn.Sequential(*block), nn.Linear(5, 4), nn.Dropout(0.5)]

    require_same(train(nn.Sequential(*members()), (5,)), train(Checkpointed(*members()), (5,)))


def bytes_kept(backbone: CIFARResNet) -> int:
    """What the forward pass keeps for the backward pass, without the weights."""
    weights = {parameter.data_ptr() for parameter in backbone.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        features = backbone(torch.randn(2, 3, 32, 32))
    assert features.requires_grad
    return sum(kept.values())


def test_less_is_kept() -> None:
    assert bytes_kept(CIFARResNet(56, checkpointing=True)) < bytes_kept(CIFARResNet(56)) / 3


def test_without_gradients_it_only_computes() -> None:
    torch.manual_seed(0)
    plain, again = CIFARResNet(8), CIFARResNet(8, checkpointing=True)
    again.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(plain(images), again(images))
    assert torch.equal(plain.bn1.running_mean, again.bn1.running_mean)


def test_the_deepest_network_trains_a_step() -> None:
    """Depth 1202 (section 4.2, Table 6)."""
    torch.manual_seed(0)
    model = ImageClassifier(
        dict(type="CIFARResNet", depth=1202, checkpointing=True), dict(type="LinearHead", num_classes=10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    cross_entropy(model(torch.randn(2, 3, 32, 32)), torch.tensor([3, 7])).backward()
    optimizer.step()
    for value, parameter in zip(before, model.parameters(), strict=True):
        assert parameter.isfinite().all()
        assert not torch.equal(value, parameter)
