"""A place to make something in that shall be there as a whole or not at all."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory

_A_DAY = 24 * 3600


@contextmanager
def partial_folder(path: Path) -> Iterator[Path]:
    """A folder beside `path`, for the time it takes to make what will be moved there.

    A process that was killed leaves its folder behind. Those of the same name go once they are a day old: none that is
    younger, for another process may be at work in it.
    """
    for left in path.parent.glob(f".{escape(path.name)}.*.partial"):
        if left.is_dir() and time.time() - left.stat().st_mtime > _A_DAY:
            shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=".partial") as folder:
        yield Path(folder)
