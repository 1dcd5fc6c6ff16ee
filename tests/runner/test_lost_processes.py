"""One of several processes is killed, or is told to stop: none hangs, and nothing that was saved is lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from knoll.registry import HOOKS
from knoll.runner import Runner
from knoll.runner.saving.checkpoint import load

ROOT = Path(__file__).parents[2]

SIGNAL_AT = '''
import os, signal
from knoll.hooks.hook import Hook
from knoll.registry import HOOKS


@HOOKS.register_module()
class SignalAt(Hook):
    """Sends its own process a signal, once, at a point of a step, if it is the one of that rank."""

    def __init__(self, rank: int, step: int, name: str, at: str) -> None:
        self.rank, self.step, self.signal, self.at = rank, step, getattr(signal, name), at

    def send(self, runner, at: str, step: int) -> None:
        sent = runner.work_dir / "sent"
        if (runner.world.rank, at, step) == (self.rank, self.at, self.step) and not sent.exists():
            sent.touch()
            os.kill(os.getpid(), self.signal)

    def before_iter(self, runner) -> None:
        self.send(runner, "step", runner.step + 1)

    def after_iter(self, runner) -> None:
        self.send(runner, "evaluation", runner.step)
'''


@pytest.fixture(autouse=True)
def with_dropout(tiny, working_directory):
    """10 steps in two processes, saved every 2, evaluated after 5: with dropout and BatchNorm's averages."""
    tiny["model"]["backbone"] = dict(type="CIFARResNet", depth=8, in_channels=1)
    tiny["train"]["batch_size"] = 2
    tiny |= dict(accumulate=2, duration="2ep", plugins=["plugins"])
    tiny["hooks"]["checkpoint"]["keep"] = 99
    (working_directory / "plugins").mkdir()
    (working_directory / "plugins/signal_at.py").write_text(SIGNAL_AT)
    yield
    HOOKS.module_dict.pop("SignalAt", None)


def train(config: dict[str, Any], folder: str, resume: str | None = None) -> tuple[int, int]:
    """The steps that were made, and the exit status."""
    runner = Runner(config, folder, resume=resume)
    try:
        runner.train()
    except SystemExit as ending:
        return runner.step, int(str(ending.code))
    return runner.step, 0


def with_signal(config: dict[str, Any], **settings: Any) -> dict[str, Any]:
    # First of the hooks: it comes before the evaluation.
    return config | dict(hooks=dict(signal_at=dict(type="SignalAt", **settings), **config["hooks"]))


def equal(first: Any, second: Any) -> bool:
    """To the bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second


def same_end(first: str, second: str) -> bool:
    states = [load(f"{folder}/checkpoints/last.pt") for folder in (first, second)]
    return all(equal(states[0][part], states[1][part]) for part in ("step", "model", "optimizer", "metrics"))


@pytest.mark.row(44)
@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_one_process_is_told_to_stop_and_all_save_the_same_step(tiny, processes, rank, figure):
    assert [each.value for each in processes(2, train, tiny, "whole")] == [(10, 0)] * 2
    ends = []
    for number, (step, at) in enumerate([(3, "step"), (5, "step"), (5, "evaluation"), (10, "evaluation")]):
        folder = f"run_{number}"
        told = with_signal(tiny, rank=rank, step=step, name="SIGTERM", at=at)
        found = processes(2, train, told, folder)
        assert [each.value for each in found] == [(step, 143)] * 2, found
        [newest] = sorted(Path(folder, "checkpoints").glob("step_*.pt"))[-1:]
        ends.append(load(newest)["step"] == step)
        resumed = processes(2, train, told, folder, str(newest))
        assert [each.value for each in resumed] == [(10, 0)] * 2, resumed
        assert same_end(folder, "whole")
    figure(
        f"SIGTERM to process {rank} of 2, in a step or an evaluation: in {sum(ends)} of {len(ends)} cases all ended "
        "with 143 at that step, which was saved; continued, the bits are those of an uninterrupted run"
    )
    assert all(ends)


@pytest.mark.row(43)
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("at", ["step", "evaluation"])
def test_one_process_is_killed_and_the_other_ends(tiny, processes, rank, at, figure):
    """Step 5 is the last of the first epoch; saved were 2 and 4, with workers that read ahead."""
    assert [each.status for each in processes(2, train, tiny, "whole")] == [0, 0]
    tiny["train"]["num_workers"] = 2
    killing = with_signal(tiny, rank=rank, step=5, name="SIGKILL", at=at)
    found = processes(2, train, killing, "run", timeout=40)
    killed, left = found[rank], found[1 - rank]
    assert (killed.status, left.status) == (-signal.SIGKILL, 1), found
    seconds = left.seconds - killed.seconds
    assert f"process {1 - rank} of 2 stops: another one is gone" in left.value
    [newest] = sorted(Path("run/checkpoints").glob("step_*.pt"))[-1:]
    # Of the first process a checkpoint that was being written may be lost. If it is the one that is left, it saves what
    # is whole: the fifth step, of which the evaluation is made anew.
    wanted = [2, 4] if rank == 0 else [4] if at == "step" else [5]
    assert load(newest)["step"] in wanted
    resumed = processes(2, train, killing, "run", str(newest))
    assert [each.value for each in resumed] == [(10, 0)] * 2, resumed
    same = same_end("run", "whole")
    figure(
        f"SIGKILL to process {rank} of 2 before a {at}: the other ended after {seconds:.1f} s; step "
        f"{load(newest)['step']} loads; continued, the bits of an uninterrupted run: {same}"
    )
    assert seconds < 30
    assert same


def start(arguments: list[str], **environment: str) -> subprocess.Popen[str]:
    """A command in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


