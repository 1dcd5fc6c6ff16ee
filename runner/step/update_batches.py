"""Which batches belong to which update of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from ...datasets.loading.loader import Batch
from ..labels import checked
from ..profile.time_shares import DATA, HOOKS

if TYPE_CHECKING:
    from ..runner import Runner


def batch_number(runner: Runner, step: int) -> int:
    """How many batches come before a step. An epoch's last update may have fewer than `accumulate`."""
    epoch, within = divmod(step, runner.steps_per_epoch)
    return epoch * runner.train_loader.batches_per_epoch + within * runner.experiment.accumulate


def updates_of_this_epoch(runner: Runner, batches: Iterator[Batch]) -> Iterator[None]:
    """Set `runner.batches` for each update that is left in the epoch the run stands in.

    The former ones are let go of first, and nobody on the way keeps one: the next takes their place in memory.
    """
    end = min((runner.epoch + 1) * runner.steps_per_epoch, runner.total_steps)
    batches = checked(batches, runner.train_loader.dataset, "train", runner.num_classes)
    numbers = [batch_number(runner, step) for step in range(runner.step, end + 1)]
    for first, following in pairwise(numbers):
        runner.stopwatch.switch(DATA)
        runner.batches = []
        runner.batches = list(islice(batches, following - first))
        runner.stopwatch.switch(HOOKS)
        yield
