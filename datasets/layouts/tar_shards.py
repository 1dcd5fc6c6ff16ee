"""Tar files with a file for each part of a sample (`0001.jpg`, `0001.cls`, `0002.jpg`, ...): WebDataset's layout."""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...registry import DATASETS, ConfigError, UnavailableError, UserError
from ..base import EncodedImages
from ..loading.decoding import endings
from .class_numbers import class_numbers

_OPEN_FILES = 64  # in each process; systems allow some hundreds


class _Member(NamedTuple):
    """A file in a shard: where its bytes stand."""

    offset: int
    size: int


class _Stamp(NamedTuple):
    """What tells that a file is the one that was indexed."""

    size: int
    modified: int


@DATASETS.register_module()
class TarShards(EncodedImages):
    """Images in tar files, read at random: any order, any position to continue from.

    In a shard all files whose names agree up to the first dot after the last `/` are one sample; what follows the dot
    says which part of it a file is. Where each part stands is read once, from the headers, when the data set is built:
    nothing is kept beside the shards, nothing is unpacked, and a name in a shard is only a name. A shard that changes
    afterwards is refused. Reading needs `os.pread`, which Windows has not.

    Layout: https://github.com/webdataset/webdataset, README, "The WebDataset Format". As there, names of parts are in
    lower case. Not as there: shards may not be packed (.tar.gz), and a link stands for nothing.

    Args:
        shards: paths; `data/train-{000..012}.tar` stands for thirteen of them.
        image: the part with the image; by default the one whose name ends as an image's does.
        label: the part with the label: the name of a class, or its number, as text; or JSON that has it under
            `label_key`.
        label_key: of a label in JSON.
        classes: names of the classes in order; by default those in the shards, in alphabetical order.
        source: in words, where the images come from; the first shard's name by default.

    Raises:
        ConfigError: `shards` names none.
        UnavailableError: a shard is not there.
        UserError: a shard is damaged or packed, a sample lacks its image or label, or the label is not among `classes`.
    """

    def __init__(
        self,
        shards: str | list[str],
        image: str | None = None,
        label: str = "cls",
        label_key: str = "label",
        classes: list[str] | None = None,
        source: str | None = None,
    ) -> None:
        paths = [path for each in ([shards] if isinstance(shards, str) else shards) for path in expand(each)]
        if not paths:
            raise ConfigError("TarShards: `shards` names no file")
        self._paths = [Path(path) for path in paths]
        self._stamps = [_stamp(path) for path in self._paths]
        self._keys: list[str] = []
        positions: list[tuple[int, int, int]] = []
        texts: list[str] = []
        for number, path in enumerate(self._paths):
            for key, parts in _samples(path).items():
                place = f"{path}: {key}"
                found = parts[_image_part(parts, image, place)]
                positions.append((number, found.offset, found.size))
                if label not in parts:
                    raise UserError(f"{place} has no part {label!r} with its label; it has {', '.join(parts)}")
                texts.append(_label(self._read(number, *parts[label]), label, label_key, place))
                self._keys.append(key)
        if not positions:
            raise UserError(f"{paths[0]} has no samples: expected files such as 0001.jpg and 0001.{label}")
        # Shard, offset, size. An array: of a list, every worker would come to have a copy.
        self._positions = np.array(positions)
        self.labels, self.classes = class_numbers(texts, classes, self.place)
        self.source = source or self._paths[0].name

    def encoded(self, index: int) -> bytes:
        return self._read(*self._positions[index].tolist())

    def name(self, index: int) -> str:
        """The shard and the sample's name in it: "train-003/0001"."""
        return f"{self._paths[self._positions[index, 0]].stem}/{self._keys[index]}"

    def place(self, index: int) -> str:
        return f"{self._paths[self._positions[index, 0]]}: {self._keys[index]}"

    def _read(self, shard: int, offset: int, size: int) -> bytes:
        path, stamp = self._paths[shard], self._stamps[shard]
        try:
            descriptor = _opened(path, stamp).descriptor
            data = os.pread(descriptor, size, offset) if _stamp_of(os.fstat(descriptor)) == stamp else None
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        if data is None or len(data) < size:
            raise UserError(f"{path} has changed since it was indexed: start again, and leave it alone meanwhile")
        return data


