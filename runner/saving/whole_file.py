"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...registry import UserError
from ...registry.partial import partial_folder
from ...registry.system_errors import OF_WRITING, in_words


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A file of the same name in a folder beside `path`, to write to; if all goes well it becomes `path`.

    Raises:
        OSError: it cannot be written; names `path`, not the folder beside.
    """
    try:
        with partial_folder(path.absolute()) as folder:
            partial = folder / path.name
            yield partial
            os.replace(partial, path)
    except OSError as error:
        is_ours = ".partial" in str(error.filename) if error.filename else error.errno in OF_WRITING
        if is_ours:
            error.filename, error.filename2 = str(path), None
        raise


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
    try:
        with partial_folder(path.absolute()) as folder:
            Path(folder, path.name).touch()
    except OSError as error:
        error.filename = str(path)
        raise UserError(f"{option}: {in_words(error)}") from error
