"""Going on with another number of processes: each step must see the images that it would have seen."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...datasets.loading.loader import batch_starts
from ...registry import UserError, make_experiment

if TYPE_CHECKING:
    from ..runner import Runner
    from .distributed import World

logger = logging.getLogger("knoll")

KEYS = ("train.batch_size", "accumulate")  # what another number of processes may have otherwise


class Division(NamedTuple):
    """Of what the images of a step are made."""

    processes: int
    batch_size: int
    accumulate: int

    @classmethod
    def of(cls, config: Mapping[str, Any], processes: int) -> Division:
        experiment = make_experiment(config)
        return cls(processes, experiment.train.batch_size, experiment.accumulate)

    @property
    def images(self) -> int:
        return self.processes * self.batch_size * self.accumulate

    def __str__(self) -> str:
        several = f"{self.processes} process{'es' if self.processes > 1 else ''}"
        return f"{several} x batch_size {self.batch_size} x accumulate {self.accumulate} = {self.images} images a step"

    def steps(self, samples: int, drop_last: bool) -> list[int]:
        """Where the steps of an epoch begin in its order, and where the last one ends."""
        *starts, end = batch_starts(samples, self.batch_size, drop_last, self.processes)
        return [*starts[:: self.accumulate], end]


def require_allowed(before: int, world: World, path: Path, allowed: bool) -> tuple[str, ...]:
    """A run goes on with as many processes as before, unless another number is allowed.

    Returns:
        the keys of the config that may be others then.

    Raises:
        UserError: names both numbers.
    """
    if before == world.size:
        return ()
    if not allowed:
        remedy = f"torchrun --nproc-per-node={before}" if before > 1 else "python, without torchrun"
        raise UserError(
            f"{path} was written by {before} processes, now there are {world.size}: start with {remedy}; or add "
            "--allow-world-size, which says what then changes"
        )
    return KEYS


def require_same_steps(runner: Runner, state: Mapping[str, Any]) -> None:
    """Of another number of processes each step must have the images that it had: on their number depend the length of
    an epoch, the schedule of the learning rate, and the learning rate itself. What differs even so is logged.

    Raises:
        UserError: it has others; says what would be another, and what to set.
    """
    if state["world_size"] == runner.world.size:
        return
    was = Division.of(state["config"], state["world_size"])
    now = Division.of(runner.config.data, runner.world.size)
    samples, drop_last = len(runner.train_loader.sampler), runner.experiment.train.drop_last
    before, after = was.steps(samples, drop_last), now.steps(samples, drop_last)
    if before != after:
        raise runner.world.error(
            f"with another number of processes the steps would be others:\n  was: {was}{_epoch(before)}\n"
            f"  is:  {now}{_epoch(after)}\nThe learning rate is that of the former, and its schedule counts the steps. "
            f"{remedy(was, runner.world.size, samples, drop_last)}"
        )
    logger.warning(
        "note: the run goes on with another number of processes: %s; it was %s. Each step has the images that it would "
        "have had. What is drawn for a process (dropout, Mix) is drawn otherwise, BatchNorm sees other batches, and "
        "sums are rounded otherwise: so the run goes on, but not to the bit",
        now,
        was,
    )


def _epoch(steps: list[int]) -> str:
    return f", {len(steps) - 1} steps an epoch, the last one of {steps[-1] - steps[-2]}"


def remedy(was: Division, processes: int, samples: int, drop_last: bool) -> str:
    """What makes the same steps: with batches that are no larger, if there is such, and as large as can be."""
    wanted = was.steps(samples, drop_last)
    sizes, rest = range(1, was.images // processes + 1), was.images % processes
    possible = [Division(processes, size, was.images // processes // size) for size in sizes if not rest]
    same = [each for each in possible if each.images == was.images and each.steps(samples, drop_last) == wanted]
    if not same:
        return f"No setting of {processes} processes makes the same steps: take another number of them"
    smaller = [each for each in same if each.batch_size <= was.batch_size]
    best = smaller[-1] if smaller else same[0]
    return f"To have the same, set train.batch_size={best.batch_size} accumulate={best.accumulate}"
