"""The log as JSON lines, for programs to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ..registry import HOOKS, Duration
from .hook import Hook
from .window import Window

if TYPE_CHECKING:
    from ..runner import Runner


@HOOKS.register_module()
class JSONLog(Hook):
    """Appends to `log.jsonl`: one object a line, for training every so often and for every evaluation.

        {"step": 120, "epoch": 2.0, "set": "train", "loss": 1.2, "learning_rate": 0.05, "images_per_second": 110.0}
        {"step": 120, "epoch": 2.0, "set": "val", "loss": 1.1, "top1": 0.61, "data": "drawn flowers"}

    Args:
        every: how often training is recorded.
    """

    only_records = True

    def __init__(self, every: Duration = 20) -> None:
        self.every = every
        self.file: TextIO | None = None

    def before_run(self, runner: Runner) -> None:
        self.steps = runner.interval(self.every)
        path = runner.work_dir / "log.jsonl"
        if path.exists():
            _drop_after(path, runner)
        self.file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (closed in after_run)
        self.window = Window()
        self.evaluated: dict[str, float] = {}

    def after_eval(self, runner: Runner, metrics: dict[str, float]) -> None:
        self.evaluated = metrics

    def end_iter(self, runner: Runner) -> None:
        self.window.add(runner)
        if runner.is_due(self.steps):
            self._write(runner, "train", self.window.read() | {"learning_rate": runner.learning_rate})
        if self.evaluated:
            for name in runner.evaluation_loaders:
                own = {key.partition("/")[2]: v for key, v in self.evaluated.items() if key.startswith(f"{name}/")}
                self._write(runner, name, own)
            self.evaluated = {}

    def _write(self, runner: Runner, name: str, values: dict[str, float]) -> None:
        epoch = round(runner.step / runner.steps_per_epoch, 4)
        record = {"step": runner.step, "epoch": epoch, "set": name, **values, "data": runner.sources[name]}
        if self.file is not None:
            self.file.write(json.dumps(record) + "\n")
            self.file.flush()

    def after_run(self, runner: Runner) -> None:
        if self.file is not None:
            self.file.close()


def _drop_after(path: Path, runner: Runner) -> None:
    """Remove what a killed run recorded after the checkpoint that is being continued: it will be recorded again."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= runner.step:
                kept.append(line + "\n")
        except (json.JSONDecodeError, KeyError):  # cut off in the middle by the kill
            continue
    path.write_text("".join(kept), encoding="utf-8")
