"""Which batches belong to which update of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from ..datasets.loading.loader import Batch
from .labels import checked
from .time_shares import DATA, HOOKS

if TYPE_CHECKING:
    from .runner import Runner


def batch_number(runner: Runner, step: int) -> int:
    """How many batches come before a step. An epoch's last update may have fewer than `accumulate`."""
    epoch, within = divmod(step, runner.steps_per_epoch)
    return epoch * runner.train_loader.batches_per_epoch + within * runner.experiment.accumulate


def updates_of_this_epoch(runner: Runner, batches: Iterator[Batch]) -> Iterator[list[Batch]]:
    """The batches of each update that is left in the epoch the run stands in."""
    end = min((runner.epoch + 1) * runner.steps_per_epoch, runner.total_steps)
    batches = checked(batches, runner.train_loader.dataset, "train", runner.num_classes)
    for step in range(runner.step, end):
        runner.stopwatch.switch(DATA)
        of_update = list(islice(batches, batch_number(runner, step + 1) - batch_number(runner, step)))
        runner.stopwatch.switch(HOOKS)
        yield of_update