TRAIN = [str(ROOT / "tools" / "train.py"), "tiny.yaml", "--work-dir", "run"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.mark.row(44)
@pytest.mark.slow
def test_torchrun_stops_is_continued_and_ends(tiny, working_directory, processes, figure):
    """As a user does: the signal goes to torchrun, which hands it on to both."""
    assert [each.status for each in processes(2, train, tiny, "whole")] == [0, 0]
    slowed = with_signal(tiny, rank=0, step=3, name="SIGSTOP", at="step")  # so that the signal comes in the middle
    Path("tiny.yaml").write_text(yaml.safe_dump(slowed))
    running = start([*TORCHRUN, *TRAIN])
    try:
        wait_for(Path("run/sent"), running)
        os.kill(running.pid, signal.SIGTERM)
        time.sleep(1)
        os.killpg(running.pid, signal.SIGCONT)
        for child in children_of(running.pid):
            os.kill(child, signal.SIGCONT)
        said, errors = running.communicate(timeout=60)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    assert said.count("saved: run/checkpoints/step_00000003.pt") == 1, said + errors
    assert "find_unused_parameters" not in errors
    again = start([*TORCHRUN, *TRAIN, "--resume"])
    said, errors = again.communicate(timeout=100)
    assert again.returncode == 0, errors
    assert said.count("step 3 of 10") == 1
    assert said.count("checkpoint: run/checkpoints/last.pt") == 1
    assert same_end("run", "whole")
    figure("SIGTERM to torchrun with 2 processes: step 3 saved once; --resume ends with the uninterrupted run's bits")


@pytest.mark.row(43)
@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_torchrun_starts_all_again_after_one_is_killed(tiny, working_directory, processes, rank, figure):
    """One command: --resume begins a run where there is none, and continues it in every restart."""
    assert [each.status for each in processes(2, train, tiny, "whole")] == [0, 0]
    Path("tiny.yaml").write_text(yaml.safe_dump(with_signal(tiny, rank=rank, step=5, name="SIGKILL", at="step")))
    said, errors = "", ""
    # Else the processes that are started again may find the addresses of those that are gone (pytorch issue 135712).
    own_store = dict(TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1")
    running = start([*TORCHRUN, "--max-restarts=1", *TRAIN, "--resume"], **own_store)
    try:
        said, errors = running.communicate(timeout=200)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == 0, said + errors
    assert said.count("nothing to resume") >= 1
    assert said.count("continuing from run/checkpoints/step_0000000") == 1
    same = same_end("run", "whole")
    figure(f"torchrun --max-restarts=1, SIGKILL to process {rank} of 2: continued, the bits of a whole run: {same}")
    assert same


def wait_for(path: Path, running: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.row(43)
@pytest.mark.slow
def test_without_torchrun_to_look_after_them_the_other_ends_too(tiny, working_directory, figure):
    """Two processes with the variables that torchrun would set; what is left ends with a clean error."""
    Path("tiny.yaml").write_text(yaml.safe_dump(with_signal(tiny, rank=1, step=5, name="SIGKILL", at="step")))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = dict(WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    first, second = (start(TRAIN, RANK=rank, LOCAL_RANK=rank, **common) for rank in ("0", "1"))
    second.communicate(timeout=100)
    killed = time.monotonic()
    _, errors = first.communicate(timeout=60)
    seconds = time.monotonic() - killed
    assert (first.returncode, second.returncode) == (2, -signal.SIGKILL)
    assert len(errors.splitlines()) < 10
    assert "Traceback" not in errors
    assert "error: process 0 of 2 stops: another one is gone" in errors
    assert "--resume" in errors
    assert load("run/checkpoints/last.pt")["step"] == 4
    assert seconds < 30
    figure(f"without torchrun: the other process ended with a clean error {seconds:.1f} s after SIGKILL; step 4 loads")
