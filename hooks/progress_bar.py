"""What a person watches while a run goes on."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..registry import HOOKS
from .hook import Hook
from .window import Window

if TYPE_CHECKING:
    from ..runner import Runner

logger = logging.getLogger("knoll")


@HOOKS.register_module()
class ProgressBar(Hook):
    """Epoch, loss, learning rate, images per second and time left: a bar on a terminal, else plain lines.

    Args:
        seconds: time between two plain lines. The bar moves ten times a second.
    """

    only_records = True

    def __init__(self, seconds: float = 10.0) -> None:
        self.seconds = seconds
        self.bar: Progress | None = None

    def before_run(self, runner: Runner) -> None:
        self.bar = _bar() if sys.stdout is not None and sys.stdout.isatty() else None
        if self.bar is not None:
            self.task = self.bar.add_task("", total=runner.total_steps, completed=runner.step, text="")
            self.bar.start()
        self.window = Window()
        self.wait = 0.1 if self.bar else self.seconds
        self.due = time.perf_counter() + self.wait
        self.started, self.first_step = time.perf_counter(), runner.step

    def after_update(self, runner: Runner) -> None:
        self.window.add(runner)

    def end_iter(self, runner: Runner) -> None:
        now = time.perf_counter()
        if now < self.due and runner.step < runner.total_steps:
            return
        self.due = now + self.wait
        values = self.window.read(runner.step)
        if not values:  # the run continues in the middle of a step: there is nothing to tell of yet
            return
        epoch = f"epoch {min(runner.epoch + 1, runner.epochs)}/{runner.epochs}"
        text = f"loss {values['loss']:.4f}  lr {runner.learning_rate:.2g}  {values['images_per_second']:.0f} img/s"
        if self.bar is not None:
            with suppress(OSError):  # the terminal is gone: that ends a run by a signal, if at all
                self.bar.update(self.task, completed=runner.step, description=epoch, text=text)
                self.bar.refresh()
        else:
            left = (now - self.started) / (runner.step - self.first_step) * (runner.total_steps - runner.step)
            logger.info("%s  step %d/%d  %s  %s left", epoch, runner.step, runner.total_steps, text, _clock(left))

    def after_run(self, runner: Runner) -> None:
        if self.bar is not None:
            with suppress(OSError):
                self.bar.stop()


def _bar() -> Progress:
    # No refresh thread: the training loop's only companion would be a thread that takes the GIL from it.
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        auto_refresh=False,
    )


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
