"""Two runs in one folder: the second is refused, whatever becomes of the first."""

from __future__ import annotations

import errno
import os
import platform
import signal
import time
from pathlib import Path

import pytest

from knoll.hooks.hook import Hook
from knoll.registry import HOOKS, UserError
from knoll.runner import Runner
from knoll.runner.saving.checkpoint import load


class Pausing(Hook):
    """Waits in the middle of a run, after a checkpoint."""

    def end_iter(self, runner) -> None:
        if runner.step == 3 and not Path("paused").exists():
            Path("workers").write_text(" ".join(map(str, children(os.getpid()))))
            runner.saver.wait()
            Path("paused").touch()
            time.sleep(60)


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def contents(folder: Path) -> dict[str, bytes]:
    return {str(each): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.fixture
def pausing(tiny):
    HOOKS.register_module(module=Pausing)
    tiny["hooks"]["pausing"] = dict(type="Pausing")
    yield tiny
    del HOOKS.module_dict["Pausing"]


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.02)


@pytest.mark.row(8)
@pytest.mark.skipif(platform.system() != "Linux", reason="needs fork and /proc")
def test_the_second_run_is_refused_and_the_folder_is_free_at_once_after_a_kill(
    pausing, forked, working_directory, figure
):
    """Killed with -9 while its two forked workers live on: they hold no lock."""
    pausing["train"] |= dict(num_workers=2, start_method="fork")
    first = forked(lambda: Runner(pausing, "run").train())
    wait_for(Path("paused"))
    before = contents(Path("run"))
    waited = []
    for resume in (None, "run/checkpoints/step_00000002.pt"):
        start = time.monotonic()
        with pytest.raises(UserError) as error:
            Runner(pausing, "run", resume=resume)
        waited.append(time.monotonic() - start)
        assert f"run is in use by a run: process {first} on {platform.node()}, since 20" in str(error.value)
        assert f"kill {first}" in str(error.value)
    assert max(waited) < 2
    assert contents(Path("run")) == before

    workers = [int(each) for each in Path("workers").read_text().split()]
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    alive = [worker for worker in workers if is_alive(worker)]
    start = time.monotonic()
    resumed = Runner(pausing, "run", resume="run/checkpoints/step_00000002.pt")
    while_alive = [worker for worker in alive if is_alive(worker)]
    resumed.train()
    assert len(while_alive) == 2, "the workers of the first were gone before the second had looked"
    assert load("run/checkpoints/last.pt")["step"] == 12
    figure(
        f"{len(waited)} of 2 refused, after at most {max(waited):.2f} s; free at once after kill -9, "
        f"while {len(while_alive)} forked workers of the first were alive"
    )


@pytest.mark.row(8)
def test_of_two_runs_that_were_built_at_the_same_time_one_trains(tiny, working_directory):
    first, second = Runner(tiny, "run"), Runner(tiny, "run")
    refused = []

    def intrude() -> None:
        start = time.monotonic()
        before = contents(Path("run"))
        with pytest.raises(UserError, match="in use by a run"):
            second.train()
        refused.append(time.monotonic() - start)
        assert contents(Path("run")) == before

    step = first.update.step
    first.update.step = lambda: (intrude() if first.step == 1 else None, step())
    first.train()
    assert len(refused) == 1
    assert refused[0] < 2
    with pytest.raises(UserError, match="run holds a run already: add --resume"):
        second.train()


@pytest.mark.row(8)
def test_the_folder_is_free_after_a_run_that_ended_or_failed(tiny, monkeypatch):
    runner = Runner(tiny | dict(duration=4), "run")
    step = runner.update.step
    monkeypatch.setattr(runner.update, "step", lambda: step() if runner.step < 2 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        runner.train()
    for _ in range(2):
        Runner(tiny | dict(duration=4), "run", resume="run/checkpoints/step_00000002.pt").train()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_a_warning(tiny, monkeypatch, capsys, number):
    def no_locks(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", no_locks)
    Runner(tiny | dict(duration=2), "run").train()
    Runner(tiny | dict(duration=2), "run", resume="run/checkpoints/last.pt").train()
    assert capsys.readouterr().out.count("run is on a file system without locks") == 2