class _Shard:
    """An open file. Reading at a position leaves it as it is, so that forked processes and threads may share it."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self, close=os.close) -> None:
        if hasattr(self, "descriptor"):
            close(self.descriptor)


# Belongs to the process, not to the data set: a process that is not forked begins with none open.
@functools.lru_cache(maxsize=_OPEN_FILES)
def _opened(path: Path, stamp: _Stamp) -> _Shard:
    return _Shard(path)


def _stamp(path: Path) -> _Stamp:
    try:
        return _stamp_of(path.stat())
    except OSError as error:
        raise UnavailableError(f"there is no shard {path}") from error


def _stamp_of(status: os.stat_result) -> _Stamp:
    return _Stamp(status.st_size, status.st_mtime_ns)


def expand(pattern: str) -> list[str]:
    """`x-{08..10}-{a,b}.tar` -> x-08-a.tar, x-08-b.tar, ..., x-10-b.tar, as a shell expands braces.

    Raises:
        ConfigError: a range that runs backwards.
    """
    pieces = []
    for piece in re.split(r"(\{[^{}]*\})", pattern):
        numbers = re.fullmatch(r"\{(\d+)\.\.(\d+)\}", piece)
        if numbers:
            first, last = numbers.groups()
            if int(first) > int(last):
                raise ConfigError(f"{pattern!r}: the range {piece} runs backwards")
            width = max(len(first), len(last)) if first.startswith("0") or last.startswith("0") else 0
            pieces.append([f"{number:0{width}d}" for number in range(int(first), int(last) + 1)])
        else:
            pieces.append(piece[1:-1].split(",") if piece.startswith("{") and "," in piece else [piece])
    return ["".join(chosen) for chosen in itertools.product(*pieces)]


def _samples(path: Path) -> dict[str, dict[str, _Member]]:
    """The samples of a shard: for each its parts by name."""
    samples: dict[str, dict[str, _Member]] = {}
    for member in _members(path):
        # As WebDataset has it: the name up to the first dot after the last slash, and what follows that dot.
        split = re.fullmatch(r"((?:.*/)?[^./]+)\.([^/]*)", member.name, re.DOTALL)
        if split is None:
            continue
        key, part = split[1], split[2].lower()
        parts = samples.setdefault(key, {})
        if part in parts:
            raise UserError(f"{path}: there are two files {member.name}: one would hide the other")
        if not member.isreg() or member.issparse():
            raise UserError(f"{path}: {member.name} is a link or something else that is not a plain file: replace it")
        parts[part] = _Member(member.offset_data, member.size)
    return samples


def _members(path: Path) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(path, "r:") as tar:
            yield from (member for member in tar if not member.isdir())
            end = tar.offset
    except (tarfile.TarError, ValueError) as error:
        packed = path.suffix in (".gz", ".tgz", ".bz2", ".xz", ".zst")
        remedy = ": unpack it to a .tar, for packed ones cannot be read at random" if packed else ""
        raise UserError(f"{path} is damaged or no tar file ({error}){remedy}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    with path.open("rb") as file:
        file.seek(end)
        # tarfile takes a header that it cannot read for the end of the archive, which is a block of zeros.
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise UserError(f"{path} is damaged after {end} bytes, or was not copied or written to its end")


def _image_part(parts: dict[str, _Member], image: str | None, place: str) -> str:
    """The name of the part that is the image."""
    found = [part for part in parts if (part == image if image else f".{part}".endswith(endings()))]
    if len(found) != 1:
        what = f"no part {image!r}" if image else f"{len(found) or 'no'} images"
        raise UserError(f"{place} has {what}; it has {', '.join(parts)}: name the right one, as `image`")
    return found[0]


def _label(data: bytes, part: str, key: str, place: str) -> str:
    """A label as text."""
    try:
        text = data.decode()
        value = json.loads(text)[key] if part.endswith("json") else text
    except UnicodeDecodeError as error:
        raise UserError(f"{place}: the label in {part!r} is not text in UTF-8") from error
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise UserError(f"{place}: {part!r} is not JSON, or has no entry {key!r}: name it as `label_key`") from error
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
        raise UserError(f"{place}: the label is {value!r}; expected text or a whole number")
    return str(value).strip()
