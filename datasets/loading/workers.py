"""Batches in worker processes, or in this one: what is fetched, and what happens when a worker fails."""

from __future__ import annotations

import atexit
import multiprocessing
import pickle
import signal
import sys
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from types import TracebackType
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ...registry import UserError
from ...registry.discover import asked_for, import_again
from ..base import name_of
from .lost_workers import watched
from .pictures import SampleError
from .pipeline import Keys, Pipeline
from .reading import Reader

StartMethod: TypeAlias = Literal["fork", "spawn", "forkserver"]
T = TypeVar("T")
U = TypeVar("U")

TIMEOUT = 300.0  # seconds


class Prepared(NamedTuple):
    """A batch as it leaves a worker.

    Args:
        images: (N, C, H, W), of bytes if they become floats on the device.
        skipped: of each image that was left out, its index and what is wrong with it.
    """

    images: Tensor
    labels: Tensor
    keys: Keys
    skipped: dict[int, str]


class Samples(Dataset):
    """Fetches whole batches by their keys. The epoch travels with the indices: an attribute set on the data set would
    not reach workers that are running already.

    Args:
        skip: leave out images that cannot be read, instead of an error.
    """

    def __init__(self, dataset: Any, pipeline: Pipeline, skip: bool = False) -> None:
        self.dataset = dataset
        self.reader = Reader(dataset)
        self.pipeline = pipeline
        self.skip = skip
        self._unreadable: dict[int, str] = {}  # found by this process, and not tried again

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker that is not a copy of this process (spawn) must import what the data set is made of before it can
        # be unpickled: the files of `imports` and `plugins` are on no path where Python looks.
        return _unpickle, (asked_for(), pickle.dumps(self.__dict__))

    def __getitems__(self, keys: Keys) -> Prepared | UserError:
        """A batch; or the error, to be raised where it can be shown without a worker's traceback around it."""
        while True:
            try:
                return self._fetch(keys)
            except SampleError as error:
                index = int(error.keys.indices[error.position])
                if not error.unreadable:
                    return UserError(f"the transforms fail on sample {name_of(self.dataset, index)}: {error}")
                if not self.skip:
                    return UserError(str(error))
                self._unreadable[index] = str(error)
            except UserError as error:
                return error

    def _fetch(self, keys: Keys) -> Prepared:
        skipped = {}
        if self._unreadable:
            skipped = {index: self._unreadable[index] for index in keys.indices.tolist() if index in self._unreadable}
            keys = keys.where([index not in skipped for index in keys.indices.tolist()])
        if len(keys.indices) == 0:
            raise UserError(f"no image of a batch can be read: {next(iter(skipped.values()))}")
        try:
            images, labels = self.reader.read(keys.indices, lambda: self.pipeline.seeds(keys))
            images = self.pipeline.prepare(images, keys)
        except SampleError as error:
            error.keys = keys
            raise
        except (ValueError, TypeError, RuntimeError) as error:  # of the batch as a whole: as well the first of it
            raise UserError(
                f"the transforms fail on sample {name_of(self.dataset, int(keys.indices[0]))}: {error}"
            ) from error
        if not isinstance(images, Tensor):
            raise _explain_no_tensor(images)
        return Prepared(images, self._stack(labels, keys), keys, skipped)

    def _stack(self, labels: Tensor | list[Any], keys: Keys) -> Tensor:
        if isinstance(labels, Tensor):
            return labels
        tensors = []
        for index, label in zip(keys.indices.tolist(), labels, strict=True):
            try:
                tensors.append(_as_label(label))
            except (TypeError, ValueError, RuntimeError) as error:
                raise UserError(
                    f"the label of sample {name_of(self.dataset, index)} is {label!r} ({type(label).__name__}); "
                    "a label is the number of its class, from 0, or a row with a number for each class"
                ) from error
        try:
            return torch.stack(tensors)
        except RuntimeError as error:
            shapes = sorted({tuple(label.shape) for label in tensors})
            raise UserError(f"labels of one batch have different shapes, such as {shapes[:3]}") from error


def _unpickle(asked: dict[str, list[str]], state: bytes) -> Samples:
    import_again(asked)
    samples = Samples.__new__(Samples)
    samples.__dict__ = pickle.loads(state)
    return samples


