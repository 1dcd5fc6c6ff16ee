"""One part of a run, from its start or a checkpoint to its end or a stop; in this process, or in one that is killed."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ...datasets.loading.randomness import derive_seed, seed_run
from ...hooks.hook import Hooks
from ...registry import UserError, config_from_dict
from .. import logs
from ..runner import Runner
from ..saving.checkpoint import step_file
from .watch import Difference, Ended, Seen, Trace, Watch

EVALUATED = 2  # batches of each evaluation set
KILLED = -signal.SIGKILL if hasattr(signal, "SIGKILL") else None
FAILED = 2


@dataclass
class Part:
    """What to run: plain data, so that it can be given to another process.

    Args:
        work_dir: where the run's checkpoints are.
        resume: the step to continue from; 0 for a new run.
        stop: the step after which the run is interrupted.
        expected, keep: see Watch.
    """

    config: dict
    name: str
    work_dir: str
    resume: int = 0
    stop: int | None = None
    expected: Trace | None = None
    keep: tuple[int, str, str] | None = None


def run_here(part: Part) -> Seen:
    """Run it in this process; a stop is an exception in the middle of the run."""

    def stop(seen: Seen) -> None:
        raise Ended

    return _run(part, stop)


def run_killed(part: Part) -> Seen:
    """Run it in a process of its own, which a stop kills as the out-of-memory killer would.

    Raises:
        UserError: as the run does; or the process has ended otherwise.
    """
    work_dir = Path(part.work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    asked, to = work_dir / "asked.pt", work_dir / "answer.pt"
    to.unlink(missing_ok=True)
    torch.save(asdict(part), asked)
    code = subprocess.run([sys.executable, "-m", str(__package__), str(asked), str(to)]).returncode
    told = torch.load(to, weights_only=True) if to.exists() else {}
    if code == FAILED and "error" in told:
        raise UserError(told["error"])
    if code not in (0, KILLED) or not told:
        raise UserError(f"a process of the comparison has ended with the status {code}; what it said is above")
    difference = told.pop("difference")
    return Seen(**told, difference=Difference(**difference) if difference else None)


def _run(part: Part, at_stop: Callable[[Seen], Any]) -> Seen:
    with _quiet():
        # Whatever the generators hold, nothing may depend on it.
        seed_run(derive_seed("verification", part.resume))
        work_dir = Path(part.work_dir)
        checkpoint = step_file(work_dir / "checkpoints", part.resume) if part.resume else None
        runner = Runner(config_from_dict(part.config, name=part.name), work_dir, resume=checkpoint)
        for loader in runner.evaluation_loaders.values():
            loader.part = (0, max(1, len(loader.dataset) // (EVALUATED * loader.batch_size)))
        watch = Watch(part.expected, part.stop, part.keep, at_stop)
        runner.hooks = Hooks({**runner.hooks.by_name, "the comparison's own": watch})
        with suppress(Ended):
            runner.train()
        return watch.seen


@contextmanager
def _quiet() -> Iterator[None]:
    """Only warnings of a run are shown."""
    logger = logs.start_logging()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def answer(asked: str, to: str) -> int:
    """What the process of `run_killed` does: `asked` is a file with a Part, `to` one for what is Seen."""

    def tell(told: dict) -> None:
        torch.save(told, to)

    def stop(seen: Seen) -> None:
        tell(asdict(seen))
        os.kill(os.getpid(), signal.SIGKILL)

    try:
        seen = _run(Part(**torch.load(asked, weights_only=True)), stop)
    except UserError as error:
        tell({"error": str(error)})
        return FAILED
    tell(asdict(seen))
    return 0
