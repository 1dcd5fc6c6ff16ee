"""A loss or a gradient that is no number: the run stops before it reaches the weights, and says where it came from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..datasets.base import name_of
from ..registry import UserError

if TYPE_CHECKING:
    from .runner import Runner


def require_finite(runner: Runner) -> None:
    """Stop if the loss of this step, or a gradient, is NaN or infinite, unless the config has `stop_at_nan=False`.

    The model is then as it was before the step. The question is answered on the device; waiting for the answer is the
    one synchronisation of a step on an accelerator.

    Raises:
        UserError: names the step and the images: of the batches whose loss is not finite, and among them those that
            are not finite themselves or whose logits are not.
    """
    if not runner.experiment.stop_at_nan or bool(runner.update.is_finite()):
        return
    runner.update.take_back()
    losses = [loss.item() for loss in runner.update.losses]
    wrong = [number for number, loss in enumerate(losses) if not math.isfinite(loss)]
    what = f"the loss is {losses[wrong[0]]}" if wrong else "the loss is finite, but the norm of its gradient is not"
    batches = [runner.batches[number] for number in wrong] or runner.batches
    logits = [runner.logits[number] for number in wrong] or runner.logits
    indices = torch.cat([batch.indices for batch in batches])

    def names(chosen: Tensor) -> str:
        return ", ".join(name_of(runner.train_loader.dataset, index) for index in indices[chosen].tolist())

    lines = [f"step {runner.step + 1} (epoch {runner.epoch + 1}): {what}. The weights are what they were before it."]
    for said, values in (("images", [batch.images for batch in batches]), ("logits", logits)):
        bad = torch.cat([~each.flatten(1).isfinite().all(1) for each in values]).cpu()
        if bad.any() and not bad.all():
            lines.append(f"Their {said} are not finite: {names(bad)}")
    lines.append(f"All images of {'that batch' if len(batches) == 1 else 'those batches'}: {names(indices >= 0)}")
    lines.append("Look at these, or lower the learning rate, let it warm up, set clip_norm. stop_at_nan=False goes on.")
    raise UserError("\n".join(lines))
