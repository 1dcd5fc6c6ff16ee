"""Samples in, batches out, in an order that any run can continue from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...registry import ConfigError, UserError
from ...registry.errors import one_line
from ..base import ArrayImages, name_of
from ..samplers import Sampler
from .ahead import placed_ahead
from .pipeline import Keys, Pipeline
from .randomness import derive_seed
from .reading import bottoms
from .workers import Prepared, Samples, StartMethod, fetch_all, no_float_tensor

logger = logging.getLogger("knoll")

CPU = torch.device("cpu")


class Batch(NamedTuple):
    """Images (N, C, H, W), labels, and where in the data set they stand (N,).

    Labels are class numbers (N,), int64, or a row of numbers for each image, (N, classes), float32: multi-hot labels,
    shares of classes, measured values.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor

    def to(self, device: torch.device | str) -> Batch:
        if device == self.images.device == CPU:
            return self
        # Only CUDA has read the source when the call returns, or keeps pinned memory until it has; MPS may read it when
        # the next batch lies there (pytorch issue 189690).
        non_blocking = torch.device(device).type == "cuda"
        return Batch(*(each.to(device, non_blocking=non_blocking) for each in self))


class _Loader:
    """What training and evaluation have in common: fetching, finishing and placing batches.

    Args:
        transforms: callables, applied in order; see Pipeline.
        num_workers: processes that read ahead; 0 reads in this one.
        seed: of all that is random about a sample.
        start_method: how workers are started; by default as Python does on this system.
        skip: leave out images that cannot be read, and name them in the log.
    """

    def __init__(
        self,
        dataset: Any,
        transforms: Sequence[Callable],
        *,
        batch_size: int,
        num_workers: int,
        seed: int,
        start_method: StartMethod | None = None,
        skip: bool = False,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.start_method: StartMethod | None = start_method
        self.device = torch.device("cpu")
        self.transforms = list(transforms)
        self.skipped: dict[int, str] = {}
        self._pipeline = Pipeline(transforms, seed)
        self._samples = Samples(dataset, self._pipeline, skip)

    def to(self, device: torch.device) -> None:
        """Deliver batches on a device; keep the data set itself there, if it is of arrays and small enough."""
        self.device = device
        if self.num_workers == 0 and device.type != "cpu" and self._pipeline.runs_anywhere:
            for part in bottoms(self.dataset):
                if isinstance(part, ArrayImages) and _fits(part.images, device):
                    part.to(device)

    def first(self) -> Batch:
        """A batch of the first sample alone, read in this process: shows a mistake in data or transforms before a run.

        Raises:
            UserError: it cannot be read, or the transforms do not leave a float tensor.
        """
        return next(self._fetch([Keys.once([0])], workers=0))

    def _fetch(self, keys: Iterable[Keys], workers: int) -> Iterator[Batch]:
        pin_memory = self.device.type != "cpu" and torch.accelerator.is_available()
        prepared = fetch_all(self._samples, keys, workers, self.start_method, pin_memory)
        return placed_ahead(prepared, self._finish, self.device)

    def _finish(self, batch: Prepared) -> Batch:
        for index, reason in batch.skipped.items():
            self._note(index, reason)
        indices = torch.from_numpy(batch.keys.indices)
        placed = Batch(batch.images, batch.labels, indices).to(self.device)
        try:
            images = self._pipeline.finish(placed.images, batch.keys)
        except (ValueError, TypeError, RuntimeError) as error:
            name = name_of(self.dataset, int(batch.keys.indices[0]))
            raise UserError(f"the transforms fail on sample {name}: {error}") from error
        if not images.is_floating_point():
            raise no_float_tensor(f"a {images.dtype} tensor")
        return Batch(images, placed.labels, placed.indices)

    def _note(self, index: int, reason: str) -> None:
        if index not in self.skipped:
            self.skipped[index] = reason
            logger.warning("skipped (%d so far): %s", len(self.skipped), one_line(reason))


def _fits(images: np.ndarray, device: torch.device) -> bool:
    """Whether an array takes less than a quarter of what is free on a device, and is in memory already."""
    if isinstance(images, np.memmap) or device.type != "cuda":
        return False
    return images.nbytes < torch.cuda.mem_get_info(device)[0] / 4


class TrainLoader(_Loader):
    """The batches of a whole run, numbered from 0 through all epochs, so that a run starts again at any of them.

    Args:
        sampler: the order of each epoch.
        drop_last: leave out the last batch of an epoch if it is not full.
        part: which of several processes this one is, and of how many. Together their batches of one number have so
            many times `batch_size` images, which stand beside each other in the sampler's order; an epoch's last ones
            are as even as can be.
        (others): see _Loader.

    Raises:
        ConfigError: an epoch's last batch has fewer images than there are processes.
    """

    def __init__(
        self,
        dataset: Any,
        transforms: Sequence[Callable],
        sampler: Sampler,
        *,
        drop_last: bool,
        part: tuple[int, int] = (0, 1),
        **options: Any,
    ) -> None:
        super().__init__(dataset, transforms, **options)
        self.sampler = sampler
        self.part = part
        try:
            self.starts = batch_starts(len(sampler), self.batch_size, drop_last, part[1])
        except (MemoryError, OverflowError) as error:
            raise ConfigError("train.sampler: an epoch of so many samples does not fit into memory") from error
        self.batches_per_epoch = len(self.starts) - 1
        if any(end - start < part[1] for start, end in pairwise(self.starts[-3:])):
            raise ConfigError(
                f"train: {len(sampler)} images an epoch cannot be divided among {part[1]} processes: its last batch "
                "has fewer: set train.drop_last=True, or another batch_size"
            )

    def batches(self, start: int, stop: int) -> Generator[Batch, None, None]:
        """The batches numbered `start` to `stop` - 1.

        One iterator for the whole run: workers go on reading over the end of an epoch.

        Raises:
            UserError: a sample cannot be read.
        """
        yield from self._fetch(self._keys(start, stop), self.num_workers)

    def _keys(self, start: int, stop: int) -> Iterator[Keys]:
        order = copies = np.empty(0, np.int64)
        ordered = -1
        for number in range(start, stop):
            epoch, position = divmod(number, self.batches_per_epoch)
            if epoch != ordered:
                order, ordered = np.asarray(self.sampler.order(epoch), np.int64), epoch
                copies = _earlier(order)
            own = self._own(self.starts[position], self.starts[position + 1])
            yield Keys(epoch, order[own], copies[own])

    def _own(self, start: int, end: int) -> slice:
        rank, parts = self.part
        return slice(start + (end - start) * rank // parts, start + (end - start) * (rank + 1) // parts)


def batch_starts(samples: int, batch_size: int, drop_last: bool, parts: int) -> list[int]:
    """Where the batches of an epoch begin, those of all parts together, and where the last one ends."""
    if drop_last:
        return list(range(0, samples + 1, batch_size * parts))
    starts = [*range(0, samples, batch_size * parts), samples]
    # One image alone has no variance for BatchNorm: the last batch takes what it wants from that before it.
    least = parts * (2 if batch_size > 2 else 1)
    if len(starts) > 2 and samples - starts[-2] < least:
        starts[-2] = samples - least
    return starts


def _earlier(order: np.ndarray) -> np.ndarray:
    """For each place in an order, how often its sample has come before."""
    by_sample = np.argsort(order, kind="stable")
    ordered = order[by_sample]
    is_first = np.r_[True, ordered[1:] != ordered[:-1]] if len(order) else np.empty(0, bool)
    places = np.arange(len(order))
    earlier = np.empty(len(order), np.int64)
    earlier[by_sample] = places - np.maximum.accumulate(np.where(is_first, places, 0))
    return earlier


class EvaluationLoader(_Loader):
    """Every sample of a data set once, in its order; each pass is the same.

    Args:
        part: which part of the batches, of how many: `(1, 3)` has those numbered 1, 4, 7, ... So each batch is what it
            is in one process, and so are its logits. All parts have as many: where there are none left for a part, it
            has the last one once more, which does not count (`rounds`).
        (others): see _Loader.
    """

    def __init__(
        self,
        dataset: Any,
        transforms: Sequence[Callable],
        *,
        seed: int,
        part: tuple[int, int] = (0, 1),
        **options: Any,
    ) -> None:
        super().__init__(dataset, transforms, seed=derive_seed(seed, "evaluation"), **options)
        self.part = part

    def __iter__(self) -> Iterator[Batch]:
        (rank, parts), batches = self.part, self._batches()
        numbers = range(rank, rank + len(batches), parts)
        keys = [Keys.once(batches[min(number, len(batches) - 1)]) for number in numbers]
        return self._fetch(keys, self.num_workers)

    def rounds(self) -> list[list[int]]:
        """How many images the batches have that the parts read at the same time; 0 where one does not count."""
        lengths, parts = [len(batch) for batch in self._batches()], self.part[1]
        lengths += [0] * (-len(lengths) % parts)
        return [lengths[start : start + parts] for start in range(0, len(lengths), parts)]

    def _batches(self) -> list[range]:
        samples = range(len(self.dataset))
        return [samples[start : start + self.batch_size] for start in samples[:: self.batch_size]]
