"""Saving while training goes on: it waits for a copy of the state, not for the disk."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Any

from ..profile.time_shares import CHECKPOINTS, Stopwatch, timed
from .checkpoint import save_step, step_file
from .snapshot import Snapshot


class Saver:
    """Writes checkpoints in a thread, one at a time.

    The thread is no daemon: a program that ends waits for it. What went wrong in it is raised by the next call here.

    Args:
        writes: False in a process that only has a part in gathering what another one writes.
    """

    def __init__(self, stopwatch: Stopwatch | None = None, writes: bool = True) -> None:
        self.stopwatch = stopwatch or Stopwatch()
        self.writes = writes
        self._thread: Thread | None = None
        self._error: BaseException | None = None

    def save(self, state: dict[str, Any], folder: Path, keep: int, best: bool) -> Path:
        """Copy a state and begin to write it, as `save_step` does, after what was saved before is written.

        Returns:
            the file; it is there after `wait`.

        Raises:
            UserError: the state is not plain data and tensors, or the one before could not be written.
        """
        self.wait()
        if not self.writes:
            return step_file(folder, state["step"])
        snapshot = Snapshot(state).state
        self._thread = Thread(target=self._write, args=(snapshot, folder, keep, best), name="checkpoint")
        self._thread.start()
        return step_file(folder, state["step"])

    @timed(CHECKPOINTS)
    def wait(self) -> None:
        """Until it is written.

        Raises:
            UserError: it could not be written.
        """
        if self._thread is not None:
            self._thread.join()
        self.check()

    def check(self) -> None:
        """Without waiting: raise what went wrong, once.

        Raises:
            UserError: what was saved could not be written.
        """
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _write(self, *arguments: Any) -> None:
        try:
            save_step(*arguments)
        except BaseException as error:
            self._error = error
