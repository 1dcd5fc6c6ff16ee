"""The log as JSON lines, for programs to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ..registry import HOOKS, Duration
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
        path = runner.work_dir / "log.jsonl"
        if path.exists():
            _drop_after(path, runner.step)
        self.file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (closed in after_run)

    def record(self, runner: Runner, name: str, values: dict[str, float]) -> None:
        if self.file is not None:
            epoch = round(runner.step / runner.steps_per_epoch, 4)
            line = {"step": runner.step, "epoch": epoch, "set": name, **values, "data": runner.sources[name]}
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()

    def after_run(self, runner: Runner) -> None:
        if self.file is not None:
            self.file.close()


def _drop_after(path: Path, step: int) -> None:
    """Remove what a killed run recorded after the checkpoint that is being continued: it will be recorded again."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (json.JSONDecodeError, KeyError):  # cut off in the middle by the kill
            continue
    path.write_text("".join(kept), encoding="utf-8")
