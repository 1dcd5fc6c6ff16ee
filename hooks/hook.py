"""Hook: code that runs at fixed points of a run. `Hooks` calls those that there are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ..registry import HOOKS

if TYPE_CHECKING:
    from ..runner import Runner

logger = logging.getLogger("knoll")

POINTS = (
    "setup",
    "before_run",
    "before_epoch",
    "before_iter",
    "before_update",
    "after_update",
    "after_iter",
    "after_eval",
    "end_iter",
    "after_epoch",
    "after_run",
)


class Hook:
    """Override the points you need; one that is not overridden costs nothing.

        setup           the parts are built, nothing is loaded yet: place the model, build the schedule
        before_run      a checkpoint is loaded if there is one: open files
        before_epoch    also when a run resumes in the middle of an epoch
        before_iter     runner.batches holds the batches of this step: device placement, mixup
        before_update   gradients are whole, unscaled, unclipped
        after_update    the weights are new: whatever follows them, such as an average of them
        after_iter      act (evaluate, step the schedule). A run that was stopped here calls it again, when it resumes,
                        of the hook that was interrupted and of those that had not had their turn
        after_eval      after every evaluation, with its metrics
        end_iter        record (checkpoint, TensorBoard, progress)
        after_epoch
        after_run       always, also after an error

    First everyone acts, then everyone records; within a point the order is the config's, and no hook depends on it.
    """

    # Whether the result of a run depends on this hook; a hook that only records may change when a run resumes, and of
    # several processes is called in the first alone.
    only_records = False
    # Whether it turns the labels of training into shares of several classes, rows (N, classes).
    mixes_labels = False
    # What evaluations call a set when they measure weights of this hook's own: "ema" for figures such as val_ema/top1.
    averages_as: str | None = None
    # Whether it reads or keeps the weights as a whole: it then refuses a model whose weights are shared out (FSDP).
    takes_whole_weights = False
    # What it is called in a config, where that is not its class in snake_case.
    usual_name: str | None = None

    def setup(self, runner: Runner) -> None: ...
    def before_run(self, runner: Runner) -> None: ...
    def before_epoch(self, runner: Runner) -> None: ...
    def before_iter(self, runner: Runner) -> None: ...
    def before_update(self, runner: Runner) -> None: ...
    def after_update(self, runner: Runner) -> None: ...
    def after_iter(self, runner: Runner) -> None: ...
    def after_eval(self, runner: Runner, metrics: dict[str, float]) -> None: ...
    def end_iter(self, runner: Runner) -> None: ...
    def after_epoch(self, runner: Runner) -> None: ...
    def after_run(self, runner: Runner) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold for this hook to continue: plain types and tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Hooks:
    """The hooks of a run, by the names they have in the config."""

    def __init__(self, hooks: Mapping[str, Hook]) -> None:
        self.by_name = dict(hooks)
        self.left: list[str] = []  # those that have not acted in this step yet, for the run was stopped before
        self._methods = {
            point: [getattr(hook, point) for hook in hooks.values() if _overrides(hook, point)] for point in POINTS
        }
        self._acting = [name for name, hook in hooks.items() if _overrides(hook, "after_iter")]

    @classmethod
    def build(cls, configs: Mapping[str, dict], recording: bool = True, saving: bool = False) -> Hooks:
        """The hooks of a config. Those that only record are left out of a process that is not to record; but for those
        that save, if it has a part of what is saved."""
        from .checkpoint import Checkpoint

        hooks = {name: HOOKS.build(config) for name, config in configs.items()}
        kept = (Checkpoint,) if saving else ()
        here = {k: each for k, each in hooks.items() if recording or not each.only_records or isinstance(each, kept)}
        return cls(here)

    @property
    def mix_labels(self) -> bool:
        """Whether one of them turns the labels of training into shares of several classes."""
        return any(hook.mixes_labels for hook in self.by_name.values())

    @property
    def save(self) -> bool:
        """Whether one of them saves the run."""
        from .checkpoint import Checkpoint

        return any(isinstance(hook, Checkpoint) for hook in self.by_name.values())

    def call(self, point: str, *arguments: Any) -> None:
        """Call one point of every hook that has it, in the config's order."""
        for method in self._methods[point]:
            method(*arguments)

    def act(self, runner: Runner) -> None:
        """Call `after_iter` of every hook; in a step that was stopped before its end, of those that are left."""
        for name in [name for name in self.left if name not in self._acting]:
            logger.info(
                "note: the run was stopped before the hook %s had acted in step %d; there is no hook of that name now, "
                "so in that step it does not",
                name,
                runner.step,
            )
        acting = [name for name in self._acting if name in self.left] if self.left else self._acting
        for position, name in enumerate(acting):
            try:
                self.by_name[name].after_iter(runner)
            except BaseException:
                self.left = acting[position:]
                raise
        self.left = []

    def close(self, runner: Runner) -> None:
        """Call `after_run` of every hook, also if one of them, or what came before, has failed."""
        with ExitStack() as stack:
            for method in reversed(self._methods["after_run"]):
                stack.callback(method, runner)

    def state_dict(self) -> dict[str, dict]:
        return {name: state for name, hook in self.by_name.items() if (state := hook.state_dict())}

    def load_state_dict(self, states: Mapping[str, dict]) -> None:
        for name, hook in self.by_name.items():
            if name in states:
                hook.load_state_dict(states[name])


def _overrides(hook: Hook, point: str) -> bool:
    method: Callable | None = getattr(type(hook), point, None)
    return method is not None and method is not getattr(Hook, point)
