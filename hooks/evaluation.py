"""Evaluation while training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..registry import HOOKS, Duration
from .hook import Hook

if TYPE_CHECKING:
    from ..runner import Runner


@HOOKS.register_module()
class Evaluation(Hook):
    """Measures every evaluation set of the config, tells the other hooks (`after_eval`), and logs one line per set.

    Args:
        every: how often; the last step is always evaluated.
    """

    def __init__(self, every: Duration = "1ep") -> None:
        self.every = every

    def setup(self, runner: Runner) -> None:
        self.steps = runner.interval(self.every)

    def after_iter(self, runner: Runner) -> None:
        if runner.is_due(self.steps):
            runner.evaluate()
            try:
                runner.hooks.call("after_eval", runner, runner.metrics)
            except Exception:
                runner.is_between_steps = False  # some hooks have acted on these metrics; resumed, they would again
                raise
