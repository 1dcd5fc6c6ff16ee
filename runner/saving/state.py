"""Everything that a run needs to go on as if it had not stopped."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...datasets.loading.randomness import random_state, set_random_state
from ...registry import UserError
from ..processes.parallel import gathered, share_out_optimizer, shared_out
from ..processes.world_size import require_same_steps

if TYPE_CHECKING:
    from ..runner import Runner

logger = logging.getLogger("knoll")


def require_trainable(runner: Runner, deadline: float | None) -> None:
    """Refuse to train, before anything is written, what cannot be.

    Raises:
        UserError: the Runner has trained already, and its hooks are no longer what they were built as; or there is a
            deadline, and no alarm.
    """
    if runner.stopping.has_listened:
        last = runner.work_dir / "checkpoints" / "last.pt"
        raise UserError(
            f"a Runner trains once: to go on, build another one from its checkpoint, Runner(config, "
            f"{str(runner.work_dir)!r}, resume={str(last)!r})"
        )
    if deadline is not None:
        runner.stopping.require_alarm()


def digest(labels: Tensor | None) -> str:
    """SHA-256 of the labels of all images, in their order; empty if the data set does not tell them."""
    return "" if labels is None else hashlib.sha256(labels.contiguous().numpy().tobytes()).hexdigest()


def state_of(runner: Runner) -> dict[str, Any]:
    """The state of a run between two steps, as plain types and tensors.

    `left` names the hooks that had not acted in the last step when the run was stopped: they do when it goes on.
    """
    return {
        "step": runner.step,
        "epoch": runner.epoch,
        "left": runner.hooks.left,
        "world_size": runner.world.size,
        "model": gathered(runner.model.state_dict(), runner.world.is_first),
        "loss": runner.loss_function.state_dict(),
        "optimizer": gathered(runner.optimizer.state_dict(), runner.world.is_first),
        "scaler": runner.update.scaler.state_dict(),
        "hooks": runner.hooks.state_dict(),
        "random": random_state(),
        "metrics": runner.metrics,
        "evaluated_at": runner.evaluated_at,
        "config": runner.config.data,
        "name": runner.config.name,
        "sources": runner.sources,
        "choices": runner.choices,
        "samples": len(runner.train_loader.dataset),
        "labels": runner.labels,
        "classes": runner.classes,
        "num_classes": runner.num_classes,
        "computed_with": _computed_with(runner),
    }


def _computed_with(runner: Runner) -> dict[str, Any]:
    """Where one of these is another, sums may be added in another order, and round otherwise."""
    device = torch.cuda.get_device_name(runner.device) if runner.device.type == "cuda" else runner.device.type
    libraries = {"torch": str(torch.__version__), "device": device, "threads": torch.get_num_threads()}
    return {**libraries, **runner.forward.how._asdict()}


def restore(runner: Runner, state: dict[str, Any]) -> None:
    """Put a run that has been built back to where a state was taken.

    Raises:
        UserError: the data has other classes, another number of images, or other labels.
    """
    require_same_steps(runner, state)
    if state["classes"] != runner.classes:
        raise UserError(f"the checkpoint's classes are {state['classes']}, the data's are {runner.classes}")
    if state["samples"] != (samples := len(runner.train_loader.dataset)):
        raise UserError(f"the run was trained on {state['samples']} images, now there are {samples}: bring them back")
    if state["labels"] != runner.labels:
        raise UserError(
            f"the run was trained on other data: as many images ({samples}), but their labels, or the order of the "
            "images, are not what they were: bring them back"
        )
    here = _computed_with(runner)
    for name, was in state["computed_with"].items():
        if was != here[name]:
            logger.warning("note: %s was %s and is %s: the run goes on, but not to the bit", name, was, here[name])
    runner.step, runner.epoch = state["step"], state["epoch"]
    runner.metrics, runner.evaluated_at = state["metrics"], state["evaluated_at"]
    runner.model.load_state_dict(shared_out(state["model"], runner.model))
    runner.loss_function.load_state_dict(state["loss"])
    runner.optimizer.load_state_dict(state["optimizer"])
    share_out_optimizer(runner.optimizer)
    runner.update.scaler.load_state_dict(state["scaler"])
    runner.hooks.load_state_dict(state["hooks"])
    runner.hooks.left = list(state["left"])
    set_random_state(state["random"])
