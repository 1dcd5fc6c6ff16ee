"""An uninterrupted run, and one that is interrupted and resumed: a few steps of each, compared bit by bit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ...hooks.checkpoint import Checkpoint
from ...hooks.evaluation import Evaluation
from ...hooks.progress_bar import ProgressBar
from ...registry import HOOKS, Config, UserError
from .explain import does_not_repeat, explain
from .part import Part, run_here, run_killed
from .watch import LEFT, RESTORED, Difference, Seen

EVALUATE_EVERY = 3  # steps: so that a run may stop between two evaluations, with the metrics of the last


@dataclass
class Compared:
    """One part of the interrupted run: its steps, its worker processes, and how many entries were compared."""

    first: int
    last: int
    workers: int
    entries: int


@dataclass
class Report:
    """What came out.

    Args:
        parts: those of the interrupted run that were run.
        explanation: where it first differs, and why; none if it is equal.
    """

    steps: int
    stops: list[int]
    killed: bool
    parts: list[Compared] = field(default_factory=list)
    explanation: list[str] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        return not self.explanation


def verify(
    config: Config, steps: int = 8, stops: Sequence[int] = (), workers: int | None = None, kill: bool = False
) -> Report:
    """Compare a run of so many steps with one that is stopped after each of `stops` and resumed from its checkpoint.

    Both are of the config, with its duration cut to `steps`, so that durations in percent mean the same to both. What
    is compared: before each step its batches and the generators; then logits and loss; after it model, loss, optimizer,
    scaler, hooks, metrics and generators, all that a checkpoint holds; and the same once it has been loaded. Evaluation
    sets are cut to a few batches. Nothing is left on the disk.

    Args:
        config: one that has passed the check.
        stops: by default one in the middle.
        workers: processes that read ahead for the resumed parts; by default as the config says.
        kill: every part in a process of its own, ended by SIGKILL; else all in this process, where what a module or a
            class keeps outlasts a stop.

    Raises:
        UserError: a stop that is none, or a mistake in the config.
    """
    if steps < 2:
        raise UserError(f"--steps {steps}: at least 2, for a run is stopped between two of them")
    stops = sorted(set(stops)) or [steps // 2]
    if outside := [stop for stop in stops if not 0 < stop < steps]:
        raise UserError(f"--at {outside[0]}: a run of {steps} steps is stopped after one of the steps 1 to {steps - 1}")
    report = Report(steps, list(stops), kill)
    with TemporaryDirectory(prefix="knoll-verify-resume-") as folder:
        comparison = _Comparison(config, steps, workers, run_killed if kill else run_here, Path(folder))
        comparison.run(report)
    return report


class _Comparison:
    def __init__(
        self, config: Config, steps: int, workers: int | None, execute: Callable[[Part], Seen], folder: Path
    ) -> None:
        self.name = config.name
        self.config = shortened(config.data, steps)
        self.steps = steps
        self.workers = workers
        self.execute = execute
        self.folder = folder

    def run(self, report: Report) -> None:
        whole = self.execute(self.part("whole", save=self.steps))
        for first, stop in zip([0, *report.stops], [*report.stops, self.steps], strict=True):
            part = self.part("interrupted", save=stop, resume=first, expected=whole.trace)
            if stop < self.steps:
                part.stop = stop
            seen = self.execute(part)
            compared = sum(map(len, seen.trace.values()))
            report.parts.append(Compared(first + 1, stop, part.config["train"].get("num_workers", 0), compared))
            if seen.difference:
                report.explanation = self.explain(whole, seen, seen.difference, first, report.killed)
                return

    def part(self, folder: str, save: int, resume: int = 0, **others: Any) -> Part:
        config = copy.deepcopy(self.config)
        for hook in config["hooks"].values():
            if _is_a(hook, Checkpoint):
                hook["every"] = save
        if resume and self.workers is not None:
            for loader in (config["train"], *config.get("evaluation", {}).values()):
                loader["num_workers"] = self.workers
        return Part(config, self.name, str(self.folder / folder), resume, **others)

    def explain(self, whole: Seen, seen: Seen, difference: Difference, resumed: int, killed: bool) -> list[str]:
        """Run the uninterrupted run again: whether it repeats itself, and if so, by how much it differs."""
        if resumed == 0:
            return does_not_repeat(difference, killed)
        what = LEFT if difference.what == RESTORED else difference.what
        keep = (difference.step, what, difference.names[0])
        again = self.execute(self.part("again", save=self.steps, expected=whole.trace, keep=keep))
        if again.difference:
            return does_not_repeat(again.difference, killed)
        outside = whole.outside[str(resumed)], seen.outside["0"]
        return explain(difference, again.kept, resumed, *outside)


def shortened(config: dict, steps: int) -> dict:
    """The config of a run of so many steps, evaluated every few, that saves and shows no progress."""
    config = copy.deepcopy(config)
    config["duration"] = steps
    hooks = {name: hook for name, hook in config.get("hooks", {}).items() if not _is_a(hook, ProgressBar)}
    for hook in hooks.values():
        if _is_a(hook, Evaluation):
            hook["every"] = min(EVALUATE_EVERY, max(1, steps // 2))
    if not any(_is_a(hook, Checkpoint) for hook in hooks.values()):
        hooks["checkpoint of the comparison"] = dict(type="Checkpoint")
    return {**config, "hooks": hooks}


def _is_a(hook: dict, kind: type) -> bool:
    found = HOOKS.get(hook["type"])
    return isinstance(found, type) and issubclass(found, kind)
