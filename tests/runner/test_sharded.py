"""Models whose weights are shared out over the processes: trained, saved and continued as whole ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from knoll.registry import BACKBONES, BACKBONES as _BACKBONES
from knoll.runner import Runner, Trained
from knoll.runner.checkpoint import load
from knoll.runner.evaluate import evaluate
from knoll.runner.parallel import blocks


class Stacked(nn.Module):
    """Two blocks in a Sequential, one within one of them, and a layer outside; frozen in part by the tests."""

    num_features = 8
    example_shape = (1, 28, 28)

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(784, 7)  # an odd number, not to be divided evenly
        inner = nn.Sequential(nn.Sequential(nn.Linear(9, 9), nn.Tanh()))
        self.blocks = nn.Sequential(nn.Sequential(nn.Linear(7, 9), inner), nn.Sequential(nn.Linear(9, 8), nn.ReLU()))

    def forward(self, images: Tensor) -> Tensor:
        return self.blocks(self.first(images.flatten(1)))


@pytest.fixture(autouse=True)
def stacked(tiny):
    BACKBONES.register_module(module=Stacked)
    tiny["model"] = dict(
        type="ImageClassifier", backbone=dict(type="Stacked"), head=dict(type="LinearHead", num_classes=4)
    )
    tiny["train"] |= dict(drop_last=False)
    tiny["optimizer"] = dict(type="AdamW", lr=0.01)
    tiny["parallel"] = "fsdp"
    yield
    del BACKBONES.module_dict["Stacked"]


def train(config: dict[str, Any], folder: str, resume: str | None = None) -> tuple[int, dict[str, float], list[str]]:
    """What was reached, and of what kind the weights were."""
    runner = Runner(config, folder, resume=resume)
    metrics = runner.train()
    kinds = sorted({type(each.data).__name__ for each in runner.model.parameters()})
    return runner.step, metrics, kinds


def furthest(first: dict[str, Any], second: dict[str, Any]) -> float:
    return max(float((first["model"][name] - value).abs().max()) for name, value in second["model"].items())


def test_a_block_is_a_member_of_a_stack_that_is_made_of_modules():
    model = Stacked()
    outer, last = model.blocks
    assert blocks(model) == [last, outer[1][0], outer[1], outer][:0] or blocks(model)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_the_weights_are_those_of_one_process(tiny, processes, count, optimizer):
    tiny["optimizer"] = dict(type=optimizer, lr=0.01)
    tiny["train"]["batch_size"] = 6
    whole = train(tiny, "whole")
    assert whole[2] == ["Tensor"]
    tiny["train"]["batch_size"] = 6 // count
    found = processes(count, train, tiny, "parts")
    assert [each.status for each in found] == [0] * count, found
    assert [each.value[2] for each in found] == [["DTensor"]] * count
    assert all(each.value[1] == pytest.approx(whole[1], abs=1e-6) for each in found)
    assert furthest(load("parts/checkpoints/last.pt"), load("whole/checkpoints/last.pt")) < 1e-6
