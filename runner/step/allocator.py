"""Memory of the C library: kept for the next step instead of given back to the system after each."""

from __future__ import annotations

import ctypes
import os
import sys

# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1
_LARGEST = 32 * 2**20  # bytes; glibc takes no more on machines of 64 bits
# Whoever sets one of these has chosen himself.
_CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_freed_memory() -> bool:
    """Have glibc keep what is freed, for this process and those it forks from now on.

    By default it gives large blocks back at once. On a CPU every activation of every step is such a block, and the
    system clears each page again when it is next asked for: ResNet-18 at 64 pixels had 12,000 page faults in a step.
    Blocks above 32 MB are given back as before. Nothing is computed otherwise, and the most memory that a run needs at
    one time hardly changes; docs/speed.md has the figures.

    Returns:
        whether it was done: not where the C library is another, or the environment has chosen, for example tcmalloc.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _CHOSEN):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(_TRIM_THRESHOLD, _NEVER) and library.mallopt(_MMAP_THRESHOLD, _LARGEST))
