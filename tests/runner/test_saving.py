"""Saving beside the training thread: killed in the middle, on a full disk, and what training sees of it."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from knoll.registry import UserError
from knoll.runner import Runner
from knoll.runner.saving.checkpoint import damage, load, make_ready, newest, step_files
from knoll.runner.saving.resume import find_checkpoint
from knoll.runner.saving.saver import Saver
from knoll.runner.saving.state_kinds import KINDS

# A part of each kind that a checkpoint has, empty.
PLAIN = {key: getattr(kind, "__origin__", kind)() for key, kind in KINDS.items()} | dict(world_size=1)


def state(step: int, megabytes: float = 1.0) -> dict:
    weight = torch.full((int(megabytes * 250_000),), float(step))
    return {**PLAIN, "step": step, "model": {"weight": weight}}


def child(work: Callable[[], object]) -> int:
    """A copy of this process, which has everything imported, that does something and ends. Returns its id."""
    process = os.fork()
    if process == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return process


@pytest.fixture
def small_disk(working_directory) -> Iterator[Path]:
    """A disk of 4 MB of its own."""
    disk = working_directory / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.row(1)
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_in_the_middle_of_saves(working_directory, figure):
    """Each process goes on from what the last one left, as a run that is resumed does, and saves 8 MB step by step."""
    run, folder = working_directory / "run", working_directory / "run/checkpoints"

    def save_without_end() -> None:
        found = find_checkpoint("auto", "tiny", run)
        step = load(found)["step"] if found else 0
        make_ready(folder, step)
        saver = Saver()
        while True:
            step += 1
            saver.save(state(step, megabytes=8), folder, keep=2, best=step % 3 == 0)

    draw = random.Random(0)
    whole = in_a_save = left_over = last = 0
    for _ in range(50):
        reached = int(found.stem[5:]) if (found := newest(run)) else 0
        process = child(save_without_end)
        while not (found := newest(run)) or int(found.stem[5:]) <= reached:  # it has begun to save
            time.sleep(0.002)
        assert not list(folder.glob(f".*.{last}.partial"))  # what the one before left went when this one began
        time.sleep(draw.uniform(0, 0.2))
        os.kill(process, signal.SIGKILL)
        assert os.WTERMSIG(os.waitpid(process, 0)[1]) == signal.SIGKILL
        last = process
        in_a_save += bool(list(folder.glob(".*.partial")))
        listed = newest(run)
        assert listed is not None
        step = int(listed.stem[5:])
        content = load(listed)
        whole += content["step"] == step and bool((content["model"]["weight"] == step).all())
        assert all(damage(folder / name) is None for name in ("last.pt", "best.pt") if (folder / name).exists())
    left_over = len(list(folder.glob(".*.partial")))
    make_ready(folder, step)
    assert not list(folder.glob(".*"))
    assert whole == 50
    assert in_a_save >= 25  # else the kills would show little
    figure(
        f"{whole} of 50 kills: the newest checkpoint is whole; {in_a_save} fell into a save; what was half written "
        f"went at the next start ({left_over} the last time)"
    )


@pytest.mark.row(6)
def test_a_full_disk(small_disk, figure):
    folder = small_disk / "checkpoints"
    saver = Saver()
    for step in (1, 2, 3):
        saver.save(state(step, 1.25), folder, keep=9, best=False)
    saver.wait()
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    saver.save(state(4, 1.25), folder, keep=9, best=True)
    with pytest.raises(UserError) as error:
        saver.wait()
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    told = str(error.value).splitlines()
    assert told[0] == f"the checkpoint {folder / 'step_00000004.pt'} could not be written: No space left on device"
    assert told[1] == (
        f"It takes 1.3 MB, and {free / 1e6:,.1f} MB are free there. "
        f"{folder / 'step_00000003.pt'} is untouched and whole."
    )
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before  # nothing new, nothing half written
    (folder / "step_00000001.pt").unlink()
    saver.save(state(4, 1.25), folder, keep=9, best=True)
    saver.wait()
    assert load(folder / "best.pt")["step"] == 4
    figure(f"disk of 4 MB: {len(before)} files before are the same byte for byte, no temporary file is left")


@pytest.mark.row(6)
def test_a_run_on_a_full_disk_ends_with_the_error_and_goes_on_with_the_same_bits(tiny, small_disk, fingerprint, logged):
    tiny["hooks"]["checkpoint"] |= dict(every=1, keep=99)
    whole = Runner(tiny, "whole")
    whole.train()
    with pytest.raises(UserError, match=r"could not be written: No space left on device(.|\n)*is untouched and whole"):
        Runner(tiny, small_disk / "run").train()
    kept = find_checkpoint("must", "tiny", small_disk / "run")
    assert not list((small_disk / "run/checkpoints").glob(".*"))
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    resumed = Runner(tiny, small_disk / "run", resume=kept)
    assert 0 < resumed.step < 12
    resumed.train()
    last = "checkpoints/last.pt"
    assert fingerprint(small_disk / "run" / last) == fingerprint(Path("whole", last))


@pytest.mark.row(6)
def test_a_limit_on_the_size_of_files(working_directory, figure):
    """In a process of its own: the limit can be set once."""
    folder = working_directory / "checkpoints"

    def save() -> None:
        saver = Saver()
        saver.save(state(1, 1), folder, keep=9, best=True)
        saver.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
        try:
            saver.save(state(2, 4), folder, keep=9, best=True)
            saver.wait()
        except UserError as error:
            Path("told").write_text(str(error))

    assert os.waitpid(child(save), 0)[1] == 0
    told = Path("told").read_text()
    assert told.startswith(
        f"the checkpoint {folder / 'step_00000002.pt'} could not be written: File too large\nIt takes 4"
    )
    assert sorted(file.name for file in folder.iterdir()) == ["best.pt", "last.pt", "step_00000001.pt"]
    assert all(load(file)["step"] == 1 for file in folder.iterdir())
    figure("files limited to 2 MB (RLIMIT_FSIZE): " + told.splitlines()[0].rpartition(": ")[2])


class Slow:
    """Holds the thread that writes back, at the point where it would wait for the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go_on = threading.Event()
        self.at_once = self.most = 0
        fsync = os.fsync

        def wait(handle: int) -> None:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            assert self.go_on.wait(timeout=30)
            fsync(handle)
            self.at_once -= 1

        monkeypatch.setattr(os, "fsync", wait)


