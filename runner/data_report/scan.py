"""Every sample of a data set read once, to its end, in several processes: what it is, and whether it can be read."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ...datasets.base import ArrayImages, EncodedImages, name_of
from ...datasets.loading.decoding import decode, open_image
from ...datasets.loading.pipeline import Pipeline
from ...datasets.transforms import build_transforms
from ...registry import UserError
from .pixels import Moments, moments
from .sets import bottom

CHUNK = 64
ORIENTATION = 0x0112  # EXIF's tag; 1 is upright


class Record(NamedTuple):
    """What was found of one sample.

    Args:
        index: in the set.
        digest: of the file's bytes, or of the pixels where there is no file: equal for equal samples, b"" if unread.
        format: of the file: "JPEG", "PNG"; "array" where there is none.
        mode: Pillow's, as in the file: "RGB", "L", "CMYK", "I;16"; "row" for a table's.
        size: (width, height) as it is shown; None for a row.
        turned: whether its EXIF orientation turned it.
        moments: of its pixels, if they were asked for.
        label: as the sample came with it, if that was asked for.
        problem: why it cannot be read; "" if it can.
        misfit: why the transforms do not take it; "" if they do.
    """

    index: int
    digest: bytes = b""
    format: str = ""
    mode: str = ""
    size: tuple[int, int] | None = None
    turned: bool = False
    moments: Moments | None = None
    label: Any = None
    problem: str = ""
    misfit: str = ""


def scan(
    dataset: Any,
    *,
    transforms: list[dict] | None = None,
    with_labels: bool = False,
    workers: int = 0,
    on_progress: Callable[[int], None] = lambda count: None,
) -> Iterator[Record]:
    """A record of every sample, in order.

    Args:
        transforms: configs that an image goes through before its pixels are measured; None measures none.
        with_labels: keep the labels too, of a data set that does not tell them otherwise.
        workers: processes that read; 0 reads in this one.
        on_progress: called with the number of samples that were read since the last time.
    """
    chunks = [range(start, min(start + CHUNK, len(dataset))) for start in range(0, len(dataset), CHUNK)]
    reader = DataLoader(
        _Reader(dataset, transforms, with_labels),
        batch_sampler=chunks,  # pyright: ignore[reportArgumentType]
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=_ignore_interrupts,
        generator=torch.Generator(),  # else the global one is drawn from
    )
    for records in reader:
        on_progress(len(records))
        yield from records


def _ignore_interrupts(worker: int) -> None:
    # Ctrl-C goes to every process: this one ends the workers, which would each print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Reader(Dataset):
    def __init__(self, dataset: Any, transforms: list[dict] | None, with_labels: bool) -> None:
        self.dataset = dataset
        self.transform = None if transforms is None else Pipeline(build_transforms(transforms))
        self.with_labels = with_labels

    def __getitem__(self, index: int) -> Record:
        try:
            record, picture = _read(self.dataset, index)
            if self.with_labels:
                record = record._replace(label=self.dataset[index][1])
        except UserError as error:
            return Record(index, problem=str(error))
        except Exception as error:  # a data set can be anyone's
            return Record(index, problem=f"{name_of(self.dataset, index)}: {type(error).__name__}: {error}")
        if self.transform is None or record.mode == "row":
            return record
        try:
            return record._replace(moments=moments(picture, self.transform))
        except (ValueError, TypeError, RuntimeError) as error:
            return record._replace(misfit=f"{name_of(self.dataset, index)}: {error}")


def _read(dataset: Any, index: int) -> tuple[Record, Any]:
    """What a sample is, and its picture."""
    own, place = bottom(dataset, index)
    if isinstance(own, EncodedImages):
        data = own.encoded(place)
        header = open_image(data, own.place(place))
        picture = decode(data, own.place(place))
        kind = header.format or "", header.mode, picture.size, header.getexif().get(ORIENTATION, 1) != 1
        return Record(index, _digest(data), *kind), picture
    if isinstance(own, ArrayImages):
        row = own.images[place]
        digest = _digest(np.ascontiguousarray(row).tobytes() + repr(row.shape).encode())
        return Record(index, digest, "array", *_kind_of_array(row)), None if row.ndim == 1 else own[place][0]
    return _read_any(index, own[place][0])


def _kind_of_array(row: np.ndarray) -> tuple[str, tuple[int, int] | None]:
    if row.ndim == 1:
        return "row", None
    return ("L" if row.ndim == 2 else "RGB"), (row.shape[1], row.shape[0])


def _read_any(index: int, picture: Any) -> tuple[Record, Any]:
    """A sample of a data set that is none of Knoll's: a picture, a tensor (C, H, W), or the row of a table."""
    if isinstance(picture, Image.Image):
        data = picture.tobytes() + repr((picture.mode, picture.size)).encode()
        return Record(index, _digest(data), picture.format or "array", picture.mode, picture.size), picture
    if isinstance(picture, (Tensor, np.ndarray)) and picture.ndim in (1, 2, 3):
        array = np.ascontiguousarray(picture)
        digest = _digest(array.tobytes() + repr(array.shape).encode())
        if array.ndim == 1:
            return Record(index, digest, "array", "row"), picture
        size = (array.shape[-1], array.shape[-2])
        return Record(index, digest, "array", f"{array.dtype} {array.shape}", size), picture
    return Record(index, format=type(picture).__name__, mode="unknown"), picture


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
