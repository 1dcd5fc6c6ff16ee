"""Checkpoint files: written whole or not at all, read without running anything that is in them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import torch

from ..registry import UserError

FORMAT = 2
KEYS = (
    *("format", "step", "epoch", "left", "model", "loss", "optimizer", "scaler", "hooks", "random"),
    *("metrics", "evaluated_at", "config", "name", "sources", "choices", "samples", "classes", "num_classes"),
)
_STEP_FILE = re.compile(r"step_(\d+)\.pt")


def save(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint so that the file of that name is at every moment whole: the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(path.parent)


def save_step(state: dict[str, Any], folder: Path, keep: int, best: bool) -> Path:
    """Write the checkpoint of a step, name it the last, and the best if it is; keep so many of the newest."""
    path = folder / f"step_{state['step']:08d}.pt"
    save(state, path)
    link(path, folder / "last.pt")
    if best:
        link(path, folder / "best.pt")
    for old in step_files(folder)[:-keep]:
        old.unlink()
    return path


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint, onto the CPU. Only plain types and tensors are accepted: nothing in the file is executed.

    Raises:
        UserError: no such file, or not a checkpoint of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"{path} is not a checkpoint that can be read safely: {reason}") from error
    missing = [key for key in KEYS if key not in state] if isinstance(state, dict) else KEYS
    if missing:
        raise UserError(f"{path} is not a checkpoint of a run: it holds no {', '.join(missing)}")
    if state["format"] != FORMAT:
        raise UserError(f"{path} is of the format {state['format']!r}; this version reads {FORMAT}")
    return state


def link(source: Path, name: Path) -> None:
    """Make `name` the same file as `source`: a second name, not a copy, so that it costs nothing and outlives it."""
    partial = name.with_name(f".{name.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:  # a file system without hard links
        partial.write_bytes(source.read_bytes())
    os.replace(partial, name)
    _sync_folder(name.parent)


def step_files(folder: Path) -> list[Path]:
    """The checkpoints `step_*.pt` of a folder, oldest first, by their step and not by the clock."""
    return sorted((file for file in folder.glob("step_*.pt") if _step(file) >= 0), key=_step)


def _step(file: Path) -> int:
    match = _STEP_FILE.fullmatch(file.name)
    return int(match[1]) if match else -1


def newest(folder: Path) -> Path | None:
    """The checkpoint of the latest step in a run's folder, or None."""
    files = step_files(folder / "checkpoints")
    return files[-1] if files else None


def set_aside(folder: Path, after: int) -> None:
    """Rename the checkpoints of later steps: a run that continues from an earlier one will write them anew."""
    for file in step_files(folder):
        if _step(file) > after:
            os.replace(file, file.with_name(f"{file.name}.superseded"))


def _sync_folder(folder: Path) -> None:
    # A file's new name is on the disk only once its folder is.
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