def test_training_goes_on_while_the_disk_is_slow_and_what_is_written_is_what_was_copied(working_directory, monkeypatch):
    disk, saver = Slow(monkeypatch), Saver()
    now = state(1)
    path = saver.save(now, working_directory, keep=9, best=False)
    now["model"]["weight"] += 1  # the next step, before anything is on the disk
    assert not path.exists()
    threading.Timer(0.2, disk.go_on.set).start()
    saver.save(state(2), working_directory, keep=9, best=False)  # waits for the first
    assert path.exists()
    saver.wait()
    assert disk.most == 1
    assert set(load(path)["model"]["weight"].tolist()) == {1.0}
    assert [file.name for file in step_files(working_directory)] == [path.name, "step_00000002.pt"]


def test_what_went_wrong_is_raised_once_and_as_it_is(working_directory):
    (working_directory / "checkpoints").write_text("a file in the place of the folder")
    saver = Saver()
    saver.check()
    saver.wait()
    saver.save(state(1), working_directory / "checkpoints", keep=1, best=False)
    assert saver._thread is not None
    saver._thread.join()
    with pytest.raises(UserError, match=r"written: File exists \(.*/checkpoints\)\nThere is none before it\."):
        saver.check()
    saver.check()
    saver.wait()


def test_a_run_ends_at_the_step_after_a_failed_save(tiny, monkeypatch):
    """The hook asks after every step, also when no save is due."""
    tiny["hooks"]["checkpoint"] |= dict(every=12, best=None)
    runner = Runner(tiny, "run")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    step = runner.update.step

    def save_after_the_third() -> None:
        step()
        if runner.step == 3:
            with monkeypatch.context() as patched:
                patched.setattr(os, "replace", full)
                runner.save(keep=2, best=False)
                assert runner.saver._thread is not None
                runner.saver._thread.join()

    runner.update.step = save_after_the_third
    with pytest.raises(UserError, match="No space left on device"):
        runner.train()
    assert runner.step == 4


@pytest.mark.parametrize("workers", [0, 1])
def test_no_worker_is_forked_while_a_thread_writes(tiny, workers):
    tiny["evaluation"]["val"]["num_workers"] = workers
    runner = Runner(tiny, "run")
    waited = []
    runner.saver = SimpleNamespace(wait=lambda: waited.append(runner.step))  # pyright: ignore[reportAttributeAccessIssue]
    runner.evaluate()
    assert waited == [0] * workers


@pytest.mark.slow
def test_a_program_that_ends_with_an_error_waits_for_what_it_was_saving(working_directory):
    program = f"""
import torch
from knoll.runner.saving.saver import Saver
from pathlib import Path
state = {{**{PLAIN!r}, "step": 1, "model": {{"weight": torch.ones(20_000_000)}}}}
Saver().save(state, Path({str(working_directory)!r}), keep=1, best=False)
raise SystemExit(3)
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 3
    assert load("step_00000001.pt")["model"]["weight"].sum() == 20_000_000
