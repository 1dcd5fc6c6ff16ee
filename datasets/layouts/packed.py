"""A data set decoded once into one file, which is mapped into memory: reading an image is no more than touching it.

The file: a header of 32 bytes (the magic, and where the table stands), the images one after another as bytes
(H, W, 3), and a table in JSON: version, classes, labels, names, places and sizes, and what the file was made from.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...registry import DATASETS, UnavailableError, UserError
from ...registry.errors import in_short
from ...registry.fit import Misfit, fit
from ..base import CombinedImages, ImageFiles, LabelledImages, name_of, place_of
from ..loading.batched.resizing import resize
from ..loading.pictures import LazyPicture, as_tensor
from ..loading.reading import Reader

MAGIC = b"knollpck"
VERSION = 1
HEADER = struct.Struct("<8sQQ8s")  # magic, start and length of the table, the first bytes of its SHA-256


class Mapped(LazyPicture):
    """An image in a packed file."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels

    @property
    def size(self) -> tuple[int, int]:
        return self._pixels.shape[0], self._pixels.shape[1]

    @property
    def tensor(self) -> Tensor:
        return torch.from_numpy(self._pixels).permute(2, 0, 1)


@DATASETS.register_module()
class Packed(LabelledImages):
    """A file that `tools/data.py pack` made: RGB images, decoded, the shorter side brought to a size.

    Processes that read it share its pages: the file is in memory once, as far as there is room.

    Args:
        file: made by `pack`.

    Raises:
        UnavailableError: there is no such file.
        UserError: it is something else, cut off, or of another version.
    """

    def __init__(self, file: str) -> None:
        self.file = Path(file)
        table = read_table(self.file)
        self.source: str = table["source"]
        self.classes: list[str] = table["classes"]
        self.labels = table["labels"] if _are_numbers(table["labels"]) else np.array(table["labels"], np.float32)
        self.names: list[str] = table["names"]
        self.fingerprint: str = table["fingerprint"]
        self._places = np.array(table["places"], np.int64).reshape(-1, 3)  # start, height, width
        self._map()

    def _map(self) -> None:
        # "c": pages are shared with other processes as long as nobody writes to them, and nobody does.
        self._bytes = np.memmap(self.file, np.uint8, mode="c")

    def gather(self, indices: np.ndarray) -> list[Mapped]:
        """The images at some positions, not yet read."""
        return [Mapped(self._pixels(index)) for index in indices.tolist()]

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """An image, RGB, and its label."""
        return Mapped(self._pixels(index)).pil, self.labels[index]

    def _pixels(self, index: int) -> np.ndarray:
        start, height, width = self._places[index].tolist()
        return self._bytes[start : start + height * width * 3].reshape(height, width, 3)

    def name(self, index: int) -> str:
        return self.names[index]

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_bytes"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        self._map()


def read_table(file: Path) -> dict[str, Any]:
    """What a packed file says of itself.

    Raises:
        UnavailableError: there is no such file.
        UserError: it is something else, cut off, or of another version.
    """
    if not os.path.isfile(file):  # False also of a name that is too long
        raise UnavailableError(f"there is no packed file {file}: python tools/data.py pack makes it")
    with file.open("rb") as opened:
        header = opened.read(HEADER.size)
        if not header.startswith(MAGIC) or len(header) < HEADER.size:
            raise UserError(f"{file} is not a packed file: python tools/data.py pack makes one")
        _, start, length, digest = HEADER.unpack(header)
        opened.seek(min(start, os.fstat(opened.fileno()).st_size))
        text = opened.read(min(length, os.fstat(opened.fileno()).st_size))
    if len(text) < length or length == 0:
        raise UserError(f"{file} is cut off: pack it again")
    try:
        table = json.loads(text)
        if table["version"] != VERSION:
            raise UserError(f"{file} is of version {table['version']}; this Knoll reads {VERSION}: pack it again")
        if digest not in (_digest(text), bytes(8)):  # files that were made before there was one have zeros
            raise UserError(f"{file} is damaged: its table is not what was written. Pack it again")
        _require_whole(table, start)
    except (ValueError, TypeError, KeyError, RecursionError, Misfit) as error:
        raise UserError(f"{file} is damaged ({in_short(error)}): pack it again") from error
    return table


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()[:8]


