"""An experiment that keeps all the state there can be ends with the same bits, wherever and however often it stops."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from knoll.registry import BACKBONES, HOOKS, LOSSES
from knoll.runner import Runner
from knoll.runner.saving.checkpoint import load, newest

ROOT = Path(__file__).parents[2]
AS_TENSOR = [dict(type="ToImage"), dict(type="ToDtype", dtype="float32", scale=True)]
LAST = "checkpoints/last.pt"
NOT_COMPARED = {"config"}  # it says how many workers there were


def everything(folder: Path) -> dict[str, Any]:
    """40 images make 13 batches, and those 5 steps an epoch, the last of one batch; 15 steps in all."""
    rng = np.random.default_rng(0)
    parts = {"train_images": rng.integers(0, 256, (40, 14, 14), dtype=np.uint8), "train_labels": np.arange(40) % 4}
    parts |= {"val_images": parts["train_images"][:12], "val_labels": parts["train_labels"][:12]}
    np.savez(folder / "images.npz", **parts)
    images = dict(type="ArrayFile", path=str(folder / "images.npz"))
    return dict(
        plugins=[str(Path(__file__).with_name("plugins"))],
        model=dict(type="ImageClassifier", backbone=dict(type="Noisy"), head=dict(type="LinearHead", num_classes=4)),
        loss=dict(type="Drifting"),
        optimizer=dict(type="AdamW", lr=0.02, weight_decay=0.05),
        train=dict(
            dataset=dict(**images, split="train"),
            transforms=[dict(type="RandomCrop", size=14, padding=2), dict(type="RandomHorizontalFlip"), *AS_TENSOR],
            batch_size=3,
        ),
        evaluation=dict(val=dict(dataset=dict(**images, split="val"), transforms=AS_TENSOR)),
        metrics=dict(top1=dict(type="Accuracy")),
        hooks=dict(
            evaluation=dict(type="Evaluation", every=4),
            lr_schedule=dict(type="LRSchedule", scheduler=dict(type="CosineAnnealingLR", T_max="100%"), warmup=6),
            ema=dict(type="EMA", decay=0.9, use_warmup=True),
            mix=dict(type="Mix"),
            restless_scaler=dict(type="RestlessScaler"),
            counting=dict(type="Counting"),
            checkpoint=dict(type="Checkpoint", every=1, keep=99, best="val_ema/loss"),
        ),
        precision="fp16",
        accumulate=3,
        clip_norm=1.0,
        duration="3ep",
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """The run that nothing interrupts, with a checkpoint of every step."""
    folder = tmp_path_factory.mktemp("whole")
    config = everything(folder)
    Runner(config, folder / "run").train()
    yield SimpleNamespace(config=config, folder=folder / "run", state=load(folder / "run" / LAST))
    for registry in (BACKBONES, HOOKS, LOSSES):
        for name, kind in list(registry.module_dict.items()):
            if kind.__module__.endswith("_everything"):
                del registry.module_dict[name]
                sys.modules.pop(kind.__module__, None)


def at(whole: SimpleNamespace, step: int) -> Path:
    return whole.folder / f"checkpoints/step_{step:08d}.pt"


def compared(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key not in NOT_COMPARED}


def test_the_experiment_has_what_it_is_said_to_have(differences, whole):
    states = [load(at(whole, step)) for step in range(1, 16)]
    scales = [state["scaler"]["scale"] for state in states]
    changes = [later / earlier for earlier, later in pairwise(scales)]
    assert changes.count(0.5) >= 3  # steps that overflowed, and were left out
    assert changes.count(2.0) >= 3
    skipped = [
        not differences(earlier["model"]["head.fc.weight"], later["model"]["head.fc.weight"])
        for earlier, later in pairwise(states)
    ]
    assert skipped == [change == 0.5 for change in changes]
    first, last = states[0], states[-1]
    same = {path.split(".")[0] for path in compared(last)} - {path.split(".")[0] for path in differences(first, last)}
    stay = {"format", "left", "name", "sources", "choices", "samples", "classes", "num_classes"}
    assert same == stay | {"labels", "computed_with", "world_size"}
    assert set(last["hooks"]) == {"lr_schedule", "ema", "counting", "checkpoint"}
    changed = set(differences(first["random"], last["random"]))
    assert {path.split(".")[0] for path in changed} == {"torch", "python", "numpy"}
    assert differences(first["model"]["backbone._extra_state"], last["model"]["backbone._extra_state"])


@pytest.fixture(scope="module", params=[0, 2])
def killed(whole, request) -> SimpleNamespace:
    """A run of a process of its own, with so many workers, that was killed in its eighth step; saved every second."""
    folder = whole.folder.parent / f"killed_{request.param}"
    config = folder.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(whole.config))
    changes = [f"train.num_workers={request.param}", "hooks.checkpoint.every=2", "hooks.checkpoint.keep=2"]
    changes += ["hooks.stop_at.type=StopAt", "hooks.stop_at.step=7", "hooks.stop_at.kill=True"]
    command = [sys.executable, ROOT / "tools/train.py", config, *changes, "--work-dir", folder]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    saved = newest(folder)
    assert saved is not None
    assert saved.name in ("step_00000004.pt", "step_00000006.pt")  # the last was written while training went on
    return SimpleNamespace(folder=folder, workers=request.param)


@pytest.mark.slow
@pytest.mark.row(11)
@pytest.mark.row(15)
def test_killed_and_resumed_with_any_workers_it_ends_with_the_same_bits(
    differences, whole, killed, working_directory, fingerprint, figure
):
    """SIGKILL to a real process in mid-epoch; then again, with as many workers as before and with others."""
    equal = []
    for workers in (0, 2):
        folder = working_directory / f"resumed_{workers}"
        shutil.copytree(killed.folder, folder)
        config = whole.config | dict(train=whole.config["train"] | dict(num_workers=workers))
        runner = Runner(config, folder, resume=newest(folder))
        assert runner.step in (4, 6)
        runner.train()
        assert differences(compared(load(folder / LAST)), compared(whole.state)) == []
        equal.append(fingerprint(folder / LAST) == fingerprint(whole.folder / LAST))
    figure(
        f"killed in mid-epoch with {killed.workers} workers, resumed with 0 and with 2: "
        f"{sum(equal)} of {len(equal)} SHA equal, and every entry of the state"
    )
    assert all(equal)


STOPS = [[7], [6, 8], [6, 8, 9], [5], [9], [1], [14], [5, 10], list(range(1, 15))]


@pytest.mark.row(12)
def test_interrupted_anywhere_any_number_of_times_it_ends_with_the_same_bits(
    differences, whole, working_directory, fingerprint, figure
):
    """Steps 5 to 9 are the second epoch's. Saved every second step, so that most interruptions lose a step."""
    equal = []
    checkpoint = dict(whole.config["hooks"]["checkpoint"], every=2)
    for number, stops in enumerate(STOPS):
        folder = working_directory / f"run_{number}"
        for stop in [*stops, None]:
            hooks = dict(whole.config["hooks"], checkpoint=checkpoint)
            if stop is not None:
                hooks["stop_at"] = dict(type="StopAt", step=stop)
            runner = Runner(whole.config | dict(hooks=hooks), folder, resume=newest(folder))
            try:
                runner.train()
                assert stop is None
            except InterruptedError:
                assert runner.step == stop
        found = compared(load(folder / LAST))
        assert differences(found, compared(whole.state)) == [], stops
        equal.append(fingerprint(folder / LAST) == fingerprint(whole.folder / LAST))
    times = sum(map(len, STOPS))
    figure(f"{times} interruptions in {len(STOPS)} runs, up to 14 in one: {sum(equal)} of {len(equal)} SHA equal")
    assert all(equal)


