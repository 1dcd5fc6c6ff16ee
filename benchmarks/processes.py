"""Measurements in a process of their own: for peak memory, and for what changes the process that it runs in."""

from __future__ import annotations

import os
import re
import resource
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def in_own_process(function: Callable[..., Any], *arguments: Any, quiet: bool = True) -> tuple[Any, int]:
    """What a function returns in a fresh process, and the most memory that this process had, in bytes.

    Args:
        function: of a module, not a lambda: the process imports it. The peak holds the imports too.
        quiet: keep what it prints to itself. When the function fails, the end of that is noted in its exception.
    """
    # Spawned, not forked: a copy of this process would begin with this one's memory, threads and settings.
    with (
        ProcessPoolExecutor(1, get_context("spawn")) as pool,
        tempfile.NamedTemporaryFile("r", errors="replace") as said,
    ):
        try:
            return pool.submit(_call, function, arguments, said.name if quiet else None).result()
        except Exception as error:
            if sys.version_info >= (3, 11) and (end := said.read().splitlines()[-20:]):
                error.add_note("\n".join(end))
            raise


def _call(function: Callable[..., Any], arguments: tuple, log: str | None) -> tuple[Any, int]:
    # What looks for a package of the name `datasets`, as several frameworks do, is not to find our folder. `benchmarks`
    # is imported by now, and knows its own place.
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != ROOT]
    if log:
        file = os.open(log, os.O_WRONLY)
        os.dup2(file, sys.stdout.fileno())
        os.dup2(file, sys.stderr.fileno())
    try:
        return function(*arguments), peak_memory()
    finally:
        sys.stdout.flush()


def peak_memory() -> int:
    """The most memory that this process has had so far, in bytes."""
    status = Path("/proc/self/status")
    # Linux counts into ru_maxrss of a process what the one had that started it.
    if status.exists() and (found := re.search(r"VmHWM:\s*(\d+) kB", status.read_text())):
        return int(found[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
