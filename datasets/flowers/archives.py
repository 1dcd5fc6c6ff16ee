"""Unpacking archives that come from anywhere: judged as a whole first, written beside, put into place when complete."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, NamedTuple

from ...registry import UnavailableError
from ...registry.partial import partial_folder

RATIO = 100  # unpacked to packed; photographs are at 1, tables at 10, the largest that deflate reaches is 1032
ALWAYS = 10_000_000  # bytes that may come out of however small an archive
EACH = 5000  # bytes that a file counts beside its content; to list it takes as many
LONGEST_READ = 1_000_000

_UNPACKERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}


class _Member(NamedTuple):
    """Something in an archive.

    Args:
        kind: "file", "folder", or what else it is.
    """

    name: str
    kind: str
    size: int
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, folder: Path, top: str = "", most: int | None = None) -> None:
    """Unpack a zip or tar (plain, gz, bz2, xz) archive; `folder` is there in the end, whole, or not at all.

    Nothing is written outside, for the archive is refused if one of its names is absolute or has a `..` in it. It is
    also refused for a link or a device, for two files of one name, or if it becomes too large.

    Args:
        folder: must not exist yet.
        top: only what is in this folder of the archive, which becomes `folder`.
        most: bytes that come out in all; by default a hundred times what went in.

    Raises:
        UnavailableError: it is damaged, no archive, or refused; says why.
    """
    try:
        limit = most if most is not None else max(ALWAYS, RATIO * archive.stat().st_size)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with partial_folder(folder) as partial:
            everything = partial / "all"
            everything.mkdir()
            with _members(archive) as members:
                for place, member in _judged(members, limit):
                    _write(member, everything / place)
            wanted = everything / top
            if not wanted.is_dir():
                raise ValueError(f"it has no folder {top}")
            wanted.rename(folder)
    except Exception as error:  # of damaged archives the modules that read them may raise any exception there is
        reason = str(error) or type(error).__name__
        raise UnavailableError(f"{archive} cannot be unpacked to {folder}: {reason}") from error


def _judged(members: Iterator[_Member], limit: int) -> list[tuple[PurePosixPath, _Member]]:
    """Files and folders with their places, after the whole archive has been looked through.

    Raises:
        ValueError: there is something in it that nobody needs who means well.
    """
    total, files, places = 0, set(), []
    for member in members:
        # Before the next one is looked for: to find it, what is packed is read.
        total += member.size + EACH
        if total > limit:
            raise ValueError(f"it would become larger than {limit / 1e6:.0f} MB, and may be made to fill the disk")
        place = _inside(member.name)
        if member.kind not in ("file", "folder"):
            raise ValueError(f"{member.name!r} in it is {member.kind}")
        if member.kind == "file":
            # As it would be on a file system that does not tell upper from lower case, or two spellings of an umlaut.
            same = unicodedata.normalize("NFC", str(place)).casefold()
            if same in files:
                raise ValueError(f"{member.name!r} is in it twice")
            files.add(same)
        places.append((place, member))
    if not files:
        raise ValueError("it has no files")
    return places


def _inside(name: str) -> PurePosixPath:
    """A name in an archive as a path below a folder, on every kind of system."""
    place = PurePosixPath(name)
    if PureWindowsPath(name).anchor or ".." in place.parts:
        raise ValueError(f"{name!r} in it leads out of the folder")
    if "\\" in name or any(ord(letter) < 32 for letter in name):
        raise ValueError(f"{name!r} in it is no name for a file")
    return place


def _write(member: _Member, path: Path) -> None:
    if member.kind == "folder":
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = member.open()
    assert content is not None  # tarfile gives none for what is no file
    with content, open(path, "xb") as file:
        shutil.copyfileobj(content, file)
        if file.tell() != member.size:
            raise ValueError(f"{member.name!r} in it is damaged")


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    """What is in an archive, in its order."""
    with open(archive, "rb") as file:
        start = file.read(6)
        file.seek(0)
        if start.startswith(b"PK"):
            with zipfile.ZipFile(file) as packed:
                yield (_zip_member(packed, info) for info in packed.infolist())
            return
        unpacker = next((each for magic, each in _UNPACKERS.items() if start.startswith(magic)), None)
        unpacked = unpacker(file) if unpacker else file
        with unpacked, tarfile.open(fileobj=_Sparing(unpacked), mode="r:") as tar:
            yield _tar_members(tar)


def _zip_member(packed: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    mode = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was not made on Unix
    kind = "folder" if info.is_dir() else "file"
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        kind = "a link" if stat.S_ISLNK(mode) else "a device"
    if info.flag_bits & 1:
        kind = "encrypted"
    # Not `filename`, which has been made harmless, and might be another file's by that.
    return _Member(info.orig_filename, kind, info.file_size, lambda: packed.open(info))


def _tar_members(tar: tarfile.TarFile) -> Iterator[_Member]:
    for info in tar:
        kind = "file" if info.isreg() else "folder" if info.isdir() else "a link"
        if not (info.isreg() or info.isdir() or info.issym() or info.islnk()):
            kind = "a device"
        yield _Member(info.name, kind, info.size, lambda info=info: tar.extractfile(info))
    # tarfile takes a damaged header for the end, which is a block of zeros, and leaves out in silence what follows.
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise ValueError("it is damaged, or cut off")


class _Sparing(io.BufferedIOBase):
    """A file that refuses to give much at once: tarfile reads a long name whole, as long as its header says it is."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= LONGEST_READ:
            raise ValueError(f"a name in it is said to have {size} letters")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
