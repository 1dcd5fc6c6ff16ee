"""Which batch size: what each takes of memory, and how many images a second go through, measured by training."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from ...hooks.hook import Hook
from ...registry import Config, ConfigError, UserError, config_from_dict, make_experiment
from ...registry.system_errors import lacks_memory
from ..profile.peak_memory import peak_memory
from .trial import Enough, for_trial, run_trial

if TYPE_CHECKING:
    from ..runner import Runner

UNMEASURED = 2  # steps: the first ones start workers, compile, choose kernels
FEWEST = 3  # steps that are measured, however long they take
SMALLEST = 4  # images in a batch: fewer are hardly worth a step
ENOUGH = 0.95  # of the best speed
PATIENCE = 3  # on a CPU, where memory sets no clear end: so many sizes in a row that are no faster are the end


@dataclass
class Measured:
    """What became of one batch size.

    Attributes:
        batch_size: images in one forward pass.
        accumulate: batches in one step of the optimizer.
        fits: False if there was not enough memory; the figures below are then 0.
        memory: the most bytes that were taken: on CUDA those that torch held on the device, else those of the process
            without its workers.
        speed: images per second, reading included.
        device: where.
        available: images in the training set.
    """

    batch_size: int
    accumulate: int
    fits: bool = False
    memory: int = 0
    speed: float = 0.0
    device: str = ""
    available: int = 0


def measured_sizes(config: Config, seconds: float = 2.0, largest: int | None = None) -> Iterator[Measured]:
    """Train with one batch size after another, each for some seconds, from small to large.

    The sizes are what the images of one optimizer step (`batch_size * accumulate`) can be halved to, and its doubles.
    Up to that number `accumulate` makes up the difference, so that the training stays what it is; beyond it, it does
    not. The end is where there is not enough memory; on a CPU, where three sizes in a row, of that number or more, have
    been no faster than a smaller one.

    Each is a run of its own, in a process of its own: its peak of memory is no other's, and the system may kill it for
    lack of memory. Without the hooks that evaluate, record and schedule; all other settings count.

    Raises:
        ConfigError: `seconds` or `largest` leaves nothing to measure; or it was started by torchrun.
        UserError: as a Runner does.
    """
    if not seconds > 0:
        raise ConfigError(f"{seconds:g} seconds are none: expected more than 0")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ConfigError("batch sizes are measured in one process: each has its own memory. Start it without torchrun")
    total = images_in_a_step(config)
    size = smallest(total)
    if largest is not None and largest < size:
        raise ConfigError(f"no batch size up to {largest}: the first would be {size}")
    best, slower, available = 0.0, 0, size
    while size <= min(available, largest or available):
        with TemporaryDirectory(prefix="knoll-") as folder:  # here, for the process may be killed
            one = _in_a_process(_Question(*_trial(config, size, total), config.name, seconds, folder))
        yield one
        slower = 0 if one.speed > best or size < total else slower + 1
        best, available = max(best, one.speed), one.available
        if one.device == "cpu" and slower >= PATIENCE:
            return
        size *= 2


def images_in_a_step(config: Config) -> int:
    """What a step of the optimizer sees, in one process."""
    experiment = make_experiment(config.data)
    return experiment.train.batch_size * experiment.accumulate


def smallest(total: int) -> int:
    """The smallest batch that is measured: `total`, halved as long as it goes."""
    while total % 2 == 0 and total // 2 >= SMALLEST:
        total //= 2
    return total


def fast_enough(sizes: Sequence[Measured]) -> Measured:
    """The smallest batch with at least 95 % of the best speed.

    Raises:
        UserError: none fits.
    """
    fitting = [each for each in sizes if each.fits]
    if not fitting:
        raise UserError(
            f"not enough memory for a batch of {sizes[0].batch_size} images: take smaller images or a smaller model, "
            "precision='bf16', or a `checkpointing=True` of the backbone"
        )
    best = max(each.speed for each in fitting)
    return next(each for each in fitting if each.speed >= ENOUGH * best)


@dataclass
class _Question:
    """What a process is to measure, and the folder for its files: plain data."""

    config: dict
    batch_size: int
    accumulate: int
    name: str
    seconds: float
    folder: str


def _trial(config: Config, size: int, total: int) -> tuple[dict, int, int]:
    accumulate = max(1, total // size)
    train = {**config.data["train"], "batch_size": size, "drop_last": True}
    # As long as it takes; and whatever the learning rate: a loss that is no number takes as long as any other.
    free = dict(duration=10**6, stop_at_nan=False, base_batch=None, lr_scaling=None)
    settings = dict(train=train, accumulate=accumulate, **free)
    return for_trial(config, settings).data, size, accumulate


def _in_a_process(question: _Question) -> Measured:
    """Measure in a process of its own.

    Raises:
        UserError: as the run does, or the process has ended otherwise than for lack of memory.
    """
    methods = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload([__name__])  # the seconds of the imports once, and not for each size
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(question, there))
    process.start()
    there.close()
    told: Measured | str | None = None
    try:
        with suppress(EOFError):
            told = here.recv()
        process.join()
    finally:
        process.kill()  # after Ctrl-C
        process.join()
        here.close()
    if isinstance(told, Measured):
        return told
    if isinstance(told, str):
        raise UserError(told)
    if process.exitcode == -getattr(signal, "SIGKILL", 9):  # by the system, for lack of memory
        return Measured(question.batch_size, question.accumulate)
    raise UserError(
        f"the process that measured a batch of {question.batch_size} ended with the status {process.exitcode}; what it "
        "said is above"
    )


def _answer(question: _Question, to: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks ends this process
    try:
        to.send(_measure(question))
    except Exception as error:
        if lacks_memory(error):
            to.send(Measured(question.batch_size, question.accumulate))
        elif isinstance(error, UserError):
            to.send(str(error))
        else:
            raise


def _measure(question: _Question) -> Measured:
    clock = _Clock(question.seconds)
    runner = run_trial(config_from_dict(question.config, name=question.name), clock, question.folder)
    return Measured(
        question.batch_size,
        question.accumulate,
        fits=True,
        memory=_peak(runner.device),
        speed=clock.images / clock.elapsed,
        device=runner.device.type,
        available=len(runner.train_loader.dataset),
    )


def _peak(device: torch.device) -> int:
    """The most memory that was taken, in bytes; 0 where the system does not say."""
    # What torch keeps for the tensors to come takes room too.
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else peak_memory(device) or 0


class _Clock(Hook):
    """Lets a run go on for some seconds, and counts its images."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.steps = self.images = 0
        self.elapsed = self.started = 0.0

    def after_update(self, runner: Runner) -> None:
        if runner.device.type == "cuda":
            torch.cuda.synchronize(runner.device)
        now = time.perf_counter()
        self.steps += 1
        if self.steps <= UNMEASURED:
            self.started = now
            return
        self.images += runner.update.images
        self.elapsed = now - self.started
        if self.elapsed >= self.seconds and self.steps >= UNMEASURED + FEWEST:
            raise Enough
