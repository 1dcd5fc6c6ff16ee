"""Models whose weights are shared out over the processes: trained, saved and continued as whole ones."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from knoll.hooks.hook import Hook
from knoll.registry import BACKBONES, HOOKS, OPTIMIZERS
from knoll.runner import Runner, Trained
from knoll.runner.evaluate import evaluate
from knoll.runner.processes.parallel import blocks
from knoll.runner.saving.checkpoint import load


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


class Interrupt(Hook):
    """In the second process, ends the run in the middle of the third step: by a signal, or by a mistake."""

    def __init__(self, by: str) -> None:
        self.by = by

    def before_iter(self, runner: Runner) -> None:
        if runner.step == 2 and runner.world.rank == 1:
            if self.by == "mistake":
                raise ValueError("a mistake")
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(autouse=True)
def stacked(tiny):
    BACKBONES.register_module(module=Stacked)
    HOOKS.register_module(module=Interrupt)
    tiny["model"] = dict(
        type="ImageClassifier", backbone=dict(type="Stacked"), head=dict(type="LinearHead", num_classes=4)
    )
    tiny["train"] |= dict(drop_last=False)
    tiny["optimizer"] = dict(type="AdamW", lr=0.01)
    tiny["parallel"] = "fsdp"
    yield
    del BACKBONES.module_dict["Stacked"], HOOKS.module_dict["Interrupt"]


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
    first, second = model.blocks
    assert isinstance(first, nn.Sequential)
    inner = first[1]
    assert isinstance(inner, nn.Sequential)
    assert blocks(model) == [second, inner[0], inner, first]
    assert blocks(nn.Sequential(nn.Linear(2, 2), nn.ReLU())) == []


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


@pytest.mark.parametrize(
    "settings",
    [
        dict(clip_norm=0.05),
        dict(clip_norm=None, clip_value=0.002),
        dict(optimizer=dict(type="SAM", base_optimizer=dict(type="SGD", lr=0.01), rho=0.1, adaptive=True)),
        dict(optimizer=dict(type="Lookahead", base_optimizer=dict(type="SGD", lr=0.01), k=2)),
    ],
    ids=["clip_norm", "clip_value", "SAM", "Lookahead"],
)
def test_what_looks_at_gradients_and_weights_sees_the_whole_of_them(tiny, processes, settings):
    tiny |= settings
    tiny["train"]["batch_size"] = 6
    train(tiny, "whole")
    tiny["train"]["batch_size"] = 3
    found = processes(2, train, tiny, "parts")
    assert [each.status for each in found] == [0, 0], found
    assert furthest(load("parts/checkpoints/last.pt"), load("whole/checkpoints/last.pt")) < 1e-6


def test_a_checkpoint_is_a_whole_one_and_continues_to_the_bit(tiny, processes, differences):
    """Written by two processes, read by one as any other; continued by two with what they would have had."""
    tiny["model"]["head"]["dropout"] = 0.2
    tiny["hooks"]["checkpoint"]["keep"] = 99
    found = processes(2, train, tiny, "run")
    resumed = processes(2, train, tiny, "resumed", "run/checkpoints/step_00000004.pt")
    assert [each.status for each in (*found, *resumed)] == [0] * 4, (found, resumed)
    last, again = (load(f"{folder}/checkpoints/last.pt") for folder in ("run", "resumed"))
    parts = ("step", "model", "optimizer", "metrics", "random")
    assert not differences({key: last[key] for key in parts}, {key: again[key] for key in parts})
    moments = [each["exp_avg"] for each in last["optimizer"]["state"].values()]
    assert [each.shape for each in moments] == [each.shape for each in last["model"].values()]

    trained = Trained("run/checkpoints/last.pt")
    loaders = trained.evaluation_loaders()
    assert evaluate(trained.forward, loaders, trained.loss, trained.new_metrics()) == found[0].value[1]


@pytest.mark.parametrize(("by", "status", "steps"), [("signal", 143, [2, 3]), ("mistake", 1, [2])])
def test_a_run_that_is_stopped_is_saved_if_all_know_of_it(tiny, processes, by, status, steps):
    """An error of one process alone leaves the last checkpoint; nobody waits for parts that will not come."""
    tiny["hooks"]["interrupt"] = dict(type="Interrupt", by=by)
    found = processes(2, train, tiny, "run", timeout=40)
    assert [each.status for each in found] == [status] * 2, found
    files = sorted(path.name for path in Path("run/checkpoints").glob("step_*.pt"))
    assert files == [f"step_{step:08d}.pt" for step in steps]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(precision="fp16"), "take precision='bf16'"),
        (dict(memory_format="channels_last"), "memory_format orders whole weights"),
        (dict(compile=True), "compile has not been shown"),
        (dict(clip_norm=None, clip_agc=0.01), "clip_agc measures whole units"),
        (dict(optimizer=dict(type="SGD", lr=0.1, fused=True)), "no fused form for parts of weights"),
        (dict(freeze={"backbone.first": "1ep"}), "freeze can thaw nothing"),
    ],
)
def test_what_does_not_go_together_is_refused(tiny, processes, change, said):
    found = processes(2, train, tiny | change, "run")
    assert [each.status for each in found] == [1, 1]
    assert all(each.value.startswith("ConfigError: parallel='fsdp': ") and said in each.value for each in found)


@pytest.mark.parametrize("name", ["SAM", "Lookahead"])
def test_what_is_around_an_optimizer_continues_to_the_bit(tiny, processes, differences, name):
    base = dict(type="SGD", lr=0.02, momentum=0.9)
    inner = dict(type="Lookahead", base_optimizer=base, k=2)
    tiny["optimizer"] = dict(type="SAM", base_optimizer=inner) if name == "SAM" else inner
    tiny["hooks"]["checkpoint"]["keep"] = 99
    found = processes(2, train, tiny, "run")
    resumed = processes(2, train, tiny, "resumed", "run/checkpoints/step_00000004.pt")
    assert [each.status for each in (*found, *resumed)] == [0] * 4, (found, resumed)
    last, again = (load(f"{folder}/checkpoints/last.pt") for folder in ("run", "resumed"))
    assert "lookahead_slow_buff" in str(last["optimizer"]["state"][0].keys())
    assert [each for part in ("model", "optimizer") for each in differences(last[part], again[part])] == []


def test_an_optimizer_that_takes_no_parts_of_weights_is_told(tiny, processes):
    """timm's Adafactor is one, for some networks: it computes with tensors of its own."""

    class OfItsOwn(torch.optim.SGD):
        def step(self, closure=None):
            for weight in self.param_groups[0]["params"]:
                weight.data.add_(torch.zeros(weight.shape))

    OPTIMIZERS.register_module(module=OfItsOwn)
    tiny["optimizer"] = dict(type="OfItsOwn", lr=0.01)
    found = processes(2, train, tiny, "run")
    del OPTIMIZERS.module_dict["OfItsOwn"]
    assert [each.value.startswith("ConfigError: parallel='fsdp': a part of this run") for each in found] == [True] * 2


@pytest.mark.parametrize("count", [1, 2])
def test_a_hook_that_moves_whole_weights_is_refused_by_any_number_of_processes(tiny, processes, count):
    tiny["hooks"]["back"] = dict(type="Lookahead", start=0)
    found = processes(count, train, tiny, "run")
    assert all("the hook back takes whole weights" in each.value for each in found)


def test_an_average_of_the_weights_is_refused(tiny, processes):
    tiny["hooks"]["ema"] = dict(type="EMA")
    found = processes(2, train, tiny, "run")
    assert all("the hook ema takes whole weights" in each.value for each in found)


def test_what_is_frozen_for_the_whole_run_stays(tiny, processes):
    tiny["freeze"] = ["backbone.first"]
    begun = Runner(tiny, "unused").model.state_dict()
    found = processes(2, train, tiny, "run")
    assert [each.status for each in found] == [0, 0], found
    ended = load("run/checkpoints/last.pt")["model"]
    same = {name for name, value in ended.items() if torch.equal(value, begun[name])}
    assert same == {"backbone.first.weight", "backbone.first.bias"}