MOVED = {"model", "optimizer.state", "hooks.ema"}  # what other gradients change in one step

# What is left out, and where a run that goes on without it differs one step later.
TEETH: dict[str, set[str]] = {
    "model": MOVED,
    "model.backbone.norm.running_mean": {"model", "hooks.ema"},
    "model.backbone._extra_state": MOVED,
    "loss": MOVED | {"loss"},
    "optimizer.state": MOVED,
    "optimizer.param_groups": {"model", "hooks.ema", "optimizer.param_groups", "hooks.lr_schedule"},
    "hooks.lr_schedule": {"optimizer.param_groups", "hooks.lr_schedule"},
    "hooks.ema": {"hooks.ema"},
    "hooks.counting": {"hooks.counting"},
    "random.torch": MOVED | {"random.torch"},
    "random.python": MOVED | {"random.python"},
    "random.numpy": MOVED | {"random.numpy"},
    "scaler": {"scaler"},
}


def goes_on(config: dict[str, Any], saved: dict[str, Any], folder: Path, left_out: str = "", skip: int = 0) -> None:
    """A new run is put to a saved state, but for a part that stays as it begins, and is trained to its end.

    Args:
        skip: so many batches are passed over.
    """
    runner = Runner(config, folder)
    state, begun, (*way, key) = saved, runner.state_dict(), left_out.split(".", 1)
    if way:
        state, begun = state[way[0]], begun[way[0]]
    if key in begun:
        state[key] = begun[key]
    elif key:
        del state[key]
    runner.load_state_dict(saved)
    batches = runner.train_loader.batches
    runner.train_loader.batches = lambda start, stop: batches(start + skip, stop + skip)
    runner.train()


