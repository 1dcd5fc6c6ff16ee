"""Checkpoint files: written whole or not at all, verified before they are read, and nothing in them is ever run."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ...registry import UserError
from ...registry.experiment import in_todays_keys
from ...registry.sealed import SealingWriter, verify
from ...registry.system_errors import OF_WRITING
from .state_kinds import KINDS, require_kinds

logger = logging.getLogger("knoll")

FORMAT = 2  # 1 had no SHA-256, and the random draws of a run were others
KEYS = ("format", *KINDS)
LINKS = ("last.pt", "best.pt")
MOST_NAMED = 5  # in an error
_STEP_FILE = re.compile(r"step_(\d+)\.pt")
_TICK = 2.0  # seconds: what is changed twice within the clock's step has the same time
_whole: set[tuple[int, ...]] = set()  # files that this process has found whole


# --- writing ---------------------------------------------------------------------------------------------------------


def save(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint so that the file of that name is at every moment whole: the old one or the new one.

    Raises:
        OSError: it could not be written. What was there before is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(path) as partial, open(partial, "wb") as file:
        _write(state, file)
        file.flush()
        os.fsync(file.fileno())


def _write(state: dict[str, Any], file: BinaryIO) -> int:
    """Returns how many bytes that took."""
    writer = SealingWriter(file)
    try:
        torch.save({"format": FORMAT, **state}, writer)  # pyright: ignore[reportArgumentType]  it can write and flush
    except RuntimeError:
        if writer.error is None:
            raise
        raise writer.error from None
    writer.seal()
    return writer.size


def save_step(state: dict[str, Any], folder: Path, keep: int, best: bool) -> Path:
    """Write the checkpoint of a step, name it the last, and the best if it is; keep so many of the newest.

    Raises:
        UserError: it could not be written, for the disk is full, say; what was there before is untouched.
    """
    written = path = step_file(folder, state["step"])
    try:
        save(state, path)
        for name in LINKS if best else LINKS[:1]:
            written = folder / name
            link(path, written)
    except OSError as error:
        raise UserError(_not_written(written, error, state)) from error
    for old in step_files(folder)[:-keep]:
        try:
            old.unlink(missing_ok=True)
        except OSError as error:  # no reason to end a run
            logger.warning("%s could not be removed: %s", old, error.strerror)
    return path


def link(source: Path, name: Path) -> None:
    """Make `name` the same file as `source`: a second name, not a copy, so that it costs nothing and outlives it."""
    with _replacing(name) as partial:
        try:
            os.link(source, partial)
        except OSError:  # a file system without hard links
            with open(source, "rb") as whole, open(partial, "wb") as file:
                shutil.copyfileobj(whole, file)
                file.flush()
                os.fsync(file.fileno())


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A name for a file that then becomes `path`, on the disk too; or goes, if it could not be written."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # A file's new name is on the disk only once its folder is.
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems have no such thing for folders
            raise
    finally:
        os.close(handle)


def _not_written(path: Path, error: OSError, state: dict[str, Any]) -> str:
    room = remedy = ""
    if error.errno in OF_WRITING:
        with open(os.devnull, "wb") as nowhere:
            size = _write(state, nowhere)
        free = shutil.disk_usage(next(place for place in path.absolute().parents if place.is_dir())).free
        room = f"It takes {size / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free there. "
        remedy = "Make room, or keep fewer (hooks.checkpoint.keep); then "
    where = f" ({error.filename})" if error.filename and not error.filename2 else ""
    before = _newest_whole_in(path.parent, but=step_file(path.parent, state["step"]))
    return (
        f"the checkpoint {path} could not be written: {error.strerror or error}{where}\n"
        f"{room}{f'{before} is untouched and whole.' if before else 'There is none before it.'}\n"
        f"{remedy}--resume {'goes on from the last one' if before else 'begins again'}, or name another --work-dir."
    )


# --- reading ---------------------------------------------------------------------------------------------------------


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint, onto the CPU. Only plain types and tensors are accepted: nothing in the file is executed.

    Raises:
        UserError: no such file, a damaged one, or not a checkpoint of ours.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a checkpoint in it, such as {path / 'checkpoints' / 'last.pt'}")
    if not path.exists():
        raise UserError(f"there is no checkpoint {path}")
    try:
        with open(path, "rb") as file:  # held open: what is read is what was verified
            if reason := _damage(file):
                raise UserError(f"{path} cannot be used: {reason}{_whole_beside(path)}")
            state = torch.load(file, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # a file of anything can raise anything
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"{path} is not a checkpoint that can be read safely: {reason}") from error
    missing = [key for key in KEYS if key not in state] if isinstance(state, dict) else KEYS
    if missing:
        raise UserError(f"{path} is not a checkpoint of a run: it holds no {', '.join(missing)}")
    if state["format"] != FORMAT:
        raise UserError(f"{path} is of the format {state['format']!r}; this version reads {FORMAT}")
    require_kinds(state, path)
    state["config"] = in_todays_keys(state["config"])
    return state


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint file; None if it is what was written.

    Raises:
        UserError: it cannot be read, which says nothing about what is in it.
    """
    try:
        with open(path, "rb") as file:
            return _damage(file)
    except OSError as error:
        raise UserError(
            f"whether {path} is whole cannot be told: {error.strerror or error}. It stays as it is: try again, or move "
            "it away to go on without it"
        ) from error


