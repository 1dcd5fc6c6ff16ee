"""Learning rates that were chosen for one number of images in a step, brought to the number that a run has."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

from .errors import ConfigError

if TYPE_CHECKING:
    from .experiment import Experiment

logger = logging.getLogger("knoll")


def lr_factor(experiment: Experiment, processes: int) -> float:
    """What the config's learning rates are to be multiplied by, which the log says; 1 without `base_batch`.

    With `lr_scaling="linear"` by the ratio of the batches (Goyal et al. 2017, section 2.1), with "sqrt" by its square
    root, which keeps the variance of SGD's steps (Krizhevsky 2014, section 5; Hoffer et al. 2017, section 4) and is the
    rule for Adam and RMSProp (Malladi et al. 2022).

    Raises:
        ConfigError: the batch is another than `base_batch`, and no scaling is chosen.
    """
    images = _images(experiment) * processes
    if experiment.base_batch is None or images == experiment.base_batch:
        return 1.0
    if experiment.lr_scaling is None:
        raise ConfigError(
            f"base_batch: the learning rates are for {experiment.base_batch} images in a step, and one has "
            f"{_told(experiment, processes)}. Write lr_scaling='linear' (usual with SGD) or lr_scaling='sqrt' (with "
            f"Adam and its like); or base_batch={images}, to leave the rates as they are"
        )
    factor, line = _scaled(experiment, processes)
    logger.info("%s", line)
    return factor


def note(experiment: Experiment) -> str:
    """What one process makes of the learning rates, in a line; empty if it leaves them as they are.

    A config that has passed the check, and chooses no scaling, has a base_batch that some number of processes meets.
    """
    base, one = experiment.base_batch, _images(experiment)
    if base is None or base == one:
        return ""
    if experiment.lr_scaling is None:
        return (
            f"base_batch={base}: trained by one process, a step has {_told(experiment, 1)} images, and the run is "
            f"refused. Write lr_scaling='linear' (usual with SGD) or lr_scaling='sqrt' (with Adam and its like), or "
            f"start {base // one} processes"
        )
    return f"{_scaled(experiment, 1)[1]}; with N processes, for N times as many"


def mistakes(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What of a config cannot be right, whatever the number of processes: keys and messages."""
    base, scaling, accumulate = data.get("base_batch"), data.get("lr_scaling"), data.get("accumulate", 1)
    if scaling is not None and base is None:
        yield "lr_scaling", "from which batch? Write base_batch, the images in a step that the learning rates are for."
    train = data.get("train")
    batch_size = train.get("batch_size", 32) if isinstance(train, Mapping) else None
    if not (_is_count(base) and _is_count(batch_size) and _is_count(accumulate)):
        return  # what is wrong with them is told where they stand
    if scaling is None and base % (batch_size * accumulate):
        yield (
            "base_batch",
            f"no number of processes has {base} images in a step: one has {batch_size} x {accumulate}. Write "
            "lr_scaling='linear' (usual with SGD) or lr_scaling='sqrt' (with Adam and its like).",
        )


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and value > 0


def _images(experiment: Experiment) -> int:
    return experiment.train.batch_size * experiment.accumulate


def _scaled(experiment: Experiment, processes: int) -> tuple[float, str]:
    """The factor, and `lr 0.1 for 256 images -> 0.05 for 128, by linear scaling`."""
    ratio = _images(experiment) * processes / (experiment.base_batch or 1)
    factor = ratio if experiment.lr_scaling == "linear" else math.sqrt(ratio)
    lr = _stated_lr(experiment.optimizer)
    was, becomes = ("the default lr", f"{factor:.6g} times it") if lr is None else (f"lr {lr:g}", f"{lr * factor:.6g}")
    by = f"for {_told(experiment, processes)}, by {experiment.lr_scaling} scaling"
    return factor, f"{was} for {experiment.base_batch} images -> {becomes} {by}"


def _told(experiment: Experiment, processes: int) -> str:
    """`128 (batch_size 32 x accumulate 2 x processes 2)`."""
    factors = {"batch_size": experiment.train.batch_size, "accumulate": experiment.accumulate, "processes": processes}
    several = [f"{name} {value}" for name, value in factors.items() if name == "batch_size" or value > 1]
    product = f" ({' x '.join(several)})" if len(several) > 1 else ""
    return f"{_images(experiment) * processes}{product}"


def _stated_lr(optimizer: Mapping[str, Any]) -> float | None:
    inner = optimizer.get("base_optimizer")
    return optimizer.get("lr") if inner is None else _stated_lr(inner)
