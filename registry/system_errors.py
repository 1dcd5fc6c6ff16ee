"""What the machine refuses: a full disk, no permission, no memory. In words, with what to do about it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import one_line

_REMEDIES = {
    errno.ENOSPC: "make room there, or choose a place elsewhere (--work-dir, --out)",
    errno.EDQUOT: "the quota is used up: make room there, or choose a place elsewhere (--work-dir, --out)",
    errno.EROFS: "choose a place that can be written to (--work-dir, --out)",
    errno.EACCES: "give yourself the permission, or choose another place",
    errno.EPERM: "give yourself the permission, or choose another place",
    errno.EISDIR: "name a file",
    errno.ENOTDIR: "name a folder",
    errno.EMFILE: "raise the limit (ulimit -n 65536), or lower num_workers",
    errno.ENFILE: "the system has no more: end other programs, or lower num_workers",
    errno.EIO: "the disk or the network behind it fails: copy what is there, and look at the system's log (dmesg)",
    errno.EFBIG: "the file would be larger than is allowed: look at `ulimit -f` and at the file system's limit",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOMEM: "end other programs, or lower batch_size and num_workers",
}

OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # errors that reading does not have


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """An error of the system in here that names no file, as when a disk is full, is given this one."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


def in_words(error: OSError) -> str:
    """What happened, to which file, and what to do, on one line."""
    what = error.strerror or str(error) or type(error).__name__
    files = [one_line(os.fsdecode(name)) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    where = f"{' -> '.join(files)}: " if files else ""
    remedy = _REMEDIES.get(error.errno or 0, "--debug shows where")
    return f"{where}{one_line(what)}: {remedy}"


def lacks_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, is that there was not enough memory, of a computer or an accelerator."""
    while error is not None:
        # By its name: torch takes seconds to import. For a CPU it has no class.
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        if isinstance(error, RuntimeError) and any(each in str(error) for each in _NO_MEMORY):
            return True
        error = error.__cause__
    return False


_NO_MEMORY = ("can't allocate memory", "CUDA out of memory", "unable to mmap", "CUBLAS_STATUS_ALLOC_FAILED")
