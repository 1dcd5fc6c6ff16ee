"""What hooks that write figures down have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..registry import Duration
from .hook import Hook
from .window import Window

if TYPE_CHECKING:
    from ..runner import Runner


class Recorder(Hook):
    """Records training every so often, and every evaluation: a subclass says in `record` how.

    A run that continues records what an uninterrupted one would have: what was gathered since the last record is in
    the checkpoint. Two things are not: images per second are those since it continues, and a metric that keeps every
    prediction (an area under a curve without thresholds) begins anew.

    Args:
        every: how often training is recorded.

    Attributes: `recorded`, the last step of which everything is written down. What a subclass finds of later ones, it
    removes in `before_run`: they are recorded again.
    """

    only_records = True

    def __init__(self, every: Duration = 20) -> None:
        self.every = every
        self.evaluated: dict[str, float] = {}
        self.recorded: int | None = None
        self.steps = 0
        self.window: Any = None  # a Window, when the run begins
        self._gathered: dict[str, Any] = {}

    def before_run(self, runner: Runner) -> None:
        self.steps = runner.interval(self.every)
        self.window = self._shared(runner) or Window(runner.new_metrics())
        self.window.load_state_dict(self._gathered, runner.device)
        if self.recorded is None:
            self.recorded = runner.step

    def _shared(self, runner: Runner) -> Window | None:
        """That of another recorder that looks as often."""
        others = [hook for hook in runner.hooks.by_name.values() if isinstance(hook, Recorder) and hook is not self]
        return next((hook.window for hook in others if hook.window and hook.steps == self.steps), None)

    def before_iter(self, runner: Runner) -> None:
        if self.recorded != runner.step:  # the checkpoint is of a moment before this hook had recorded its step
            self.end_iter(runner)

    def after_update(self, runner: Runner) -> None:
        self.window.add(runner)  # and not in `end_iter`: a run may stop, and be saved, in an evaluation between them

    def after_eval(self, runner: Runner, metrics: dict[str, float]) -> None:
        self.evaluated = metrics  # written down when everyone has acted

    def end_iter(self, runner: Runner) -> None:
        if runner.is_due(self.steps) and (values := self.window.read(runner.step)):
            self.record(runner, "train", values | {"learning_rate": runner.learning_rate})
        for name, values in by_set(self.evaluated).items():
            self.record(runner, name, values)
        self.evaluated, self.recorded = {}, runner.step

    def after_run(self, runner: Runner) -> None:
        if self.recorded is not None and self.recorded < runner.step == runner.total_steps:
            self.end_iter(runner)

    def record(self, runner: Runner, name: str, values: dict[str, float]) -> None:
        """Write down the figures of one set, "train" or an evaluation set, at `runner.step`.

        Training's metrics are those of the batches since the last record, as the network was when it saw them.
        """

    def state_dict(self) -> dict[str, Any]:
        gathered = self.window.state_dict(self.recorded or 0) if self.window else self._gathered
        return {"recorded": self.recorded, "evaluated": self.evaluated, "gathered": gathered}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.recorded, self.evaluated, self._gathered = state["recorded"], state["evaluated"], state["gathered"]


def by_set(metrics: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """`{"val/loss": 1.2, "val/top1": 0.5}` as `{"val": {"loss": 1.2, "top1": 0.5}}`."""
    sets: dict[str, dict[str, float]] = {}
    for key, value in metrics.items():
        name, _, metric = key.partition("/")
        sets.setdefault(name, {})[metric] = value
    return sets
