"""Batch normalisation over the images of all processes: torch's own, on CUDA alone; here what is put in its place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from knoll.registry import MODELS, make_experiment
from knoll.runner import Runner
from knoll.runner.processes.distributed import World
from knoll.runner.processes.parallel import prepare


def build(config: dict[str, Any]) -> None:
    Runner(config | dict(sync_batchnorm=True), "run")


def test_it_is_refused_on_the_cpu(tiny, processes):
    found = processes(2, build, tiny)
    assert [each.status for each in found] == [1, 1]
    assert "ConfigError: sync_batchnorm: torch synchronises batch normalisation on CUDA only" in found[0].value


def test_one_process_has_nothing_to_synchronise(tiny, capsys):
    build(tiny)
    assert "sync_batchnorm changes nothing in one process" in capsys.readouterr().out
    Runner(tiny, "run")
    assert "sync_batchnorm" not in capsys.readouterr().out


@pytest.mark.parametrize("backbone", [dict(type="CIFARResNet", depth=8), dict(type="timm/regnetx_002")])
def test_what_is_put_in_its_place_keeps_names_weights_and_activations(tiny, monkeypatch, backbone):
    """As two processes on CUDA would build it; in evaluation it needs no CUDA. timm's layers have their ReLU within."""
    monkeypatch.setattr(World, "own_device", lambda self, wanted: torch.device("cuda"))
    tiny["model"]["backbone"] = backbone
    tiny["sync_batchnorm"] = True
    model = MODELS.build(tiny["model"]).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    state, parameters, logits = model.state_dict(), list(model.parameters()), model(images)
    count = sum(isinstance(each, nn.BatchNorm2d) for each in model.modules())
    runner: Any = SimpleNamespace(
        experiment=make_experiment(tiny), world=World(0, 2), hooks=SimpleNamespace(by_name={}), model=model
    )
    converted = prepare(runner)
    assert sum(isinstance(each, nn.SyncBatchNorm) for each in converted.modules()) == count > 0
    assert not any(isinstance(each, nn.BatchNorm2d) for each in converted.modules())
    assert list(converted.state_dict()) == list(state)
    assert all(first is second for first, second in zip(converted.parameters(), parameters, strict=True))
    assert torch.equal(converted(images), logits)
