"""What a config adds to training, in several processes: an average of the weights, and autocast."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from knoll.runner import Runner
from knoll.runner.saving.checkpoint import load


def train(config: dict[str, Any], folder: str) -> dict[str, float]:
    return Runner(config, folder).train()


@pytest.fixture
def plain(tiny) -> dict[str, Any]:
    tiny["model"]["head"]["dropout"] = 0.0
    tiny["train"] |= dict(drop_last=False, batch_size=6)
    return tiny | dict(duration="2ep")


# How far sums in another order may lead apart: a rounding of the weights, or of half-precision activations.
CLOSE = {"fp32": 1e-6, "bf16": 2e-3, "fp16": 5e-4}


@pytest.mark.parametrize("precision", CLOSE)
def test_averages_of_the_weights_are_those_of_one_process(plain, processes, precision):
    plain["precision"] = precision
    plain["hooks"]["ema"] = dict(type="EMA", decay=0.9)
    whole = train(plain, "whole")
    plain["train"]["batch_size"] = 3
    found = processes(2, train, plain, "parts")
    assert [each.status for each in found] == [0, 0], found
    assert found[0].value == found[1].value
    assert found[0].value.keys() == whole.keys() >= {"val/top1", "val_ema/top1"}
    one, several = (load(f"{folder}/checkpoints/last.pt") for folder in ("whole", "parts"))
    assert furthest(one["model"], several["model"]) < CLOSE[precision]
    assert furthest(one["hooks"]["ema"]["model"], several["hooks"]["ema"]["model"]) < CLOSE[precision]


def furthest(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    return max(float((first[name] - second[name]).abs().max()) for name in first)
