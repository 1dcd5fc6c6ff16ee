"""Samples in, batches out: reading ahead in worker processes, in an order that any run can continue from."""

from __future__ import annotations

import atexit
import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterator, Sized
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from ..registry import UserError
from .base import name_of
from .randomness import derive_seed, seed_sample, untouched_random_state
from .samplers import Sampler


class Batch(NamedTuple):
    """Images (N, C, H, W), labels, and where in the data set they stand (N,).

    Labels are class numbers (N,), int64, or a row of numbers for each image, (N, classes), float32: multi-hot labels,
    shares of classes, measured values.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor

    def to(self, device: torch.device | str) -> Batch:
        return Batch(*(each.to(device, non_blocking=True) for each in self))


class _Samples(Dataset):
    """Fetches a whole batch by its keys (epoch, index). The epoch travels with the index: an attribute set on the
    data set would not reach workers that are running already."""

    def __init__(self, dataset: Any, transform: Callable, seed: int) -> None:
        self.dataset = dataset
        self.transform = transform
        self.seed = seed

    def __getitems__(self, keys: list[tuple[int, int]]) -> Batch | UserError:
        if get_worker_info() is None:  # the training process has generators of its own to keep
            with untouched_random_state():
                return self._fetch(keys)
        return self._fetch(keys)

    def _fetch(self, keys: list[tuple[int, int]]) -> Batch | UserError:
        samples = []
        for epoch, index in keys:
            seed_sample(derive_seed(self.seed, epoch, index))
            try:
                image, label = self.dataset[index]
            except UserError as error:
                return error  # raised again where it can be shown without a worker's traceback around it
            try:
                image = self.transform(image)
            except (ValueError, TypeError, RuntimeError) as error:
                return UserError(f"the transforms fail on sample {name_of(self.dataset, index)}: {error}")
            if not isinstance(image, Tensor) or not image.is_floating_point():
                kind = f"a {image.dtype} tensor" if isinstance(image, Tensor) else f"a {type(image).__name__}"
                return UserError(
                    f"the transforms leave {kind}; the model takes a float tensor: end the list with "
                    "dict(type='ToImage'), dict(type='ToDtype', dtype='float32', scale=True)"
                )
            try:
                label = _as_label(label)
            except (TypeError, ValueError, RuntimeError):
                return UserError(
                    f"the label of sample {name_of(self.dataset, index)} is {label!r} ({type(label).__name__}); "
                    "a label is the number of its class, from 0, or a row with a number for each class"
                )
            samples.append((image.as_subclass(Tensor), label, index))
        try:
            return Batch(*default_collate(samples))
        except RuntimeError:
            images, labels = (sorted({tuple(sample[part].shape) for sample in samples}) for part in (0, 1))
            if len(labels) > 1:
                return UserError(f"labels of one batch have different shapes, such as {labels[:3]}")
            return UserError(f"images of one batch have different shapes, such as {images[:3]}: add a Resize or crop")


def _as_label(label: Any) -> Tensor:
    """A label as losses take it: a class number as int64, a row of numbers, of any kind, as float32."""
    tensor = torch.as_tensor(label)
    if tensor.ndim > 1:
        raise ValueError("a label is a number or a row of numbers")
    return tensor.float() if tensor.ndim == 1 or tensor.is_floating_point() else tensor.long()


def _start_worker(worker: int) -> None:
    # A signal to the process group is the training process's to act on; workers end when it closes them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@atexit.register
def _end_workers() -> None:
    # At exit multiprocessing sends its children a SIGTERM and waits for them: for ever, as ours do not listen to it.
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()


def _same(batch: Any) -> Any:
    return batch


def _batches(keys: Any, samples: _Samples, num_workers: int, pin_memory: bool) -> DataLoader:
    return DataLoader(
        samples,
        batch_sampler=keys,
        num_workers=num_workers,
        collate_fn=_same,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # else every `iter` draws from the global one
    )


class TrainLoader:
    """The batches of a whole run, numbered from 0 through all epochs, so that a run starts again at any of them.

    Args:
        sampler: the order of each epoch.
        drop_last: leave out the last batch of an epoch if it is not full.
        seed: of all that is random about a sample.
        pin_memory: for copies to an accelerator that do not wait.
    """

    def __init__(
        self,
        dataset: Any,
        transform: Callable,
        sampler: Sampler,
        *,
        batch_size: int,
        drop_last: bool,
        num_workers: int,
        seed: int,
        pin_memory: bool = False,
    ) -> None:
        self.dataset = dataset
        self.samples = _Samples(dataset, transform, seed)
        self.sampler = sampler
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.batches_per_epoch = len(sampler) // batch_size if drop_last else -(-len(sampler) // batch_size)

    def batches(self, start: int, stop: int) -> Generator[Batch, None, None]:
        """The batches numbered `start` to `stop` - 1.

        One iterator for the whole run: workers go on reading over the end of an epoch.

        Raises:
            UserError: a sample cannot be read.
        """
        keys = self._keys(start, stop)
        for batch in _batches(keys, self.samples, self.num_workers, self.pin_memory):
            yield _raise_if_error(batch)

    def _keys(self, start: int, stop: int) -> Iterator[list[tuple[int, int]]]:
        order: list[int] = []
        ordered = -1
        for number in range(start, stop):
            epoch, position = divmod(number, self.batches_per_epoch)
            if epoch != ordered:
                order, ordered = self.sampler.order(epoch), epoch
            first = position * self.batch_size
            yield [(epoch, index) for index in order[first : first + self.batch_size]]


class EvaluationLoader:
    """Every sample of a data set once, in its order; each pass is the same."""

    def __init__(
        self,
        dataset: Any,
        transform: Callable,
        *,
        batch_size: int,
        num_workers: int,
        seed: int,
        pin_memory: bool = False,
    ) -> None:
        self.dataset = dataset
        self.samples = _Samples(dataset, transform, derive_seed(seed, "evaluation"))
        keys = _in_order(dataset, batch_size)
        self._loader = _batches(keys, self.samples, num_workers, pin_memory)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._loader:
            yield _raise_if_error(batch)


def _in_order(dataset: Sized, batch_size: int) -> list[list[tuple[int, int]]]:
    numbers = range(len(dataset))
    return [[(0, index) for index in numbers[start : start + batch_size]] for start in numbers[::batch_size]]


def first_sample(loader: TrainLoader | EvaluationLoader) -> Batch:
    """A batch of the first sample alone, read in this process: shows a mistake in data or transforms before a run.

    Raises:
        UserError: it cannot be read, or the transforms do not leave a float tensor.
    """
    return _raise_if_error(loader.samples.__getitems__([(0, 0)]))


def _raise_if_error(batch: Batch | UserError) -> Batch:
    if isinstance(batch, UserError):
        raise batch
    return batch
