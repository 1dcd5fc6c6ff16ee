"""Optimizers, schedules and losses of torch and timm by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from knoll.registry import LOSSES, OPTIMIZERS, SCHEDULERS, ConfigError

CLASSES = [
    name
    for name, thing in vars(torch.optim).items()
    if isinstance(thing, type) and issubclass(thing, torch.optim.Optimizer) and name != "Optimizer"
]


def weights():
    return [nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))]


@pytest.mark.parametrize("name", CLASSES)
def test_every_optimizer_of_torch(name):
    built = OPTIMIZERS.build(dict(type=name, lr=0.1), default_args=dict(params=weights()))
    assert type(built) is getattr(torch.optim, name)
    assert built.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("name", ["lamb", "lars", "adan", "lion", "muon"])
def test_optimizers_of_timm_take_a_step(name):
    parameters = weights()
    built = OPTIMIZERS.build(dict(type=f"timm/{name}", lr=0.1), default_args=dict(params=parameters))
    before = parameters[0].detach().clone()
    (parameters[0] ** 2).sum().backward()
    built.step()
    assert not torch.equal(parameters[0], before)


def test_a_misspelt_argument_of_timms_is_caught_by_its_own_signature():
    with pytest.raises(ConfigError, match=r"trust_clp: unknown key. Did you mean `trust_clip`"):
        OPTIMIZERS.build(dict(type="timm/lamb", trust_clp=True), default_args=dict(params=weights()))


def test_every_schedule_of_torch_is_there():
    from torch.optim import lr_scheduler

    names = {
        n for n, t in vars(lr_scheduler).items() if isinstance(t, type) and issubclass(t, lr_scheduler.LRScheduler)
    }
    assert names - {"LRScheduler", "_LRScheduler"} == set(SCHEDULERS.list())


def test_losses_of_torch_take_plain_values():
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    built = LOSSES.build(dict(type="CrossEntropyLoss", weight=[1.0, 3.0], label_smoothing=0.1))
    expected = nn.functional.cross_entropy(logits, labels, torch.tensor([1.0, 3.0]), label_smoothing=0.1)
    assert torch.equal(built(logits, labels), expected)
    names = {name for name in vars(nn) if name.endswith("Loss")}
    assert names == set(LOSSES.list())


def test_losses_of_timm():
    from timm.loss import LabelSmoothingCrossEntropy

    assert isinstance(
        LOSSES.build(dict(type="timm/LabelSmoothingCrossEntropy", smoothing=0.2)), LabelSmoothingCrossEntropy
    )
    assert "timm/SoftTargetCrossEntropy" in LOSSES.list(sources=True)
