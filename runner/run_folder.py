"""The folder of a run: its config, its log, and the environment it ran in."""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..registry import Config, UserError
from ..registry.discover import PACKAGE_ROOT
from .checkpoint import make_ready, newest
from .known_holes import warn_of_known_holes

if TYPE_CHECKING:
    from .runner import Runner

RUNS = Path("runs")


def make(folder: Path, by_time: bool) -> Path:
    """Make the folder of a run; `by_time`, a new one in it that is named by the time, and no other run's."""
    if not by_time:
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    started, number = time.strftime("%Y%m%d-%H%M%S"), 1
    while True:
        named = folder / (started if number == 1 else f"{started}-{number}")
        try:
            named.mkdir(parents=True)
            return named
        except FileExistsError:  # another run, started in the same second
            number += 1


def require_usable(folder: Path, resuming: bool) -> None:
    """Refuse a folder that the run could not be kept in, without making it yet.

    Raises:
        UserError: there is a file of that name, no permission to write, or another run in it.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise UserError(f"the run's folder {folder} cannot be made: {there} is a file")
    if not os.access(there, os.W_OK):
        raise UserError(f"the run's folder {folder} cannot be made: no permission to write in {there}")
    if newest(folder) and not resuming:
        raise UserError(f"{folder} holds a run already: add --resume to continue it, or choose another --work-dir")


def begin(runner: Runner, by_time: bool) -> logging.Handler:
    """Make the run's folder, as the first of its processes, and write into it; the others learn its name.

    Returns:
        the handler of the log, for `stop_logging_to`.
    """
    first = runner.world.is_first
    runner.work_dir = runner.world.of_first(make(runner.work_dir, by_time) if first else runner.work_dir)
    if not first:
        return logging.NullHandler()
    log = log_to(runner.work_dir)
    describe(runner.work_dir, runner.config, runner.step)
    make_ready(runner.work_dir / "checkpoints", runner.step)
    return log


def describe(folder: Path, config: Config, step: int) -> None:
    """Write down what ran: `config.yaml`, which alone runs the experiment again, and `environment.json`.

    A run that continues at a step writes files of its own, named by that step.
    """
    since = f"-step_{step:08d}" if step else ""
    (folder / f"config{since}.yaml").write_text(config.to_yaml(), encoding="utf-8")
    environment = {
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "cpu_threads": torch.get_num_threads(),
        "packages": {each.metadata["Name"]: each.version for each in distributions()},
        "git": {str(place): state for place in _repositories() if (state := _git_state(place, folder, since))},
    }
    text = json.dumps(environment, indent=1, sort_keys=True)
    (folder / f"environment{since}.json").write_text(text, encoding="utf-8")


def _repositories() -> list[Path]:
    return list(dict.fromkeys([PACKAGE_ROOT, Path.cwd().resolve()]))


def _git_state(place: Path, folder: Path, since: str) -> dict | None:
    """Commit and uncommitted changes of a checkout; the difference itself goes into a file beside."""
    commit = _git(place, "rev-parse", "HEAD")
    if commit is None:
        return None
    difference = _git(place, "diff", "HEAD") or ""
    if difference:
        (folder / f"{place.name or 'code'}{since}.diff").write_text(difference, encoding="utf-8")
    untracked = (_git(place, "ls-files", "--others", "--exclude-standard") or "").split("\n")
    return {"commit": commit.strip(), "changed": bool(difference), "untracked": [name for name in untracked if name]}


def _git(place: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=place, capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


class _Console(logging.Handler):
    """Prints to what sys.stdout is at that moment: a progress bar replaces it to keep lines above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stdout, flush=True)


class _Kept(logging.handlers.BufferingHandler):
    """Keeps what is logged before a run has its folder: what became of the weights, what is frozen."""

    def flush(self) -> None: ...  # not when it is full: when there is a file to write to


def start_logging(rank: int = 0) -> logging.Logger:
    """The log that a person reads, on the console. What a new run logs before it has a folder is kept for its file.

    Of several processes only the first (rank 0) says what all could say; the others only warn.
    """
    logger = logging.getLogger("knoll")
    for handler in [each for each in logger.handlers if isinstance(each, _Kept)]:
        logger.removeHandler(handler)
    if rank == 0:
        logger.addHandler(_Kept(capacity=0))
    if not any(isinstance(handler, _Console) for handler in logger.handlers):
        logger.addHandler(_Console())
        logger.propagate = False
    logger.setLevel(logging.INFO if rank == 0 else logging.WARNING)
    if rank == 0:
        warn_of_known_holes()
    return logger


def log_to(folder: Path) -> logging.Handler:
    """The log is kept in `log.txt` too, from where it began. Returns the handler, for `stop_logging_to`."""
    handler = logging.FileHandler(folder / "log.txt", encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("knoll")
    for kept in [each for each in logger.handlers if isinstance(each, _Kept)]:
        for record in kept.buffer:
            handler.handle(record)
        logger.removeHandler(kept)
    logger.addHandler(handler)
    return handler


def stop_logging_to(handler: logging.Handler) -> None:
    logging.getLogger("knoll").removeHandler(handler)
    handler.close()
