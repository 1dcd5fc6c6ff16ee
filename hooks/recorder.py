"""What hooks that write figures down have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..registry import Duration
from .hook import Hook
from .window import Window

if TYPE_CHECKING:
    from ..runner import Runner


class Recorder(Hook):
    """Records training every so often, and every evaluation: a subclass says in `record` how.

    Args:
        every: how often training is recorded.
    """

    only_records = True

    def __init__(self, every: Duration = 20) -> None:
        self.every = every
        self.evaluated: dict[str, float] = {}

    def before_run(self, runner: Runner) -> None:
        self.steps = runner.interval(self.every)
        self.window = Window(runner.new_metrics())

    def after_eval(self, runner: Runner, metrics: dict[str, float]) -> None:
        self.evaluated = metrics  # written down when everyone has acted

    def end_iter(self, runner: Runner) -> None:
        self.window.add(runner)
        if runner.is_due(self.steps):
            self.record(runner, "train", self.window.read() | {"learning_rate": runner.learning_rate})
        for name, values in by_set(self.evaluated).items():
            self.record(runner, name, values)
        self.evaluated = {}

    def record(self, runner: Runner, name: str, values: dict[str, float]) -> None:
        """Write down the figures of one set, "train" or an evaluation set, at `runner.step`.

        Training's metrics are those of the batches since the last record, as the network was when it saw them.
        """


def by_set(metrics: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """`{"val/loss": 1.2, "val/top1": 0.5}` as `{"val": {"loss": 1.2, "top1": 0.5}}`."""
    sets: dict[str, dict[str, float]] = {}
    for key, value in metrics.items():
        name, _, metric = key.partition("/")
        sets.setdefault(name, {})[metric] = value
    return sets