def _as_label(label: Any) -> Tensor:
    """A label as losses take it: a class number as int64, a row of numbers, of any kind, as float32."""
    tensor = torch.as_tensor(label)
    if tensor.ndim > 1:
        raise ValueError("a label is a number or a row of numbers")
    return tensor.float() if tensor.ndim == 1 or tensor.is_floating_point() else tensor.long()


def _explain_no_tensor(images: list[Any]) -> UserError:
    first = images[0]
    if not isinstance(first, Tensor):
        return no_float_tensor(f"a {type(first).__name__}")
    shapes = sorted({tuple(image.shape) for image in images})
    if len(shapes) == 1:
        kinds = ", ".join(sorted({str(image.dtype) for image in images}))
        return UserError(f"images of one batch have numbers of different kinds: {kinds}: begin the list with ToDtype")
    if len({image.shape[:-2] for image in images}) > 1:
        return UserError(
            f"images of one batch have different channels, with shapes such as {shapes[:3]}: begin the list with "
            "dict(type='RGB') or dict(type='Grayscale')"
        )
    return UserError(f"images of one batch have different shapes, such as {shapes[:3]}: add a Resize or crop")


def no_float_tensor(kind: str) -> UserError:
    """What to say when a list of transforms ends too early."""
    return UserError(
        f"the transforms leave {kind}; the model takes a float tensor: end the list with "
        "dict(type='ToImage'), dict(type='ToDtype', dtype='float32', scale=True)"
    )


def fetch_all(
    samples: Samples, keys: Iterable[Keys], workers: int, start_method: StartMethod | None, pin_memory: bool
) -> Generator[Prepared, None, None]:
    """The batches of these keys, in their order, read ahead by worker processes if there are any.

    Raises:
        UserError: a sample cannot be read, or a worker is gone.
    """
    if workers == 0:
        return (_require_batch(samples.__getitems__(each)) for each in keys)
    return mapped(_require_batch, _by_workers(samples, keys, workers, start_method, pin_memory))


def mapped(function: Callable[[T], U], items: Generator[T, Any, None]) -> Generator[U, None, None]:
    """The function of each item, as `map` has it: none is kept while the next is waited for. Ends the items with it."""
    with closing(items):  # ends the workers at once, also after an error
        yield from map(function, items)


def _require_batch(fetched: Prepared | UserError) -> Prepared:
    if isinstance(fetched, UserError):
        raise fetched
    return fetched


def _by_workers(
    samples: Samples, keys: Iterable[Keys], workers: int, start_method: StartMethod | None, pin_memory: bool
) -> Generator[Prepared | UserError, None, None]:
    loader = DataLoader(
        samples,
        batch_sampler=keys,  # pyright: ignore[reportArgumentType]
        num_workers=workers,
        collate_fn=_same,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker,
        multiprocessing_context=start_method,
        timeout=TIMEOUT,
        generator=torch.Generator(),  # else every `iter` draws from the global one
    )
    others = set(multiprocessing.active_children())
    with _signals_held_back():
        fetched = iter(loader)
    _workers.update(set(multiprocessing.active_children()) - others)
    yield from watched(fetched, TIMEOUT)


def _same(batch: Any) -> Any:
    return batch


# A signal to the process group is the training process's to act on; workers end when it closes them.
_NOT_FOR_WORKERS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
]


def _start_worker(worker: int) -> None:
    for each in _NOT_FOR_WORKERS:
        signal.signal(each, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _NOT_FOR_WORKERS)
    sys.excepthook = _tell_unless_cut_off


def _tell_unless_cut_off(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # multiprocessing calls it in the thread that hands over a batch: the training process may end meanwhile.
    if not issubclass(kind, (ConnectionError, EOFError)):
        sys.__excepthook__(kind, error, trace)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """What is started meanwhile holds them back until it has learnt to ignore them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_WORKERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_workers: weakref.WeakSet[Any] = weakref.WeakSet()


@atexit.register
def kill_workers() -> None:
    """End those that are left, at once."""
    # At exit multiprocessing sends its children a SIGTERM and waits for them: for ever, as ours do not listen to it.
    left = [child for child in multiprocessing.active_children() if child in _workers]
    if left and hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would call their end an error
    for child in left:
        child.kill()
