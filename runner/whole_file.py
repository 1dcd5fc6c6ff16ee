"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..registry import UserError
from ..registry.partial import partial_folder


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A file of the same name in a folder beside `path`, to write to; if all goes well it becomes `path`."""
    with partial_folder(path.absolute()) as folder:
        partial = folder / path.name
        yield partial
        os.replace(partial, path)


def require_writable(option: str, path: Path, endings: tuple[str, ...]) -> None:
    """Refuse a file that could not be written, or of a kind that is not known, before any work is done for it.

    Raises:
        UserError: says which.
    """
    if path.suffix.lower() not in endings:
        raise UserError(f"{option} {path}: its name must end in {' or '.join(endings)}")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{option}: there is no folder {path.absolute().parent}")
    if path.is_dir():
        raise UserError(f"{option}: {path} is a folder")
