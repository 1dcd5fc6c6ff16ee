"""The learning rate as a function of time."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Annotated, Any, Literal

from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau, SequentialLR

from ..optim.schedules import build_scheduler
from ..registry import HOOKS, ConfigError, Duration, MetricName
from ..registry.fit import AtLeast, AtMost
from .hook import Hook

if TYPE_CHECKING:
    from ..runner import Runner


@HOOKS.register_module()
class LRSchedule(Hook):
    """Drives a schedule, after an optional linear warm-up.

    The schedule starts when the warm-up ends, and its percentages are shares of what then remains:
    `dict(type="CosineAnnealingLR", T_max="100%")` reaches its end with the run.

    Args:
        scheduler: from SCHEDULERS. Its whole numbers count in the unit `by`; "5ep" and "100%" are converted to it.
        by: change the learning rate after every step, or after every epoch.
        warmup: how long the learning rate rises linearly (Goyal et al. 2017, section 2.2).
        warmup_start: the first learning rate, as a share of the full one.
        monitor: the metric that ReduceLROnPlateau watches.
    """

    def __init__(
        self,
        scheduler: dict,
        by: Literal["step", "epoch"] = "step",
        warmup: Duration = 0,
        warmup_start: Annotated[float, AtLeast(1e-9), AtMost(1)] = 0.01,
        monitor: MetricName | None = None,
    ) -> None:
        self.config = scheduler
        self.by = by
        self.warmup = warmup
        self.warmup_start = warmup_start
        self.monitor = monitor

    def setup(self, runner: Runner) -> None:
        unit = 1 if self.by == "step" else runner.steps_per_epoch
        self.unit = unit
        warmup_steps = runner.to_steps(self.warmup)
        remaining = max(1, runner.total_steps - warmup_steps)

        def to_units(duration: int | str) -> int:
            return max(1, round(runner.to_steps(duration, of=remaining) / unit))

        config = dict(self.config)
        self.from_timm = str(config["type"]).startswith("timm/")
        if self.from_timm:
            config["t_in_epochs"] = self.by == "epoch"
            self._refuse_with_timm()
        main = build_scheduler(config, runner.optimizer, to_units, runner.lr_factor)
        self.on_plateau = main if isinstance(main, ReduceLROnPlateau) else None
        if self.on_plateau and self.monitor is None:
            raise ConfigError("LRSchedule: ReduceLROnPlateau needs `monitor`, the metric to watch, such as 'val/loss'")
        self.scheduler: Any = main
        if warmup_steps and self.config["type"] in ("SequentialLR", "ChainedScheduler"):
            raise ConfigError(
                f"LRSchedule: `warmup` cannot be laid before a {self.config['type']}: add a LinearLR to it"
            )
        if warmup_steps:
            length = max(1, round(warmup_steps / unit))
            rise = LinearLR(runner.optimizer, start_factor=self.warmup_start, total_iters=length)
            self.scheduler = rise if self.on_plateau else SequentialLR(runner.optimizer, [rise, main], [length])

    def _refuse_with_timm(self) -> None:
        if self.warmup:
            raise ConfigError("LRSchedule: timm's schedules warm up themselves: give `warmup_t` instead of `warmup`")
        if self.config["type"] == "timm/PlateauLRScheduler":
            raise ConfigError("LRSchedule: use torch's ReduceLROnPlateau, with `monitor`, for timm/PlateauLRScheduler")

    def after_iter(self, runner: Runner) -> None:
        if runner.step % self.unit:
            return
        if self.from_timm:
            self._step_timm(runner)
        elif self.scheduler is not self.on_plateau:
            if runner.hooks.left:  # the optimizer's step was made before the run was stopped; torch has not seen it
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
                    self.scheduler.step()
            else:
                self.scheduler.step()

    def _step_timm(self, runner: Runner) -> None:
        # timm's schedules are told the time; each listens to one of these calls, by its `t_in_epochs`.
        if self.by == "step":
            self.scheduler.step_update(runner.step)
        else:
            self.scheduler.step(runner.step // self.unit)

    def after_eval(self, runner: Runner, metrics: dict[str, float]) -> None:
        if self.on_plateau is not None and self.monitor is not None:
            self.on_plateau.step(metrics[self.monitor])

    def state_dict(self) -> dict[str, Any]:
        state = {"scheduler": self.scheduler.state_dict()}
        if self.on_plateau is not None and self.on_plateau is not self.scheduler:
            state["on_plateau"] = self.on_plateau.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state["scheduler"])
        if "on_plateau" in state and self.on_plateau is not None:
            self.on_plateau.load_state_dict(state["on_plateau"])
