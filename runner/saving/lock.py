"""One run at a time in a folder."""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ...registry import UserError

logger = logging.getLogger("knoll")

FILE = "run.lock"
PATIENCE = 1.0  # seconds: longer than another run takes to look whether the folder is free
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder.

    The lock is the system's: it ends with this process, however that ends. What it forks, such as workers that live on
    for seconds after a kill -9, does not hold it (filelock closes the file in every child). The file itself stays.

    Raises:
        UserError: another run is in the folder; says which.
        OSError: the file cannot be written.
    """
    lock = FileLock(folder / FILE, fallback_to_soft=False)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        raise _in_use(folder) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        logger.warning("%s is on a file system without locks: see to it that no other run is started there", folder)
    try:
        if lock.is_locked:
            _sign(folder / FILE)
        yield
    finally:
        lock.release()


def require_free(folder: Path) -> None:
    """Refuse a folder that a run is in, without changing anything there.

    Raises:
        UserError: says which run.
    """
    if not (folder / FILE).is_file():
        return
    lock = FileLock(folder / FILE, fallback_to_soft=False)
    try:
        lock.acquire(timeout=PATIENCE)  # another process of the same run may just be looking as well
    except Timeout:
        raise _in_use(folder) from None
    except OSError:  # no permission, no locks: said when the run begins to write
        return
    lock.release()


def _sign(file: Path) -> None:
    holder = {"host": platform.node(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S %z")}
    with suppress(OSError):  # on Windows nobody may write a locked file
        file.write_text(json.dumps(holder), encoding="utf-8")


def _in_use(folder: Path) -> UserError:
    try:
        holder = json.loads((folder / FILE).read_text(encoding="utf-8"))
        who = f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
        end = f"end that one (kill {holder['pid']})"
    except (OSError, ValueError, KeyError, TypeError):
        who, end = "another process", "end that one"
    return UserError(f"{folder} is in use by a run: {who}. Wait for it, {end}, or choose another --work-dir")
