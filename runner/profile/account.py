"""What is said at the end of a run: where its time went; if it failed, where it stood and what would help."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...registry import UserError
from ...registry.errors import one_line
from ...registry.system_errors import lacks_memory
from ..saving.checkpoint import newest
from .time_line import time_line
from .time_shares import HOOKS

if TYPE_CHECKING:
    from ..runner import Runner

logger = logging.getLogger("knoll")


@contextmanager
def accounted(runner: Runner) -> Iterator[None]:
    """Around a run: a line in the log of where its time went; an error goes on, with a line before it of where it came;
    lack of memory becomes a message.

    Raises:
        UserError: there was not enough memory; names the step, the batch sizes, and what to change.
    """
    try:
        with _its_time_told(runner):
            yield
    except Exception as error:
        where = f"after step {runner.step}" if runner.is_between_steps else f"in step {runner.step + 1}"
        where += f" of {runner.total_steps}"
        saved = newest(runner.work_dir)
        left = f"--resume continues from {saved}" if saved else "nothing had been saved yet"
        logger.error("the run ended %s, by %s; %s", where, _kind(error), left)
        if lacks_memory(error):
            raise UserError(_in_memory_terms(runner, where, error)) from error
        raise


@contextmanager
def _its_time_told(runner: Runner) -> Iterator[None]:
    runner.stopwatch.follow(runner.device)
    runner.stopwatch.switch(HOOKS)
    has_failed = False
    try:
        yield
    except Exception:
        has_failed = True  # the model may not be able to do anything more
        raise
    finally:
        if runner.world.is_first:
            logger.info("%s", time_line(runner, with_flops=not has_failed and not runner.stopping.in_haste))


def _kind(error: Exception) -> str:
    return "an error" if isinstance(error, UserError) else type(error).__name__


def _in_memory_terms(runner: Runner, where: str, error: Exception) -> str:
    experiment = runner.experiment
    sizes = {"train": experiment.train.batch_size}
    sizes |= {f"evaluation.{name}": each.batch_size for name, each in experiment.evaluation.items()}
    listed = ", ".join(f"{name}.batch_size={size}" for name, size in sizes.items())
    reason = one_line(str(error).strip().partition("\n")[0])[:300] or type(error).__name__
    return (
        f"not enough memory {where}, on {runner.device}, with {listed}: {reason}\n"
        "Lower the batch size; in training raise `accumulate` by as much, and the gradient is that of the same number "
        f"of images (accumulate={experiment.accumulate} now). precision='bf16' takes about half for activations"
    )
