"""Real signals to the whole process group of a run: what is done is saved, and the run ends with the same bits."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import yaml

from knoll.runner.saving.checkpoint import load
from knoll.runner.stopping import Stopping
from knoll.tools.train import main

PLUGIN = '''
import os, pathlib, signal, time
import torch
from torch.utils.data import get_worker_info
from knoll.datasets.layouts.array_file import ArrayFile
from knoll.hooks.hook import Hook
from knoll.registry import DATASETS, HOOKS, LOSSES

def once(name, number):
    """Signal the process group; only the first of its processes that comes here."""
    try:
        pathlib.Path("sent").mkdir()
    except FileExistsError:
        return
    pathlib.Path(name).write_text(str(time.time()))
    os.killpg(0, number)

armed = False

@HOOKS.register_module()
class Signal(Hook):
    """Sends a signal in the step number `step`, at one of the hooks' points, or while its checkpoint is written."""
    only_records = True
    def __init__(self, step: int, at: str, number: int) -> None:
        self.step, self.at, self.number = step, at, number
    def before_iter(self, runner):
        global armed
        armed = runner.step == self.step and self.at == "second batch"
        if self.at == "before_iter" and runner.step == self.step:
            once("signalled", self.number)
        if self.at == "save" and runner.step == self.step:
            sync = os.fsync
            def signalling(file):
                once("signalled", self.number)
                sync(file)
            os.fsync = signalling

@LOSSES.register_module()
class Counting(torch.nn.CrossEntropyLoss):
    """Signals between the batches whose gradients add up to a step."""
    calls = 0
    def forward(self, logits, labels):
        if armed and torch.is_grad_enabled():
            Counting.calls += 1
            if Counting.calls == 2:
                once("signalled", signal.SIGTERM)
        return super().forward(logits, labels)

@DATASETS.register_module()
class Slow(ArrayFile):
    """Signals when the image `at` is read, once the file `after` is there, and then waits."""
    def __init__(self, path, split, at: int, after="run/log.txt", wait: float = 0.0, number: int = signal.SIGTERM):
        super().__init__(path, split)
        self.at, self.after, self.wait, self.number = at, after, wait, number
    def __getitem__(self, index):
        if index == self.at and pathlib.Path(self.after).exists() and not pathlib.Path("signalled").exists():
            once("signalled", self.number)
            time.sleep(self.wait)
        return super().__getitem__(index)
