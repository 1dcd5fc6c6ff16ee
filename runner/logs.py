"""The log that a person reads: on the console, and in the run's folder."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..registry.system_errors import in_words
from .saving.known_holes import warn_of_known_holes


class _Console(logging.Handler):
    """Prints to what sys.stdout is at that moment: a progress bar replaces it to keep lines above itself."""

    failed = False

    def emit(self, record: logging.LogRecord) -> None:
        if self.failed:
            return
        try:
            print(self.format(record), file=sys.stdout, flush=True)
        except (OSError, ValueError):  # nobody reads any more; a run goes on, and its folder has the log
            self.failed = True


class _File(logging.FileHandler):
    """A log that cannot be written ends no run: it is said once."""

    failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.failed:
            self.failed = True
            error.filename = error.filename or self.baseFilename
            print(f"note: the log is not kept any more: {in_words(error)}", file=sys.stderr)

    def close(self) -> None:
        with suppress(OSError):  # what could not be written is tried once more
            super().close()


class _Kept(logging.handlers.BufferingHandler):
    """Keeps what is logged before a run has its folder: what became of the weights, what is frozen."""

    def flush(self) -> None: ...  # not when it is full: when there is a file to write to


def start_logging(rank: int = 0) -> logging.Logger:
    """The log on the console. What a new run logs before it has a folder is kept for its file.

    Of several processes only the first (rank 0) says what all could say; the others only warn.
    """
    logger = logging.getLogger("knoll")
    for handler in [each for each in logger.handlers if isinstance(each, _Kept)]:
        logger.removeHandler(handler)
    if rank == 0:
        logger.addHandler(_Kept(capacity=0))
    consoles = [each for each in logger.handlers if isinstance(each, _Console)]
    for console in consoles:
        console.failed = False
    if not consoles:
        logger.addHandler(_Console())
        logger.propagate = False
        logger.setLevel(logging.INFO)
    if rank == 0:
        warn_of_known_holes()
    else:
        logger.setLevel(logging.WARNING)
    return logger


@contextmanager
def logging_to(folder: Path) -> Iterator[None]:
    """The log is kept in `log.txt` too, from where it began."""
    handler = _File(folder / "log.txt", encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("knoll")
    for kept in [each for each in logger.handlers if isinstance(each, _Kept)]:
        for record in kept.buffer:
            handler.handle(record)
        logger.removeHandler(kept)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
