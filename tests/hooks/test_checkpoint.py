"""What the Checkpoint hook leaves alone, refuses, and names the best."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from knoll.hooks.hook import Hook
from knoll.registry import HOOKS, ConfigError, UserError
from knoll.runner import Runner
from knoll.runner.saving.checkpoint import load


class Sum(Hook):
    """Counts the steps, and takes up in before_run what was loaded, as EMA does."""

    only_records = True

    def __init__(self) -> None:
        self.sum: float | None = None
        self.loaded: dict = {}

    def before_run(self, runner: Runner) -> None:
        self.sum = self.loaded.get("sum", 0.0)

    def after_update(self, runner: Runner) -> None:
        assert self.sum is not None
        self.sum += 1.0

    def state_dict(self) -> dict:
        return {} if self.sum is None else {"sum": self.sum}

    def load_state_dict(self, state: dict) -> None:
        self.loaded = state


class FailsAt(Hook):
    """Raises at a point of a step."""

    only_records = True

    def __init__(self, point: str, step: int) -> None:
        self.step = step
        setattr(self, point, self.fail)

    def before_run(self, runner: Runner) -> None: ...
    def before_epoch(self, runner: Runner) -> None: ...
    def end_iter(self, runner: Runner) -> None: ...

    def fail(self, runner: Runner) -> None:
        if runner.step == self.step:
            raise RuntimeError("what was asked for")


class NumpyState(Hook):
    """Keeps what no checkpoint can hold."""

    only_records = True

    def state_dict(self) -> dict:
        return {"mean": np.float64(1)}


@pytest.fixture(autouse=True)
def hooks_of_these_tests():
    kinds = (Sum, FailsAt, NumpyState)
    for kind in kinds:
        HOOKS.register_module(module=kind)
    yield
    for kind in kinds:
        del HOOKS.module_dict[kind.__name__]


def with_hooks(config: dict, **hooks: dict) -> dict:
    """These hooks before the config's own."""
    return config | {"hooks": {**hooks, **config["hooks"]}}


@pytest.fixture
def short(tiny):
    tiny["duration"] = 4
    return tiny


@pytest.mark.parametrize("point", ["before_run", "before_epoch"])
def test_a_resume_that_fails_before_its_first_step_leaves_every_file_as_it_was(short, point):
    """Also a hook that comes later and has not taken up its state yet."""
    short["hooks"]["sum"] = dict(type="Sum")
    Runner(short, "run").train()  # its last step is its best
    kept = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in Path("run/checkpoints").iterdir()}
    assert load("run/checkpoints/best.pt")["step"] == 4
    assert load("run/checkpoints/last.pt")["hooks"]["sum"] == {"sum": 4.0}
    config = with_hooks(short, fails=dict(type="FailsAt", point=point, step=4))
    with pytest.raises(RuntimeError, match="what was asked for"):
        Runner(config, "run", resume="run/checkpoints/step_00000004.pt").train()
    assert {f: (f.read_bytes(), f.stat().st_mtime_ns) for f in Path("run/checkpoints").iterdir()} == kept


def test_naming_the_best_again_writes_no_checkpoint_anew(short):
    short["hooks"]["sum"] = dict(type="Sum")
    Runner(short, "run").train()
    step, best = Path("run/checkpoints/step_00000004.pt"), Path("run/checkpoints/best.pt")
    before = step.stat()
    best.unlink()
    Runner(short, "run", resume=step).train()
    assert best.samefile(step)
    assert (step.stat().st_ino, step.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_state_that_cannot_be_saved_is_told_after_the_first_step(short):
    runner = Runner(short | {"hooks": short["hooks"] | {"mean": dict(type="NumpyState")}}, "run")
    with pytest.raises(UserError, match=r"hooks\.mean\.mean is a numpy\.float64"):
        runner.train()
    assert runner.step == 1


def test_the_best_is_named_also_if_another_hook_fails_at_its_step(short):
    with pytest.raises(RuntimeError, match="what was asked for"):
        Runner(with_hooks(short, fails=dict(type="FailsAt", point="end_iter", step=4)), "run").train()
    assert load("run/checkpoints/best.pt")["step"] == load("run/checkpoints/last.pt")["step"] == 4


def test_a_best_that_stayed_in_another_folder_is_told(tiny, logged):
    """From the best step itself it is written anew."""
    tiny["hooks"]["checkpoint"] |= dict(best="val/loss", mode="max", keep=99)  # the first is the best
    Runner(tiny, "run").train()
    assert load("run/checkpoints/best.pt")["step"] == 4
    told = "note: there is no elsewhere/checkpoints/best.pt: the best so far, val/loss"
    Runner(tiny, "elsewhere", resume="run/checkpoints/step_00000010.pt").train()
    assert [line.endswith("of step 4, is not in this folder") for line in logged if line.startswith(told)] == [True]
    Runner(tiny, "third", resume="run/checkpoints/step_00000004.pt").train()
    assert load("third/checkpoints/best.pt")["step"] == 4


def test_two_of_them_are_refused(tiny):
    tiny["hooks"]["often"] = dict(type="Checkpoint", every=1)
    with pytest.raises(ConfigError, match="hooks: checkpoint and often would write and remove the same files"):
        Runner(tiny, "run")