'''
LAST = "run/checkpoints/last.pt"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Where the uninterrupted run is kept; made by the first test that asks for it."""
    return tmp_path_factory.mktemp("whole")


@pytest.fixture
def train(tiny, working_directory, launcher):
    """Starts a run in `run`; the first one is uninterrupted, for comparison."""
    (working_directory / "plugins").mkdir()
    (working_directory / "plugins/signalling.py").write_text(PLUGIN)
    tiny["hooks"]["checkpoint"] |= dict(every="50%", keep=9)
    tiny |= dict(loss=dict(type="Counting"), plugins=["plugins"])
    (working_directory / "tiny.yaml").write_text(yaml.safe_dump(tiny))

    def start(*arguments: str, run: str = "run") -> int:
        words = "train", "tiny.yaml", "--work-dir", run, *arguments
        return launcher.start(*words, folder=working_directory, output=f"{run}.txt")

    return start


@pytest.fixture
def compare(train, whole, launcher, working_directory, fingerprint):
    """Goes on with a run that was stopped, and compares its end with that of the uninterrupted one."""

    def resume_and_compare(*arguments: str) -> None:
        if not (whole / "last.pt").exists():
            assert launcher.wait(train(run="whole")) == 0
            os.replace(working_directory / "whole/checkpoints/last.pt", whole / "last.pt")
        assert launcher.wait(train(*arguments, "--resume")) == 0, said()
        assert fingerprint(working_directory / LAST) == fingerprint(whole / "last.pt")
        ends = load(working_directory / LAST), load(whole / "last.pt")
        assert ends[0]["metrics"] == ends[1]["metrics"]
        assert ends[0]["hooks"] == ends[1]["hooks"]

    return resume_and_compare


def said(run: str = "run") -> str:
    return Path(f"{run}.txt").read_text()


def overrides(step: int, at: str = "before_iter", number: int = signal.SIGTERM) -> list[str]:
    return [
        f"hooks.signal.{key}={value}" for key, value in dict(type="Signal", step=step, at=at, number=number).items()
    ]


def slow(data: str, split: str, **settings: float | str) -> list[str]:
    """A config's data set as one that waits, or signals, at an image."""
    words = dict(type="Slow", path="arrays.npz", split=split, **settings)
    return [f"{data}.dataset.{key}={value}" for key, value in words.items()]


@pytest.mark.row(3)
@pytest.mark.parametrize("num_workers", [0, 2])
def test_sigterm_in_mid_epoch(train, compare, launcher, num_workers, figure):
    code = launcher.wait(train(*overrides(step=6), f"train.num_workers={num_workers}"))
    assert code == 143, said()
    assert "Traceback" not in said()
    saved = load(LAST)["step"]
    assert saved == 7  # the signal came in the seventh step, after six
    compare(f"train.num_workers={num_workers}")
    figure(f"{num_workers} workers: exit {code}, saved {saved - 6} step later, resumed SHA equal")


@pytest.mark.row(4)
@pytest.mark.parametrize("where", ["evaluation", "evaluation by workers", "warm-up", "a save"])
def test_sigterm_elsewhere(train, compare, launcher, where, figure):
    """The first evaluation follows step 4 and the warm-up has 3 steps; step 6 is saved in any case."""
    evaluation = slow("evaluation.val", "val", at=9)
    how, expected = {
        "evaluation": (evaluation, 4),
        "evaluation by workers": ([*evaluation, "evaluation.val.num_workers=2"], 4),
        "warm-up": (overrides(step=0), 1),
        "a save": (overrides(step=5, at="save"), 6),
    }[where]
    code = launcher.wait(train(*how))
    assert code == 143, said()
    assert "Traceback" not in said()
    state = load(LAST)
    assert expected <= state["step"] <= expected + 1
    assert bool(state["left"]) == ("evaluation" in where)
    compare(*(how if "evaluation" in where else []))
    figure(f"in {where}: exit {code}, resumed SHA equal")


@pytest.mark.row(14)
def test_a_signal_between_the_batches_of_a_step(train, compare, launcher, figure):
    code = launcher.wait(train(*overrides(step=5, at="second batch")))
    assert code == 143, said()
    assert Path("signalled").exists()
    step = load(LAST)["step"]
    assert step == 6
    compare()
    figure(f"between two batches of step 6: saved after step {step}, resumed SHA equal")


@pytest.mark.row(5)
def test_ctrl_c_once(train, compare, launcher, figure):
    code = launcher.wait(train(*overrides(step=6, number=signal.SIGINT), "train.num_workers=2"))
    assert code == 130, said()
    assert "Once more ends it at once" in said()
    assert load(LAST)["step"] == 7
    compare()
    figure(f"once: exit {code}, saved, resumed SHA equal")


@pytest.mark.row(5)
def test_ctrl_c_twice_while_a_worker_is_busy(train, launcher, working_directory, figure):
    """The first comes while a worker reads for a minute; the second, while that is waited for."""
    busy = slow("train", "train", at=17, wait=60, number=0, after=LAST)
    process = train(*busy, "train.num_workers=1", "hooks.checkpoint.every=1", "duration=20ep")
    end = time.monotonic() + 60
    while not Path("signalled").exists():
        assert time.monotonic() < end, said()
        time.sleep(0.01)
    time.sleep(2)  # the batches read ahead are trained on, and it waits
    before = {file.name: file.read_bytes() for file in working_directory.glob("run/checkpoints/step_*.pt")}
    assert before
    os.killpg(process, signal.SIGINT)
    time.sleep(0.1)
    os.killpg(process, signal.SIGINT)
    start = time.monotonic()
    code = launcher.wait(process)
    seconds = time.monotonic() - start
    assert code == 130, said()
    assert seconds < 1, said()
    after = {name: (working_directory / "run/checkpoints" / name).read_bytes() for name in before}
    assert after == before
    figure(f"twice: exit {code} within a second, the checkpoints byte for byte")


def test_sigusr1_saves_and_the_run_goes_on(train, compare, launcher):
    assert launcher.wait(train(*overrides(step=6, number=signal.SIGUSR1), "train.num_workers=1")) == 0, said()
    assert "SIGUSR1: saved run/checkpoints/step_00000007.pt" in said()
    assert load("run/checkpoints/step_00000007.pt")["step"] == 7
    compare()


def test_a_time_limit_saves_and_ends_with_a_status_to_queue_the_run_again_on(train, launcher):
    start = time.monotonic()
    code = launcher.wait(train("--time-limit", "6s", "duration=100000ep", "train.num_workers=1"))
    assert code == 75, said()
    assert 6 <= time.monotonic() - start < 60
    assert "the time is up: the run ends after this step" in said()
    step = load(LAST)["step"]
    assert step > 0
    assert launcher.wait(train("--time-limit", "6s", "duration=100000ep", "--resume")) == 75, said()
    assert f"continuing from run/checkpoints/step_{step:08d}.pt" in said()
    assert load(LAST)["step"] > step


@pytest.mark.parametrize("text", ["", "4", "4x", "h", "0s", "1h-3m", "3m1h"])
def test_a_time_limit_that_is_none(text, capsys):
    with pytest.raises(SystemExit):
        main(["config.py", "--time-limit", text])
    assert f"{text!r}: write it as 3h50m" in capsys.readouterr().err


def test_what_the_program_around_handles_is_left_to_it():
    """A notebook's, or a job launcher's, own handler stays; so does `nohup`'s ignoring."""

    def own(number, frame): ...

    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started pytest with it ignored
    signal.signal(signal.SIGTERM, own)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stopping = Stopping()
        stopping.listen()
        assert signal.getsignal(signal.SIGTERM) is own
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        stopping.ignore()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
