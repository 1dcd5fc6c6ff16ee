"""Where a run is kept: what is refused before it begins, and which run is the newest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from knoll.registry import UserError
from knoll.runner import Runner
from knoll.runner.saving.checkpoint import newest, save
from knoll.runner.saving.resume import find_checkpoint
from knoll.runner.saving.run_folder import make, require_usable


@pytest.fixture
def disk():
    """A small file system of its own, 256 KiB."""
    folder = Path(tempfile.mkdtemp())
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"a file system can not be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


def a_file(folder: Path) -> Path:
    (folder / "run").write_text("mine")
    return folder / "run"


def below_a_file(folder: Path) -> Path:
    return a_file(folder) / "deeper" / "still"


def a_broken_link(folder: Path) -> Path:
    (folder / "run").symlink_to("gone")
    return folder / "run"


def a_link_to_itself(folder: Path) -> Path:
    (folder / "run").symlink_to("run")
    return folder / "run"


def a_long_name(folder: Path) -> Path:
    return folder / ("x" * 300)


def in_proc(folder: Path) -> Path:
    return Path("/proc/knoll/run")


def in_sys(folder: Path) -> Path:
    return Path("/sys/kernel/knoll")


def refusal(config: dict, place: Path, parent: Path) -> tuple[str, float]:
    """What is said of a folder, and after how many seconds; nothing may be left behind."""
    before = sorted(os.listdir(parent))
    start = time.monotonic()
    with pytest.raises(UserError) as error:
        Runner(config, place)
    seconds = time.monotonic() - start
    assert sorted(os.listdir(parent)) == before
    assert str(place) in str(error.value)
    assert str(error.value).count("\n") < 9
    return str(error.value), seconds


@pytest.mark.row(7)
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (a_file, "is a file. Remove it, or choose another --work-dir"),
        (below_a_file, "is a file. Remove it, or choose another --work-dir"),
        (a_broken_link, "is a link to gone, which is not there. Remove it, or choose another --work-dir"),
        (a_link_to_itself, "is a link to run, which is not there"),
        (a_long_name, "File name too long: choose a shorter name"),
        (in_proc, "cannot be used: /proc: "),
        (in_sys, "cannot be used: /sys/kernel: "),
    ],
)
def test_a_folder_that_cannot_be_is_refused_before_anything_else(tiny, working_directory, figure, bad, message):
    place = bad(working_directory)
    if bad in (in_proc, in_sys) and not Path("/", place.parts[1], "kernel" if bad is in_sys else "self").exists():
        pytest.skip(f"there is no /{place.parts[1]} here")
    said, seconds = refusal(tiny, place, working_directory)
    assert message in said
    assert seconds < 5
    figure(f"{bad.__name__}: refused after {seconds:.2f} s")


@pytest.mark.row(7)
def test_a_read_only_file_system(tiny, disk, figure):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for place in (disk, disk / "run"):
        said, seconds = refusal(tiny, place, disk)
        assert "Read-only file system: choose a place that can be written to" in said
        assert seconds < 5
        figure(f"read-only file system: refused after {seconds:.2f} s")


@pytest.mark.row(7)
def test_a_full_disk(tiny, disk, figure):
    said, seconds = refusal(tiny, disk / "run", disk)
    assert f"{disk}: No space left on device: make room there" in said
    assert seconds < 5
    figure(f"full disk: refused after {seconds:.2f} s")


@pytest.mark.row(7)
def test_no_permission(forked, figure):
    """As an ordinary user, for root may write where it is forbidden."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)

    def try_it() -> None:
        if os.getuid() == 0:
            os.setuid(65534)
        with pytest.raises(UserError, match=f"{folder}: Permission denied: give yourself the permission"):
            require_usable(folder / "run")

    start = time.monotonic()
    assert os.waitpid(forked(try_it), 0)[1] == 0
    assert not list(folder.iterdir())
    figure(f"no permission: refused after {time.monotonic() - start:.2f} s")
    shutil.rmtree(folder)


def test_a_folder_that_can_be_used_is_left_as_it_was(working_directory):
    require_usable(working_directory / "a/b/c")
    (working_directory / "there").mkdir()
    require_usable(working_directory / "there")
    assert [str(each.name) for each in working_directory.rglob("*")] == ["there"]


def test_a_run_does_not_go_on_in_the_folder_of_another(working_directory):
    """From a checkpoint that lies in there it does, by whichever name of the folder."""
    for run in ("a", "b"):
        save({"step": 1}, Path(run, "checkpoints/step_00000001.pt"))
    kept = sorted(working_directory.rglob("*"))
    with pytest.raises(UserError, match=r"b holds a run already, and a/checkpoints/step_00000001\.pt is none of its"):
        require_usable(Path("b"), Path("a/checkpoints/step_00000001.pt"))
    assert sorted(working_directory.rglob("*")) == kept
    require_usable(Path("new"), Path("a/checkpoints/step_00000001.pt"))
    (working_directory / "c").symlink_to("b")
    for own in ("b/checkpoints/step_00000001.pt", working_directory / "c/checkpoints/step_00000001.pt", "b/copy.pt"):
        require_usable(Path("b"), own)


@pytest.mark.row(9)
def test_the_newest_checkpoint_is_that_of_the_latest_step(tiny, working_directory, figure):
    tiny["hooks"]["checkpoint"]["keep"] = 9
    Runner(tiny, "run").train()
    files = sorted((working_directory / "run/checkpoints").glob("step_*.pt"))
    for age, file in enumerate(files):
        os.utime(file, (1_700_000_000 - age * 3600,) * 2)  # the later the step, the older by the clock
    assert max(files, key=lambda file: file.stat().st_mtime) == files[0]
    assert newest(working_directory / "run") == files[-1]
    resumed = Runner(tiny, "run", resume=find_checkpoint("run", "tiny", None))
    assert resumed.step == 12
    figure(f"with the times of {len(files)} files reversed, step {resumed.step} is taken")


@pytest.mark.row(9)
def test_the_newest_run_is_the_one_started_last_whatever_the_clock_says(working_directory, monkeypatch, figure):
    runs = Path("runs/x")
    clock = ["20260105-120000"] * 12 + ["20260105-115959", "20250101-000000", "20260105-120001", "20250101-000000"]
    right = 0
    for now in clock:
        monkeypatch.setattr(time, "strftime", lambda *_, now=now: now)
        run = make(runs, by_time=True)
        save({"step": 1}, run / "checkpoints/step_00000001.pt")
        right += find_checkpoint("auto", "x", None) == run / "checkpoints/step_00000001.pt"
    assert right == len(clock) == len(list(runs.iterdir()))
    assert (runs / "20260105-120000-10").is_dir()
    figure(f"{right} of {len(clock)} runs, started with the clock standing still or set back, were the newest")


def test_a_folder_of_another_name_is_no_newest_run(working_directory):
    run = make(Path("runs/x"), by_time=True)
    (Path("runs/x") / "the good one").mkdir()
    (Path("runs/x") / "99999999-999999").write_text("a file")
    save({"step": 1}, run / "checkpoints/step_00000001.pt")
    assert find_checkpoint("auto", "x", None) == run / "checkpoints/step_00000001.pt"


if sys.platform == "win32":
    pytestmark = pytest.mark.skip("links, mounts and users as Unix has them")
