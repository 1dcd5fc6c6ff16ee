"""A worker process that dies or hangs: told once, in words, and only while the training process waits for a batch."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Generator, Iterator
from typing import Any

from ...registry import UserError

PATIENCE = 2.0  # seconds for the system to report a dead worker whose connection broke before


class WorkerError(UserError):
    """A worker process has died or hangs."""


def watched(batches: Iterator[Any], timeout: float) -> Generator[Any, None, None]:
    """The batches of an iterator of torch's DataLoader that has workers.

    torch looks after its workers in a handler of SIGCHLD, which raises wherever this process then is: in the middle of
    a step, or of writing the checkpoint that shall save what was done. Here it raises only while we wait.

    Args:
        timeout: in seconds, as the DataLoader has it.

    Raises:
        WorkerError: a worker has died, or none has delivered a batch in that time.
    """
    watch = _Watch()
    while True:
        try:
            batch = watch.wait_for(batches)
        except StopIteration:
            return
        except (RuntimeError, OSError, EOFError) as error:
            if "timed out" in str(error):
                raise WorkerError(
                    f"no worker has delivered a batch for {timeout:.0f} seconds: is the disk or the network that holds "
                    "the images still there? With num_workers=0 the training process reads, and shows where it stops."
                ) from error
            death = _death(error) or watch.late_death()
            if death is None:
                raise
            raise WorkerError(
                f"a process that reads data is gone ({death}). Most often the system ended it for want of memory: set "
                "num_workers lower, or batch_size."
            ) from error
        yield batch
        del batch  # its memory is the next one's


def is_waiting() -> bool:
    """Whether this process waits for a batch of its workers: nothing is half done, and an exception may come."""
    return _Watch.anyone_waits


class _Watch:
    """Stands between SIGCHLD and torch's handler of it, where there is such a signal and this is the main thread."""

    anyone_waits = False

    def __init__(self) -> None:
        self.waiting = False
        self.missed: RuntimeError | None = None  # raised while we did not wait: torch tells of a death only once
        self._handler: Any = None
        if hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread():
            current = signal.getsignal(signal.SIGCHLD)
            # What stands there may be the watch of another loader: torch's own handler is behind it.
            self._handler = getattr(current, "behind", current)
            signal.signal(signal.SIGCHLD, _Forward(self, self._handler))

    def wait_for(self, batches: Iterator[Any]) -> Any:
        self.waiting = _Watch.anyone_waits = True
        try:
            self.look()
            return next(batches)
        finally:
            self.waiting = _Watch.anyone_waits = False

    def look(self) -> None:
        """Raise what torch has found out about its workers."""
        if self.missed is not None:
            raise self.missed
        if callable(self._handler):
            self._handler(getattr(signal, "SIGCHLD", 0), None)

    def late_death(self) -> str | None:
        """Which worker has died, if the system reports one now."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                self.look()
            except RuntimeError as error:
                return _death(error)
            time.sleep(0.05)
        return None


class _Forward:
    def __init__(self, watch: _Watch, behind: Any) -> None:
        self.watch = watch
        self.behind = behind

    def __call__(self, signum: int, frame: Any) -> None:
        if not callable(self.behind):
            return
        try:
            self.behind(signum, frame)
        except RuntimeError as error:
            self.watch.missed = error
            if self.watch.waiting:
                raise


def _death(error: BaseException) -> str | None:
    """What torch says of a dead worker, if that is what it says."""
    said = str(error)
    gone = "exited unexpectedly" in said or "killed by signal" in said
    return said.splitlines()[-1] if gone else None
