"""Saving a run while it goes on."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ..registry import HOOKS, ConfigError, Duration, MetricName
from ..registry.fit import AtLeast
from .hook import Hook

if TYPE_CHECKING:
    from ..runner import Runner

logger = logging.getLogger("knoll")


@HOOKS.register_module()
class Checkpoint(Hook):
    """Saves everything that a run needs to continue to the bit, and the best weights by a metric.

    In `checkpoints/`: `step_00000120.pt` for each of the newest, `last.pt` and `best.pt`, second names of one of them.

    Args:
        every: how often; the last step is always saved.
        keep: how many of the newest to keep.
        best: the metric that decides which is `best.pt`, such as "val/top1".
        mode: whether the best is the largest or the smallest; "auto": the smallest for a loss.
    """

    only_records = True

    def __init__(
        self,
        every: Duration = "1ep",
        keep: Annotated[int, AtLeast(1)] = 2,
        best: MetricName | None = None,
        mode: Literal["auto", "max", "min"] = "auto",
    ) -> None:
        self.every = every
        self.keep = keep
        self.best = best
        smaller = mode == "min" or (mode == "auto" and best is not None and best.endswith("loss"))
        self.sign = -1.0 if smaller else 1.0
        self.best_value: float | None = None
        self.best_step = 0
        self.is_best = False
        self.saved_at: int | None = None  # no step: the run's parts are not restored yet
        self.is_tried = False  # whether the state can be saved; hooks may have theirs from the first step on

    def setup(self, runner: Runner) -> None:
        mine = [name for name, hook in runner.hooks.by_name.items() if isinstance(hook, Checkpoint)]
        if len(mine) > 1:
            raise ConfigError(f"hooks: {' and '.join(mine)} would write and remove the same files: keep one Checkpoint")
        self.steps = runner.interval(self.every)

    def before_epoch(self, runner: Runner) -> None:
        # The first one, not before_run: there some hooks may not have restored what they keep.
        if self.saved_at is None:
            self._name_best_again(runner)
            self.saved_at = runner.step

    def _name_best_again(self, runner: Runner) -> None:
        """The run may have been killed between a step's checkpoint and its name as the best; or go on elsewhere."""
        from ..runner.saving.checkpoint import link, step_file

        if self.best_value is None or not runner.world.is_first:
            return
        folder = runner.work_dir / "checkpoints"
        step, best = step_file(folder, self.best_step), folder / "best.pt"
        if step.exists():
            link(step, best)
        elif not best.exists() and runner.step == self.best_step and not runner.world.saves_together:
            runner.save(keep=self.keep, best=True)
            runner.saver.wait()  # workers are started after this
        elif not best.exists():
            told = "note: there is no %s: the best so far, %s %.4f of step %d, is not in this folder"
            logger.warning(told, best, self.best, self.best_value, self.best_step)

    def after_eval(self, runner: Runner, metrics: dict[str, float]) -> None:
        if self.best is None or math.isnan(metrics[self.best]):
            return
        if self.best_value is None or self.sign * metrics[self.best] > self.sign * self.best_value:
            self.best_value, self.best_step = metrics[self.best], runner.step
            self.is_best = True

    def end_iter(self, runner: Runner) -> None:
        runner.saver.check()
        if self.is_best or runner.stopping.save_now or runner.is_due(self.steps):
            path = runner.save(keep=self.keep, best=self.is_best)
            if runner.stopping.save_now:
                runner.saver.wait()
                logger.info("SIGUSR1: saved %s", path)
            self.is_best = runner.stopping.save_now = False
            self.saved_at = runner.step
        elif not self.is_tried:
            from ..runner.saving.snapshot import Snapshot

            Snapshot(runner.state_dict())  # what cannot be saved is told now, not when hours would be lost
        self.is_tried = True

    def after_run(self, runner: Runner) -> None:
        if runner.stopping.in_haste:
            return
        world = runner.world  # an error of one process alone leaves nobody to gather the parts with
        can_save = runner.is_between_steps and (world.ends_together or not world.saves_together)
        stopped = can_save and self.saved_at is not None and runner.step > self.saved_at
        path = runner.save(keep=self.keep, best=self.is_best) if stopped else None
        runner.saver.wait()
        if path:
            logger.info("saved: %s", path)
        if self.best_value is not None:
            source = runner.sources[str(self.best).partition("/")[0]]
            logger.info("best %s: %.4f (%s)", self.best, self.best_value, source)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_value": self.best_value, "best_step": self.best_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["best"] == self.best:  # the best by another metric says nothing about this one
            self.best_value, self.best_step = state["best_value"], state["best_step"]