def _require_whole(table: dict[str, Any], end: int) -> None:
    """Every sample has its label, its name, and its place before the table."""
    kinds = dict(classes=list[str], names=list[str], labels=list, places=list[tuple[int, int, int]], source=str)
    for key, kind in (kinds | dict(fingerprint=str)).items():
        fit(table[key], kind)
    if not len(table["labels"]) == len(table["names"]) == len(table["places"]):
        raise ValueError("there are not as many labels and names as images")
    for start, height, width in table["places"]:
        if min(height, width) < 1 or not HEADER.size <= start <= end - height * width * 3:
            raise ValueError(f"an image of {height} x {width} at {start} lies outside of the images")


def pack(
    dataset: Any, file: Path, size: int, source: str, on_progress: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Write a data set to a packed file: whole, or not at all.

    Args:
        size: of the shorter side, in pixels; images that are smaller stay as they are.
        source: in words, where the images come from.
        on_progress: called after every image.

    Returns:
        the table of the file.

    Raises:
        UserError: an image cannot be read, or the data set does not tell its labels.
    """
    if not hasattr(dataset, "labels") or not hasattr(dataset, "classes"):
        raise UserError(f"{type(dataset).__name__} does not tell `labels` and `classes`: it cannot be packed")
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with partial.open("wb") as opened:
            opened.write(bytes(HEADER.size))
            places = []
            for image in _images(dataset, size):
                pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
                places.append([opened.tell(), *pixels.shape[:2]])
                opened.write(pixels.tobytes())
                on_progress()
            table = {
                "version": VERSION,
                "source": source,
                "size": size,
                "classes": [str(name) for name in dataset.classes],
                "labels": np.asarray(dataset.labels).tolist(),
                "names": [name_of(dataset, index) for index in range(len(dataset))],
                "places": places,
                "fingerprint": fingerprint(dataset),
            }
            text = json.dumps(table).encode()
            start = opened.tell()
            opened.write(text)
            opened.seek(0)
            opened.write(HEADER.pack(MAGIC, start, len(text), _digest(text)))
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(partial, file)
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    return table


def fingerprint(dataset: Any) -> str:
    """What tells whether a data set is still the one that was packed: its names, labels and sizes of files.

    Raises:
        UserError: a file is gone.
    """
    digest = hashlib.sha256(repr([str(name) for name in dataset.classes]).encode())
    for index in range(len(dataset)):
        own, place = dataset, index
        while isinstance(own, CombinedImages):
            own, place = own.locate(place)
        try:
            size = own.files[place].stat().st_size if isinstance(own, ImageFiles) else None
        except OSError as error:
            raise UserError(f"{place_of(own, place)} cannot be read: {error.strerror}") from error
        digest.update(repr((name_of(dataset, index), np.asarray(dataset.labels[index]).tolist(), size)).encode())
    return digest.hexdigest()


def _images(dataset: Any, size: int) -> Iterator[Tensor]:
    """Every image (3, H, W), its shorter side no longer than `size`."""
    reader = Reader(dataset)
    for index in range(len(dataset)):
        images, _ = reader.read(np.array([index]), lambda: [0])
        image = as_tensor(images[0])
        if image.dtype != torch.uint8 or image.ndim != 3 or len(image) != 3:
            raise UserError(
                f"{name_of(dataset, index)} is no image in colour but {image.dtype} of {tuple(image.shape)}: "
                "packing is for photographs in files"
            )
        short = min(image.shape[1:])
        if short > size:
            height, width = (round(side * size / short) for side in image.shape[1:])
            image = resize(image, (height, width), "bilinear")
        yield image


def _are_numbers(labels: list[Any]) -> bool:
    return not labels or not isinstance(labels[0], list)