def parts(state: dict[str, Any]) -> dict[str, Any]:
    """What the training depends on, by the names that TEETH uses."""
    nested = {f"{key}.{part}": value for key in ("optimizer", "hooks", "random") for part, value in state[key].items()}
    del nested["hooks.checkpoint"]  # the best metric so far
    return nested | {key: state[key] for key in ("model", "loss", "scaler")}


@pytest.mark.row(13)
def test_leaving_out_any_part_of_the_state_changes_the_bits(differences, whole, working_directory, fingerprint, figure):
    """With nothing left out the same way leads to the same bits, so each difference is the part's own."""
    reference = fingerprint(whole.folder / LAST)
    goes_on(whole.config, load(at(whole, 7)), working_directory / "nothing")
    assert differences(compared(load("nothing/checkpoints/last.pt")), compared(whole.state)) == []
    assert fingerprint(working_directory / "nothing" / LAST) == reference

    expected, after_a_step = TEETH | {"position": MOVED}, parts(load(at(whole, 8)))
    changed = []
    for part, first in expected.items():
        folder = working_directory / part
        options = dict(skip=1) if part == "position" else dict(left_out=part)
        goes_on(whole.config, load(at(whole, 7)), folder, **options)
        found = parts(load(folder / "checkpoints/step_00000008.pt"))
        assert {each for each in found if differences(found[each], after_a_step[each])} == first, part
        changed += [part] if fingerprint(folder / LAST) != reference else []
    figure(f"each left out by itself: {len(changed)} of {len(expected)} change the SHA: {', '.join(changed)}")
    assert changed == list(expected)
    alone = load("hooks.ema/checkpoints/last.pt")["model"]
    assert differences(alone, whole.state["model"]) == []  # of the SHA it is the average's part that tells


@pytest.mark.row(13)
def test_what_the_bits_of_the_weights_do_not_tell_is_compared_as_it_is(
    differences, whole, working_directory, fingerprint, figure
):
    """A loss scale that never overflows leaves no trace in the weights, and which epoch it was leaves none ever."""
    quiet = dict(type="RestlessScaler", scale=2.0**8, growth_interval=2000)
    config = whole.config | dict(hooks=whole.config["hooks"] | dict(restless_scaler=quiet))
    Runner(config, "quiet").train()
    reference = load("quiet/checkpoints/last.pt")
    told = []
    for part, place in (("scaler._growth_tracker", "scaler._growth_tracker"), ("epoch", "hooks.counting.epochs")):
        folder = working_directory / f"quiet_{part}"
        goes_on(config, load("quiet/checkpoints/step_00000007.pt"), folder, left_out=part)
        assert differences(compared(load(folder / LAST)), compared(reference)) == [place]
        assert fingerprint(folder / LAST) == fingerprint(working_directory / "quiet" / LAST)
        told.append(part)
    figure(f"do not change the weights where no step overflows, and are compared as entries: {', '.join(told)}")
