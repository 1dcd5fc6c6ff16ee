"""An interrupted run ends with the bits of an uninterrupted one."""

from __future__ import annotations

import copy
import signal

import numpy as np
import pytest
import torch
import yaml

from knoll.registry import UserError
from knoll.runner import Runner
from knoll.runner.saving.checkpoint import load, save
from knoll.runner.saving.resume import find_checkpoint

KILLER = '''
import os, signal
from knoll.hooks.hook import Hook
from knoll.registry import HOOKS

@HOOKS.register_module()
class KillAt(Hook):
    """Kills the process, as the out-of-memory killer would, before a step."""
    only_records = True
    def __init__(self, step: int) -> None:
        self.step = step
    def before_iter(self, runner) -> None:
        if runner.step == self.step:
            runner.saver.wait()  # to know which step was saved last; kills while it writes have a test of their own
            os.kill(os.getpid(), signal.SIGKILL)
'''


@pytest.fixture
def write_config(tiny, working_directory):
    (working_directory / "plugins").mkdir()
    (working_directory / "plugins/killer.py").write_text(KILLER)
    (working_directory / "tiny.yaml").write_text(yaml.safe_dump(tiny | dict(plugins=["plugins"])))


@pytest.mark.row(11)
@pytest.mark.slow
@pytest.mark.usefixtures("write_config")
def test_killed_and_resumed_by_the_command_line_equals_uninterrupted(tool, working_directory, fingerprint):
    """12 steps of 4 an epoch, saved every 2; killed in mid-epoch, one step after a checkpoint was begun."""
    whole = tool("train", "tiny.yaml", "--work-dir", "whole")
    assert whole.returncode == 0, whole.stderr
    killed = tool(
        "train",
        "tiny.yaml",
        "hooks.kill.type=KillAt",
        "hooks.kill.step=7",
        "train.num_workers=2",
        "--work-dir",
        "run",
    )
    assert killed.returncode == -signal.SIGKILL
    saved = load(working_directory / "run/checkpoints/last.pt")["step"]
    assert saved in (4, 6)
    resumed = tool("train", "tiny.yaml", "--work-dir", "run", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert f"step {saved} of 12" in resumed.stdout
    last = "checkpoints/last.pt"
    assert fingerprint(working_directory / "run" / last) == fingerprint(working_directory / "whole" / last)
    whole_state, run_state = load(working_directory / "whole" / last), load(working_directory / "run" / last)
    assert run_state["metrics"] == whole_state["metrics"]
    assert torch.equal(run_state["random"]["torch"], whole_state["random"]["torch"])


def test_the_best_checkpoint_is_named_again_if_the_run_was_killed_before_it_was(tiny, working_directory):
    runner = Runner(tiny | dict(duration=4), "run")
    runner.train()
    best = working_directory / "run/checkpoints/best.pt"
    best.unlink()
    Runner(tiny | dict(duration=4), "run", resume="run/checkpoints/step_00000004.pt").train()
    assert load(best)["step"] == 4


def test_another_experiment_is_refused_with_both_values(tiny):
    Runner(tiny, "run").train()
    tiny["optimizer"]["lr"] = 0.01
    tiny["train"]["batch_size"] = 2
    with pytest.raises(UserError) as error:
        Runner(tiny, "run", resume="run/checkpoints/last.pt")
    assert "optimizer.lr: was 0.05, is 0.01" in str(error.value)
    assert "train.batch_size: was 4, is 2" in str(error.value)


def test_what_only_records_may_change(tiny):
    Runner(tiny, "run").train()
    tiny["hooks"]["checkpoint"]["every"] = 1
    tiny["hooks"]["progress_bar"] = dict(type="ProgressBar")
    tiny["train"]["num_workers"] = 1
    assert Runner(tiny, "run", resume="run/checkpoints/last.pt").step == 12


@pytest.mark.usefixtures("write_config")
def test_nothing_to_resume_is_said_and_a_missing_path_is_an_error(tool):
    fresh = tool("train", "tiny.yaml", "duration=1", "--resume")
    assert fresh.returncode == 0
    assert "nothing to resume" in fresh.stdout
    missing = tool("train", "tiny.yaml", "--resume", "gone.pt")
    assert missing.returncode == 2
    assert missing.stderr.strip() == "error: there is no checkpoint or run folder gone.pt"


@pytest.mark.usefixtures("write_config")
def test_resume_finds_the_newest_run_of_the_config(tool):
    assert tool("train", "tiny.yaml", "duration=4").returncode == 0
    again = tool("train", "tiny.yaml", "duration=4", "--resume")
    assert "step 4 of 4" in again.stdout
    assert again.returncode == 0


def test_a_run_is_not_written_over_another(tiny, working_directory):
    Runner(tiny, "run").train()
    with pytest.raises(UserError, match="run holds a run already: add --resume"):
        Runner(tiny, "run")


def test_continuing_from_an_earlier_checkpoint_sets_the_later_ones_aside(tiny, working_directory):
    Runner(tiny, "run").train()  # every 2, the newest 2: steps 10 and 12
    Runner(tiny, "run", resume="run/checkpoints/step_00000010.pt").train()
    names = sorted(file.name for file in (working_directory / "run/checkpoints").iterdir())
    assert names == ["best.pt", "last.pt", "step_00000010.pt", "step_00000012.pt", "step_00000012.pt.superseded"]
    assert (working_directory / "run/environment-step_00000010.json").is_file()


def test_auto_does_not_pass_an_older_run_off_as_the_newest(working_directory):
    (working_directory / "runs/x/20260101-000000/checkpoints").mkdir(parents=True)
    old = working_directory / "runs/x/20260101-000000/checkpoints/step_00000002.pt"
    save({}, old)
    assert find_checkpoint("auto", "x", None) == old.relative_to(working_directory)
    (working_directory / "runs/x/20260102-000000").mkdir()
    assert find_checkpoint("auto", "x", None) is None


def test_another_number_of_threads_is_told(tiny, logged):
    Runner(tiny | dict(duration=4), "run").train()
    Runner(tiny | dict(duration=4), "run", resume="run/checkpoints/last.pt")
    assert not any("not to the bit" in line for line in logged)
    torch.set_num_threads(2)
    try:
        Runner(tiny | dict(duration=4), "run", resume="run/checkpoints/last.pt")
    finally:
        torch.set_num_threads(1)
    assert "note: threads was 1 and is 2: the run goes on, but not to the bit" in logged


def test_a_run_does_not_go_on_with_fewer_images(tiny, working_directory):
    """Another number of images is another order in every epoch."""
    Runner(tiny | dict(duration=4), "run").train()
    with np.load("arrays.npz") as arrays:
        parts = dict(arrays)
    parts |= dict(train_images=parts["train_images"][:-1], train_labels=parts["train_labels"][:-1])
    np.savez("arrays.npz", **parts)
    with pytest.raises(UserError, match="trained on 42 images, now there are 41"):
        Runner(tiny | dict(duration=4), "run", resume="run/checkpoints/last.pt")


OPTIMIZER_KINDS = [
    dict(type="SGD", momentum=0.9, nesterov=True),
    dict(type="SGD", momentum=0.9, fused=True),
    dict(type="Adam", amsgrad=True, foreach=True),
    dict(type="AdamW", fused=True),
    *(dict(type=name) for name in ("Adafactor", "Adagrad", "ASGD", "NAdam", "RAdam", "Rprop")),
    *(dict(type=f"timm/{name}") for name in ("adopt", "lamb", "laprop", "novograd")),
]
PLATEAU = dict(type="ReduceLROnPlateau", patience=0)
SCHEDULES = [
    dict(scheduler=PLATEAU, monitor="val/loss"),
    dict(scheduler=PLATEAU, monitor="val/loss", warmup=3),
    dict(scheduler=dict(type="OneCycleLR", max_lr=0.1, total_steps="100%")),
    dict(scheduler=dict(type="CyclicLR", base_lr=0.01, max_lr=0.1, step_size_up=3), warmup=2),
    dict(scheduler=dict(type="CosineAnnealingWarmRestarts", T_0=3)),
    dict(scheduler=dict(type="CosineAnnealingLR", T_max="100%"), by="epoch", warmup="1ep"),
    dict(scheduler=dict(type="timm/CosineLRScheduler", t_initial="100%", warmup_t=3)),
    dict(scheduler=dict(type="timm/StepLRScheduler", decay_t=1, noise_range_t=[0, 3]), by="epoch"),
]
CHANGES = [
    *({"optimizer": each | dict(lr=0.01)} for each in OPTIMIZER_KINDS),
    *({"hooks.lr_schedule": dict(type="LRSchedule", **each)} for each in SCHEDULES),
    *({"train.sampler": dict(type=name)} for name in ("RepeatedAugmentation", "ClassBalanced", "Sequential")),
    {"train.sampler": dict(type="Weighted", power=0.5)},
    {"precision": "bf16"},
    {"memory_format": "channels_last"},
    {"compile": "aot_eager"},
    pytest.param({"compile": True}, marks=pytest.mark.slow),
]


def _called(changes: dict) -> str:
    [(key, value)] = changes.items()
    named = value.get("scheduler", value) if isinstance(value, dict) else {"type": value}
    return f"{key.rpartition('.')[2]}-{named['type']}"


@pytest.mark.row(11)
@pytest.mark.parametrize("changes", CHANGES, ids=_called)
def test_whatever_keeps_a_state_is_restored_to_the_bit(tiny, changes, differences):
    """Saved at step 7 of 12, in mid-epoch and off every interval."""
    tiny["hooks"]["evaluation"]["every"] = 1
    tiny["hooks"]["checkpoint"] |= dict(every=1, keep=99)
    for key, value in copy.deepcopy(changes).items():
        *way, last = key.split(".")
        (tiny[way[0]] if way else tiny)[last] = value
    Runner(tiny, "whole").train()
    Runner(tiny, "resumed", resume="whole/checkpoints/step_00000007.pt").train()
    expected, found = load("whole/checkpoints/last.pt"), load("resumed/checkpoints/last.pt")
    began = load("whole/checkpoints/step_00000007.pt")
    assert not torch.equal(expected["model"]["head.fc.weight"], began["model"]["head.fc.weight"])
    assert differences(found, expected) == []
