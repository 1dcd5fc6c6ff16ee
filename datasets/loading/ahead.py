"""Batches on their way to a CUDA device while it computes with the one before."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING

import torch

from .workers import Prepared, mapped

if TYPE_CHECKING:
    from .loader import Batch


def placed_ahead(
    batches: Generator[Prepared, None, None], finish: Callable[[Prepared], Batch], device: torch.device
) -> Iterator[Batch]:
    """Batches as `finish` places them, in their order: on CUDA each is copied, and its transforms that run on the
    device are run, in a stream of their own while the one before it is worked on.

    What a batch needs is read one batch earlier than without. An error in that comes out where it would have come: the
    batch before it is given first.
    """
    return _placed_ahead(batches, finish, device) if device.type == "cuda" else mapped(finish, batches)


def _placed_ahead(
    batches: Iterable[Prepared], finish: Callable[[Prepared], Batch], device: torch.device
) -> Iterator[Batch]:
    stream, waiting = torch.cuda.Stream(device), None
    try:
        for batch in batches:
            following = _start(batch, finish, stream, device)
            if waiting is not None:
                yield waiting()
            waiting = following
    except Exception:
        if waiting is not None:
            yield waiting()
        raise
    if waiting is not None:
        yield waiting()


def _start(
    batch: Prepared, finish: Callable[[Prepared], Batch], stream: torch.cuda.Stream, device: torch.device
) -> Callable[[], Batch]:
    """Begin to place a batch; what is returned waits until it is there, on the device and not here."""
    if batch.images.device.type == "cuda":  # the data set lies on the device, and has put it together there
        return lambda: finish(batch)
    with torch.cuda.stream(stream):
        placed = finish(batch)
        there = stream.record_event()

    def wait() -> Batch:
        current = torch.cuda.current_stream(device)
        current.wait_event(there)
        for tensor in placed:
            tensor.record_stream(current)  # else its memory may be given to the next batch while it is still read
        return placed

    return wait
