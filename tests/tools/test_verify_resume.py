"""What cannot be resumed exactly is found, in the step and the entry where it first shows; what can is let through."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from torch.utils.data import get_worker_info

from knoll.hooks.hook import Hook
from knoll.models.backbones.lenet import LeNet5
from knoll.registry import BACKBONES, HOOKS, LOSSES, OPTIMIZERS, TRANSFORMS, UserError, config_from_dict, require_valid
from knoll.runner.verification import Report, verify
from knoll.tools.cli import run
from knoll.tools.verify_resume import main


class CountingHook(Hook):
    """Gradients grow with a counter."""

    def __init__(self) -> None:
        self.calls = 0

    def before_update(self, runner) -> None:
        self.calls += 1
        for parameter in runner.model.parameters():
            parameter.grad *= 1 + self.calls / 10


class CountingHookWithState(CountingHook):
    def state_dict(self) -> dict[str, Any]:
        return {"calls": self.calls}

    def load_state_dict(self, state) -> None:
        self.calls = state["calls"]


class ForgetfulHook(CountingHookWithState):
    def load_state_dict(self, state) -> None:
        pass


class EpochHook(CountingHook):
    """Counts epochs by how often one begins: a resumed run begins one twice."""

    def before_update(self, runner) -> None:
        for parameter in runner.model.parameters():
            parameter.grad *= 1 + self.calls / 10

    def before_epoch(self, runner) -> None:
        self.calls += 1


class NoisyNet(LeNet5):
    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, images):
        features = super().forward(images)
        return features + torch.randn(features.shape, generator=self.generator) if self.training else features


class NumpyDropoutNet(LeNet5):
    """Draws from numpy's global generator, whose state is in the checkpoint."""

    def forward(self, images):
        features = super().forward(images)
        kept = torch.from_numpy(np.random.random(tuple(features.shape)) > 0.2)
        return features * kept if self.training else features


class CountingLoss(nn.CrossEntropyLoss):
    calls = 0

    def forward(self, logits, labels):
        if torch.is_grad_enabled() and len(logits) == 4:
            self.calls += 1
        return super().forward(logits, labels) * (1 + self.calls / 10)


class OwnGenerator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = np.random.default_rng(0)

    def forward(self, image):
        return image * float(self.generator.uniform(0.5, 1))


class Clock(nn.Module):
    def forward(self, image):
        return image * (1 + time.perf_counter_ns() % 1000 / 1000)


class ByWorker(nn.Module):
    def forward(self, image):
        info = get_worker_info()
        return image * (0.5 if info is not None and info.id else 1)


class LosingSGD(torch.optim.SGD):
    """Its state is not what it saved."""

    def load_state_dict(self, state_dict) -> None:
        super().load_state_dict(state_dict)
        for each in self.state.values():
            each["momentum_buffer"][0] += 1e-3


REGISTERED = {
    HOOKS: (CountingHook, CountingHookWithState, ForgetfulHook, EpochHook),
    BACKBONES: (NoisyNet, NumpyDropoutNet),
    LOSSES: (CountingLoss,),
    TRANSFORMS: (OwnGenerator, Clock, ByWorker),
    OPTIMIZERS: (LosingSGD,),
}


@pytest.fixture(autouse=True)
def registered():
    for registry, classes in REGISTERED.items():
        for each in classes:
            registry.register_module(module=each)
    yield
    for registry, classes in REGISTERED.items():
        for each in classes:
            del registry.module_dict[each.__name__]


def change(config: dict[str, Any], fault: str) -> None:
    """Put a class of those above into an experiment."""
    if "Hook" in fault:
        config["hooks"]["mine"] = dict(type=fault)
    elif "Net" in fault:
        config["model"]["backbone"] = dict(type=fault)
    elif "Loss" in fault:
        config["loss"] = dict(type=fault)
    elif "SGD" in fault:
        config["optimizer"]["type"] = fault
    else:
        config["train"]["transforms"].append(dict(type=fault))


def verified(config: dict[str, Any], **options: Any) -> Report:
    report = verify(config_from_dict(config), **options)
    assert not Path("runs").exists()
    return report


PLUGIN = '''
from knoll.hooks.hook import Hook
from knoll.registry import HOOKS

@HOOKS.register_module()
class KeptInTheClass(Hook):
    """Keeps in its class what it measured first."""
    scale = None
    def before_update(self, runner):
        kind = type(self)
        kind.scale = kind.scale or float(runner.batches[0].images.mean())
        for parameter in runner.model.parameters():
            parameter.grad *= kind.scale
'''

# The fault, the stop, the step after it in which it shows, the entry, and what is told of what the checkpoint lacks.
# An epoch has 4 steps, of 10 batches: three take three of them.
FAULTS = [
    ("CountingHook", 3, 4, r"model\.\S+", "hooks.mine.calls: 3 before the stop, 0 after"),
    ("EpochHook", 6, 7, r"model\.\S+", "hooks.mine.calls: 2 before the stop, 0 after"),
    ("NoisyNet", 4, 5, r"logits 0", "model.backbone.generator (a generator)"),
    ("CountingLoss", 4, 5, r"value of the loss", "loss.calls: 10 before the stop, 0 after"),
    ("OwnGenerator", 5, 6, r"batch 0: images", "train.transforms: OwnGenerator.generator (a generator)"),
]


