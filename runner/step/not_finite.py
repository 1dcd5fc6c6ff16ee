"""Numbers that are not finite: the run stops before they reach the weights or a checkpoint, and says where they came
from."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import torch
from torch import nn

from ...hooks.hook import Hook
from ...registry import UserError
from ..processes.parallel import whole
from ..profile.time_shares import OPTIMIZER
from ..saving.checkpoint import newest_whole
from .suspects import Suspects

if TYPE_CHECKING:
    from ..runner import Runner

logger = logging.getLogger("knoll")

MOST = 3  # names of weights that are told


def require_finite(runner: Runner) -> None:
    """Stop if the loss of this step, or a gradient, is NaN or infinite, unless the config has `stop_at_nan=False`.

    The run is then as it was before the step, and is saved so: continued, it meets the same numbers at the same step.
    Waiting for the answer is the one synchronisation of a step on an accelerator.

    Raises:
        UserError: names the step and the images: of the batches whose loss is not finite, and among them those that
            are not finite themselves or whose logits are not; and where they are kept to be looked at.
    """
    runner.stopwatch.switch(OPTIMIZER)  # on an accelerator the wait for backward: see Stopwatch
    if not runner.experiment.stop_at_nan or runner.update.is_finite():
        return
    runner.update.take_back()
    losses = [loss.item() for loss in runner.update.losses]
    wrong = [number for number, loss in enumerate(losses) if not math.isfinite(loss)]
    what = f"the loss is {losses[wrong[0]]}" if wrong else ""
    broken = broken_weights(runner.model)
    runner.is_between_steps = not broken and not _hooks_have_acted(runner)

    said = runner.world.collect(what)
    told: list[str] = []
    if what or not any(said):  # by a gradient one cannot tell any more which process has brought it in
        suspects = Suspects(runner, wrong or range(len(losses)))
        told = [*suspects.in_words(), suspects.save(runner.work_dir)]
    what = next(filter(None, said), "the loss is finite, but its gradient is not")
    lines = [f"step {runner.step + 1} (epoch {runner.epoch + 1}): {what}. The weights are what they were before it."]
    if broken:
        lines.append(f"{_told(broken)} before it: the learning rate is too high for this model. {_last_whole(runner)}")
    for rank, own in enumerate(runner.world.collect(told)):
        lines += [f"process {rank}: {line}" for line in own] if runner.world.size > 1 else own
    lines.append("Look at these, or lower the learning rate, let it warm up, set clip_norm. stop_at_nan=False goes on.")
    raise runner.world.error("\n".join(lines))


def require_finite_weights(runner: Runner) -> None:
    """Refuse to save weights that an optimizer's step has made NaN or infinite: in `checkpoints/` they would take the
    place of whole ones. Not if the config has `stop_at_nan=False`.

    Raises:
        UserError: names them, and the last whole checkpoint.
    """
    if runner.experiment.stop_at_nan and (broken := broken_weights(runner.model)):
        runner.is_between_steps = False  # there is nothing to save when it ends either
        raise UserError(
            f"step {runner.step} (epoch {runner.epoch + 1}): {_told(broken)} after the optimizer's step, though the "
            f"gradients were: they are not saved. {_last_whole(runner)}\n"
            "Lower the learning rate, let it warm up, set clip_norm. stop_at_nan=False goes on."
        )


def note_not_finite(metrics: Mapping[str, float]) -> None:
    """Tell of evaluations whose loss is not finite. Training goes on: nothing follows from a measurement, and weights
    that are not finite are found by the next step's loss."""
    for name, value in metrics.items():
        if name.endswith("/loss") and not math.isfinite(value):
            logger.warning("note: %s is %s; training goes on", name, value)


def broken_weights(model: nn.Module) -> list[str]:
    """The names of the parameters that are not finite."""
    parameters = {name: each.detach() for name, each in model.named_parameters() if each.is_floating_point()}
    # The norm first: a tenth of the time of a look at each. It alone may overflow.
    if not parameters or bool(whole(torch.nn.utils.get_total_norm(list(parameters.values()))).isfinite()):
        return []
    return [name for name, parameter in parameters.items() if not bool(whole(parameter).isfinite().all())]


def _told(broken: list[str]) -> str:
    more = f" and {len(broken) - MOST} more" if len(broken) > MOST else ""
    return f"The weights themselves ({', '.join(broken[:MOST])}{more}) are not finite"


def _last_whole(runner: Runner) -> str:
    found = None
    with suppress(UserError):  # a disk that is full shall not hide what this is about
        runner.saver.wait()
    with suppress(UserError):
        found = newest_whole(runner.work_dir)
    return f"The last whole checkpoint: {found}." if found else "There is no checkpoint before."


def _hooks_have_acted(runner: Runner) -> bool:
    """Whether a hook that keeps a state may have changed it in this step: that cannot be taken back."""
    early = (Hook.before_iter, Hook.before_update)
    return any(
        any(getattr(type(hook), point.__name__) is not point for point in early) and hook.state_dict()
        for hook in runner.hooks.by_name.values()
    )
