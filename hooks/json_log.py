"""The log as JSON lines, for programs to read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..registry import HOOKS, Duration
from ..registry.system_errors import naming
from .recorder import Recorder

if TYPE_CHECKING:
    from ..runner import Runner


@HOOKS.register_module()
class JSONLog(Recorder):
    """Appends to `log.jsonl`: one object a line, for training every so often and for every evaluation.

        {"step": 120, "epoch": 2.0, "set": "train", "loss": 1.2, "top1": 0.5, "learning_rate": 0.05, ...}
        {"step": 120, "epoch": 2.0, "set": "val", "loss": 1.1, "top1": 0.61, "data": "drawn flowers"}

    Args:
        every: how often training is recorded; evaluations are always.
    """

    def __init__(self, every: Duration = 20) -> None:
        super().__init__(every)
        self.file: TextIO | None = None

    def before_run(self, runner: Runner) -> None:
        super().before_run(runner)
        self.path = runner.work_dir / "log.jsonl"
        if self.path.exists():
            with naming(self.path):
                _drop_after(self.path, self.recorded or 0)
        self.file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 (closed in after_run)

    def record(self, runner: Runner, name: str, values: dict[str, float]) -> None:
        if self.file is not None:
            epoch = round(runner.step / runner.steps_per_epoch, 4)
            line = {"step": runner.step, "epoch": epoch, "set": name, **values, "data": runner.sources[name]}
            with naming(self.path):
                self.file.write(json.dumps(line) + "\n")
                self.file.flush()

    def after_run(self, runner: Runner) -> None:
        super().after_run(runner)
        if self.file is not None:
            with naming(self.path):
                self.file.close()


def _drop_after(path: Path, step: int) -> None:
    """Remove what a killed run recorded after a step, for it will be recorded again, and a line that the kill cut off.

    The log is whole at every moment: what is to be kept is written beside it and then takes its name.
    """
    there = path.read_text(encoding="utf-8", errors="replace")
    kept = "".join(f"{line}\n" for line in there.splitlines() if 0 <= _step(line) <= step)
    if kept == there:
        return
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(kept)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def _step(line: str) -> int:
    """The step of a line of the log; -1 of one that was cut off."""
    try:
        record: Any = json.loads(line)
        return record["step"] if isinstance(record["step"], int) else -1
    except (ValueError, KeyError, TypeError):
        return -1
