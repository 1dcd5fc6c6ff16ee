"""The folder of a run: which, whether it can be used, and what is written down there of what ran."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch

from ...registry import Config, UserError
from ...registry.discover import PACKAGE_ROOT
from ...registry.system_errors import in_words, naming
from ..logs import logging_to
from .checkpoint import make_ready, newest
from .lock import locked, require_free

if TYPE_CHECKING:
    from ..runner import Runner

RUNS = Path("runs")
_BY_TIME = re.compile(r"(\d{8})-(\d{6})(?:-(\d+))?")
_ROOM = 2**20  # bytes that a folder must at least have room for: config, log, the first figures


def runs_of(folder: Path) -> list[Path]:
    """The runs in a folder that are named by the time, in the order in which they were started."""
    runs = [(started, run) for run in folder.glob("*") if (started := _started(run)) and run.is_dir()]
    return [run for _, run in sorted(runs)]


def _started(run: Path) -> tuple[str, str, int] | None:
    match = _BY_TIME.fullmatch(run.name)
    return (match[1], match[2], int(match[3] or 1)) if match else None


def make(folder: Path, by_time: bool) -> Path:
    """Make the folder of a run; `by_time`, a new one in it that is named by the time, and no other run's.

    It comes after every one that is there, whatever the clock says: the newest run is the one that was started last.
    """
    if not by_time:
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    day, clock = time.strftime("%Y%m%d-%H%M%S").split("-")
    last = max((started for each in folder.glob("*") if (started := _started(each))), default=None)
    number = 1
    if last and (day, clock, number) <= last:  # started in the same second, or the clock was set back
        day, clock, number = last[0], last[1], last[2] + 1
    while True:
        named = folder / (f"{day}-{clock}" if number == 1 else f"{day}-{clock}-{number}")
        try:
            named.mkdir(parents=True)
            return named
        except FileExistsError:  # another run, started at this moment
            number += 1


def require_usable(folder: Path, resume: str | Path | None = None) -> None:
    """Refuse a folder that a run could not be kept in. Nothing is left in it, and it is not made yet.

    Args:
        folder: the run's folder.
        resume: the checkpoint that the run continues from, if it does.

    Raises:
        UserError: there is something else of that name, a run is in it or has been that is not the one to continue, or
            it cannot be written to.
    """
    refused = f"the run's folder {folder} cannot be used"
    there = folder
    try:
        there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
        if not there.is_dir():
            what = "is a file" if there.exists() else f"is a link to {os.readlink(there)}, which is not there"
            raise UserError(f"{refused}: {there} {what}. Remove it, or choose another --work-dir")
        require_free(folder)
        if resume is None:
            require_new(folder)
        else:
            _require_own(folder, Path(resume))
        _try_writing(there)
    except OSError as error:
        error.filename = str(there)  # not that of the trial
        raise UserError(f"{refused}: {in_words(error)}") from error


def _try_writing(folder: Path) -> None:
    """Really: by os.access root may write everywhere, and a full disk is no question of permission."""
    with TemporaryDirectory(dir=folder, prefix=".knoll-") as trial, open(Path(trial, "trial"), "wb") as file:
        file.write(bytes(_ROOM))
        file.flush()
        os.fsync(file.fileno())


def require_new(folder: Path) -> None:
    """Refuse a folder that holds a run."""
    if newest(folder):
        raise UserError(f"{folder} holds a run already: add --resume to continue it, or choose another --work-dir")


def _require_own(folder: Path, checkpoint: Path) -> None:
    """Refuse a folder that holds a run, for one that continues from a checkpoint elsewhere."""
    if newest(folder) and folder.resolve() not in [checkpoint.parent.resolve(), *checkpoint.parent.resolve().parents]:
        raise UserError(
            f"{folder} holds a run already, and {checkpoint} is none of its checkpoints: choose another --work-dir, "
            f"or continue the run in there with --resume {folder}"
        )


@contextmanager
def held(runner: Runner, by_time: bool, resuming: bool) -> Iterator[None]:
    """Make the run's folder, keep others out of it, and write down there what runs and what is logged meanwhile.

    Of several processes the first does all this; the others learn the folder's name.

    Raises:
        UserError: another run is in the folder, or has been since the Runner was built.
    """
    if not runner.world.is_first:
        runner.work_dir = runner.world.of_first(runner.work_dir)
        yield
        return
    runner.work_dir = make(runner.work_dir, by_time)
    with locked(runner.work_dir):
        if not resuming:
            require_new(runner.work_dir)
        runner.world.of_first(runner.work_dir)
        with logging_to(runner.work_dir):
            describe(runner.work_dir, runner.config, runner.step)
            make_ready(runner.work_dir / "checkpoints", runner.step)
            yield


def describe(folder: Path, config: Config, step: int) -> None:
    """Write down what ran: `config.yaml`, which alone runs the experiment again, and `environment.json`.

    A run that continues at a step writes files of its own, named by that step.
    """
    since = f"-step_{step:08d}" if step else ""
    _write(folder / f"config{since}.yaml", config.to_yaml())
    environment = {
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "cpu_threads": torch.get_num_threads(),
        "packages": _packages(),
        "git": {str(place): state for place in _repositories() if (state := _git_state(place, folder, since))},
    }
    _write(folder / f"environment{since}.json", json.dumps(environment, indent=1, sort_keys=True))


def _packages() -> dict[str, str]:
    """What is installed, and its versions, by the names of folders: what is in them takes long to read."""
    # Of two of a name the first place counts, as when they are imported.
    folders = (folder for place in reversed(sys.path) for folder in sorted(Path(place or ".").glob("*.dist-info")))
    return {name: version for name, _, version in (each.stem.partition("-") for each in folders)}


def _write(path: Path, text: str) -> None:
    with naming(path):
        path.write_text(text, encoding="utf-8")


def _repositories() -> list[Path]:
    return list(dict.fromkeys([PACKAGE_ROOT, Path.cwd().resolve()]))


def _git_state(place: Path, folder: Path, since: str) -> dict | None:
    """Commit and uncommitted changes of a checkout; the difference itself goes into a file beside."""
    commit = _git(place, "rev-parse", "HEAD")
    if commit is None:
        return None
    difference = _git(place, "diff", "HEAD") or ""
    if difference:
        _write(folder / f"{place.name or 'code'}{since}.diff", difference)
    untracked = (_git(place, "ls-files", "--others", "--exclude-standard") or "").split("\n")
    return {"commit": commit.strip(), "changed": bool(difference), "untracked": [name for name in untracked if name]}


def _git(place: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=place, capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
