"""Memory for one batch after the other."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import get_worker_info


class Recycled:
    """Takes rows out of a tensor into the same memory again and again, as soon as nobody holds what was there.

    So a batch has no fresh pages that the system must clear first; and where the C library keeps freed memory
    (`runner/step/allocator.py`), none is left behind that is a few bytes too small for the next batch: glibc before
    2.38 finds no use for a freed block of the very size, if blocks are to begin at multiples of 64 bytes as torch's do.
    """

    def __init__(self) -> None:
        self._rows: Tensor | None = None
        self._count = 0  # who holds the memory, beside those to whom it was given

    def index_select(self, source: Tensor, indices: Tensor) -> Tensor:
        """As torch's, along the first axis of a tensor on the CPU."""
        if get_worker_info() is not None:  # what a worker sends becomes memory that it shares
            return source.index_select(0, indices)
        rows = self._rows
        if rows is None or len(rows) < len(indices) or rows.shape[1:] != source.shape[1:] or rows.dtype != source.dtype:
            rows = self._allocate(source, len(indices))
        elif torch._C._storage_Use_Count(self._storage._cdata) > self._count:
            rows = self._allocate(source, len(rows))
        taken = rows.detach() if len(rows) == len(indices) else rows[: len(indices)]
        return torch.index_select(source, 0, indices, out=taken)

    def _allocate(self, source: Tensor, count: int) -> Tensor:
        self._rows = source.new_empty((count, *source.shape[1:]))
        self._storage = self._rows.untyped_storage()
        self._count = torch._C._storage_Use_Count(self._storage._cdata)
        return self._rows

    def __reduce__(self) -> tuple[type[Recycled], tuple[()]]:
        return Recycled, ()  # another process has its own memory