def _damage(file: BinaryIO) -> str | None:
    status = os.fstat(file.fileno())
    this = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    if this in _whole:
        return None
    try:
        if not verify(file):
            return "it carries no SHA-256: it was cut off, or this version did not write it"
    except ValueError as error:
        return str(error)
    if time.time() - status.st_mtime > _TICK:
        _whole.add(this)
    return None


def _whole_beside(path: Path) -> str:
    whole = _newest_whole_in(path.parent)
    return f". The newest beside it that is whole is {whole}" if whole else ""


# --- choosing --------------------------------------------------------------------------------------------------------


def step_file(folder: Path, step: int) -> Path:
    return folder / f"step_{step:08d}.pt"


def step_files(folder: Path) -> list[Path]:
    """The checkpoints `step_*.pt` of a folder, oldest first, by their step and not by the clock."""
    return sorted((file for file in folder.glob("step_*.pt") if _step(file) >= 0), key=_step)


def _step(file: Path) -> int:
    match = _STEP_FILE.fullmatch(file.name)
    return int(match[1]) if match else -1


def newest(folder: Path) -> Path | None:
    """The checkpoint of the latest step in a run's folder, whole or not, or None."""
    files = step_files(folder / "checkpoints")
    return files[-1] if files else None


def _newest_whole_in(checkpoints: Path, but: Path | None = None) -> Path | None:
    """The newest that is whole, or else the last or the best; for the message of an error, so it raises none."""
    files = [*reversed(step_files(checkpoints)), *(checkpoints / name for name in LINKS)]
    return next((file for file in files if file.exists() and not _same(file, but) and _is_whole(file)), None)


def _same(file: Path, other: Path | None) -> bool:
    return other is not None and other.exists() and file.samefile(other)


def _is_whole(file: Path) -> bool:
    try:
        return damage(file) is None
    except UserError:
        return False


def newest_whole(folder: Path) -> Path | None:
    """The checkpoint of the latest step in a run's folder that is whole, or None if there is none at all.

    Raises:
        UserError: there are some, and all are damaged; or one cannot be read.
    """
    checkpoints = folder if step_files(folder) else folder / "checkpoints"
    damaged: dict[Path, str] = {}
    for file in reversed(step_files(checkpoints)):
        reason = damage(file)
        if reason is None:
            return file
        logger.warning("passed over: %s cannot be used: %s", file, reason)
        damaged[file] = reason
    if damaged:
        listed = "".join(f"\n  {file}: {reason}" for file, reason in list(damaged.items())[:MOST_NAMED])
        other = _newest_whole_in(checkpoints)
        remedy = f"{other} is whole: --resume {other}" if other else "Bring a copy back, or start a new run."
        raise UserError(f"no checkpoint of {folder} can be used:{listed}\n{remedy}")
    return None


# --- going on in a folder --------------------------------------------------------------------------------------------


def make_ready(folder: Path, step: int) -> None:
    """Prepare a folder of checkpoints for a run that begins, or goes on at a step.

    Whatever is of later steps is renamed: the run will write it anew. So is what is damaged, under whichever name; a
    damaged `last.pt` is named again by the next save, a damaged `best.pt` when the run has a new best. What a killed
    process left half written goes: one run at a time has this folder.

    Raises:
        UserError: one cannot be read; then nothing is renamed.
    """
    for file in folder.glob(".*.partial"):
        file.unlink(missing_ok=True)
    files = [*step_files(folder), *(folder / name for name in LINKS)]
    reasons = {file: damage(file) for file in files if file.exists()}  # all, before anything is renamed
    for file, reason in reasons.items():
        if reason:
            aside = f"{file.name}.damaged"
            logger.warning("%s is set aside as %s: %s", file, aside, reason)
            os.replace(file, file.with_name(aside))
        elif _step(file) > step:
            os.replace(file, file.with_name(f"{file.name}.superseded"))
