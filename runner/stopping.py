"""Ending a run from outside, or having it saved: signals, and a time limit."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from types import FrameType

from ..datasets.loading.lost_workers import is_waiting
from ..datasets.loading.workers import kill_workers
from ..registry import UserError
from .processes.distributed import ALONE, World

# sysexits.h calls it "temporary failure, the user is invited to retry": a scheduler can queue the run again.
TIME_IS_UP = 75


class Stopping:
    """Listens, while a run trains, for what ends it or wants it saved.

        SIGINT (Ctrl-C)     save what is done and exit with 130; a second one ends the run at once
        SIGTERM, SIGHUP     save what is done and exit with 143, 129
        the time limit      save what is done and exit with 75
        SIGUSR1             save after this step, and go on

    A signal is only taken note of: the step that is being made is finished first. While the run waits for data nothing
    is half done, and it ends there; an evaluation is given up after the batch that it has come to. Signals that the
    program around this one handles or ignores are left to it.

    Of several processes, what one is told counts for all: they agree on it whenever they ask (`check`), so that all end
    after the same step, and while waiting for data as well. Ctrl-C reaches all of them: the first one tells.

    Args:
        world: the processes of the run.
        saves: whether the run saves at all; if not, that is said.

    Attributes:
        has_listened: a run has begun; it is listened to but once.
        save_now: SIGUSR1 has come; whoever saves sets it back.
        in_haste: Ctrl-C has come twice: nothing is saved any more.
    """

    def __init__(self, world: World = ALONE, saves: bool = True) -> None:
        self.world = world
        self.saves = saves
        self.save_now = self.in_haste = self.has_listened = self._interrupted = self._has_told = False
        self._asked = 0  # the signal that ends the run
        self._before: dict[int, object] = {}
        self._process = os.getpid()

    def listen(self, deadline: float | None = None) -> None:
        """Begin to listen.

        Args:
            deadline: when the time is up, by `time.monotonic`.

        Raises:
            UserError: there is a deadline, and no alarm; see `require_alarm`.
        """
        self.has_listened = True
        in_main_thread = threading.current_thread() is threading.main_thread()
        wanted = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if in_main_thread else ()
        for each in [getattr(signal, name) for name in wanted if hasattr(signal, name)]:
            if signal.getsignal(each) in (signal.SIG_DFL, signal.default_int_handler):
                self._before[each] = signal.signal(each, self._on_signal)
        if deadline is not None:
            self.require_alarm()
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._on_signal)
            signal.setitimer(signal.ITIMER_REAL, max(deadline - time.monotonic(), 1e-3))

    def require_alarm(self) -> None:
        """Refuse a time limit where there can be none.

        Raises:
            UserError: this system or this thread knows no alarm.
        """
        if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
            raise UserError("a time limit needs a system with alarm signals, and the main thread")

    def ignore(self) -> None:
        """Listen no longer."""
        if signal.SIGALRM in self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for each, handler in self._before.items():
            signal.signal(each, handler)  # pyright: ignore[reportArgumentType]
        self._before = {}

    def check(self) -> None:
        """Raise what ends the run, if it shall end: KeyboardInterrupt, or SystemExit with its exit status."""
        if self.world.size > 1:
            self._asked, save_now = self.world.largest(self._asked, self.save_now)
            self.save_now = bool(save_now) and (self.world.is_first or self.world.saves_together)
            self.world.ends_together = bool(self._asked)
        if self._asked:
            if not self._has_told:  # another process has been told
                self._tell_end(self._asked)
            raise _ending(self._asked)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a worker that has just been forked, and does not ignore signals yet
            return
        if number == getattr(signal, "SIGUSR1", None):
            self.save_now = self.saves
            if not self.saves:
                _tell(f"{_what(number)}:{_NOTHING_SAVED}")
            return
        if number == signal.SIGINT and self._interrupted:
            self.in_haste = True
            kill_workers()
            raise KeyboardInterrupt
        tells = not self._asked or number == signal.SIGINT
        self._asked = self._asked or number
        self._interrupted |= number == signal.SIGINT
        if tells:
            self._tell_end(number)
        if is_waiting() and self.world.size == 1:
            raise _ending(self._asked)

    def _tell_end(self, number: int) -> None:
        self._has_told = True
        if self.world.is_first:
            nothing = "" if self.saves else _NOTHING_SAVED
            _tell(f"{_what(number)}: the run ends after this step.{nothing}{_MORE.get(number, '')}")


_NOTHING_SAVED = " Nothing is saved: the config has no Checkpoint hook."
_MORE = {int(signal.SIGINT): " Once more ends it at once."}


def _tell(line: str) -> None:
    """Not through print or the log: a signal may have come in the middle of either."""
    with suppress(OSError):  # nobody reads any more: Ctrl-C has ended `| tee`, too, or the terminal is gone
        os.write(2, f"{line}\n".encode())


def _what(number: int) -> str:
    name = signal.Signals(number).name
    return {"SIGINT": "interrupted", "SIGALRM": "the time is up"}.get(name, name)


def _ending(number: int) -> BaseException:
    if number == signal.SIGINT:
        return KeyboardInterrupt()
    return SystemExit(TIME_IS_UP if number == getattr(signal, "SIGALRM", None) else 128 + number)
