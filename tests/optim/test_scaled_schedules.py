"""Schedules for another batch: every rate is the factor times what it was, those that the config states included."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from knoll.optim.schedules import RATES, build_scheduler
from knoll.registry import SCHEDULERS
from knoll.registry.signature import parameters

SCHEDULES = [
    dict(type="ConstantLR"),
    dict(type="CosineAnnealingLR", T_max=12, eta_min=0.01),
    dict(type="CosineAnnealingWarmRestarts", T_0=5, eta_min=0.01),
    dict(type="CyclicLR", base_lr=0.01, max_lr=0.2, step_size_up=4),
    dict(type="CyclicLR", base_lr=[0.01, 0.02], max_lr=[0.2, 0.3], step_size_up=4),
    dict(type="ExponentialLR", gamma=0.9),
    dict(type="LinearLR"),
    dict(type="MultiStepLR", milestones=[3, 6]),
    dict(type="OneCycleLR", max_lr=0.3, total_steps=14),
    dict(type="PolynomialLR", total_iters=12),
    dict(type="StepLR", step_size=4),
    dict(
        type="SequentialLR",
        milestones=[6],
        schedulers=[dict(type="LinearLR"), dict(type="CosineAnnealingLR", T_max=6, eta_min=0.02)],
    ),
    dict(type="ChainedScheduler", schedulers=[dict(type="CosineAnnealingLR", T_max=6, eta_min=0.02)]),
    dict(type="ReduceLROnPlateau", patience=0, factor=0.1, min_lr=0.004),
    dict(type="ReduceLROnPlateau", patience=0, factor=0.1, min_lr=[0.004, 0.002]),
    dict(type="timm/CosineLRScheduler", t_initial=12, lr_min=0.01, warmup_t=3, warmup_lr_init=0.001),
    dict(type="timm/MultiStepLRScheduler", decay_t=[4, 6], warmup_t=3, warmup_lr_init=0.001),
    dict(type="timm/PolyLRScheduler", t_initial=12, lr_min=0.01, warmup_t=3, warmup_lr_init=0.001),
    dict(type="timm/StepLRScheduler", decay_t=4, warmup_t=3, warmup_lr_init=0.001),
    dict(type="timm/TanhLRScheduler", t_initial=12, lr_min=0.01, warmup_t=3, warmup_lr_init=0.001),
]


def rates(config: dict[str, Any], factor: float) -> list[list[float]]:
    groups = [dict(params=[nn.Parameter(torch.ones(2))], lr=lr * factor) for lr in (0.1, 0.05)]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    schedule = build_scheduler(config, optimizer, int, factor)
    seen = []
    for step in range(12):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        if config["type"] == "ReduceLROnPlateau":
            schedule.step(1.0)
        elif config["type"].startswith("timm/"):
            schedule.step(step + 1)
        else:
            schedule.step()
    return seen


@pytest.mark.parametrize("config", SCHEDULES, ids=lambda config: config["type"])
def test_every_rate_is_scaled(config):
    before, after = rates(config, 1.0), rates(config, 0.25)
    assert len({rate for rate, _ in before}) > 1
    for was, becomes in zip(before, after, strict=True):
        assert becomes == pytest.approx([0.25 * rate for rate in was], rel=1e-9)


def test_every_argument_that_is_a_rate_is_known():
    known = {key for name in SCHEDULERS.list(sources=True) for key in parameters(SCHEDULERS.require(name)).annotations}
    no_rates = {"lr_lambda"}  # a function of the step, which no config holds
    assert {key for key in known if "lr" in key.split("_")} - no_rates <= set(RATES)
    assert set(RATES) <= known