@pytest.mark.row(13)
@pytest.mark.parametrize(("fault", "stop", "step", "entry", "kept"), FAULTS, ids=lambda value: str(value)[:14])
def test_what_the_checkpoint_does_not_hold_is_found_and_named(tiny, fault, stop, step, entry, kept, figure):
    change(tiny, fault)
    report = verified(tiny, stops=[stop])
    assert not report.is_equal
    first, *rest = report.explanation
    assert re.match(
        rf"step {step}: {entry} first differs there: [\d,]+ of [\d,]+ numbers differ, the largest by", first
    )
    assert f"  {kept}" in rest
    figure(f"verify_resume finds {fault}: {first.partition(' there')[0]}; named: {kept}")


def test_how_much_it_differs_is_what_was_made_to_differ(tiny):
    """The first row of every momentum is moved by 1e-3: of conv1, LeNet's 6 filters of 5x5, that is 25 of 150."""
    change(tiny, "LosingSGD")
    [first, _] = verified(tiny, stops=[3]).explanation
    found = re.match(
        r"resumed after step 3: optimizer\.state\.0\.momentum_buffer was not restored: "
        r"25 of 150 numbers differ, the largest by 0\.001\. So do (\d+) other entries\.$",
        first,
    )
    assert found, first
    assert int(found[1]) == 9  # LeNet's five layers have a weight and a bias each


def test_what_is_saved_and_not_loaded_was_not_restored(tiny):
    change(tiny, "ForgetfulHook")
    [first, _] = verified(tiny, stops=[3]).explanation
    assert first == "resumed after step 3: hooks.mine.calls was not restored: 0, without the interruption 3."


def test_an_experiment_that_does_not_repeat_itself_is_told_from_one_that_cannot_be_resumed(tiny):
    change(tiny, "Clock")
    report = verified(tiny)
    assert report.explanation[0].startswith("step 1: batch 0: images differs between two uninterrupted runs")


@pytest.mark.row(15)
def test_what_depends_on_the_worker_is_found(tiny, figure):
    """Nine batches are read before the stop: the tenth would be the second worker's, and is now the first's."""
    change(tiny, "ByWorker")
    assert verified(tiny, stops=[3], steps=4).is_equal
    tiny["train"]["num_workers"] = 2
    report = verified(tiny, stops=[3], steps=4)
    assert report.explanation[0].startswith("step 4: batch 0: images first differs there")
    figure(f"verify_resume finds what depends on the worker: {report.explanation[0].partition(' there')[0]}")


@pytest.mark.row(12)
@pytest.mark.parametrize("right", ["CountingHookWithState", "NumpyDropoutNet"])
def test_what_is_restored_is_let_through(tiny, right, figure):
    """Interrupted after the first and the last step of an epoch and twice between."""
    change(tiny, right)
    report = verified(tiny, stops=[1, 2, 4, 5], workers=0)
    assert report.explanation == []
    assert [(part.first, part.last) for part in report.parts] == [(1, 1), (2, 2), (3, 4), (5, 5), (6, 8)]
    figure(f"{right}: stopped {len(report.stops)} times, {sum(each.entries for each in report.parts)} entries equal")


def test_nothing_is_compared_with_itself(tiny):
    """A resumed part compares what was loaded, and three times each of its steps."""
    half = verified(tiny, steps=4, stops=[3]).parts
    assert half[1].entries > half[0].entries / 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(stops=[8]), "--at 8: a run of 8 steps is stopped after one of the steps 1 to 7"),
        (dict(stops=[0]), "--at 0: "),
        (dict(steps=1), "--steps 1: at least 2"),
    ],
)
def test_a_stop_that_is_none_is_refused(tiny, options, said):
    with pytest.raises(UserError, match=re.escape(said)):
        verified(tiny, **options)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.row(13)
def test_a_process_that_is_killed_keeps_nothing(tiny, working_directory, figure):
    """What a class keeps is there again in the same process, and only there."""
    (working_directory / "plugins").mkdir()
    (working_directory / "plugins/kept.py").write_text(PLUGIN)
    tiny["hooks"]["mine"] = dict(type="KeptInTheClass")
    tiny["plugins"] = ["plugins"]
    require_valid(config_from_dict(tiny))  # imports it
    try:
        assert verified(tiny, steps=2).is_equal
        report = verified(tiny, steps=2, workers=1, kill=True)
    finally:
        del HOOKS.module_dict["KeptInTheClass"]
    first, *rest = report.explanation
    assert re.match(r"step 2: model\.\S+ first differs there: [\d,]+ of [\d,]+ numbers", first)
    assert re.match(r"  hooks\.mine\.scale: 0\.\d+ before the stop, None after$", rest[-1])
    figure(f"killed by SIGKILL, verify_resume finds what a class keeps: {first.partition(' there')[0]}")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--at", "1", "--steps", "2"], 0, "equal: stopped after step 1 and resumed"),
        (["hooks.mine.type=ForgetfulHook"], 1, "resumed after step 4: hooks.mine.calls was not restored: 0"),
        (["optimizer.rl=0.1"], 2, "optimizer.rl"),
        (["--at", "8"], 2, "--at 8: a run of 8 steps"),
    ],
)
def test_its_exit_status_says_what_came_out(tiny, working_directory, capsys, words, status, said):
    (working_directory / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    assert run(main, ["tiny.yaml", *words]) == status
    assert said in "".join(capsys.readouterr())
    assert sorted(file.name for file in working_directory.iterdir()) == ["arrays.npz", "tiny.yaml"]
