"""The image files below a folder, in one order whatever the file system lists first."""

from __future__ import annotations

import os
from pathlib import Path

from ...registry import UnavailableError, UserError
from ..loading.decoding import endings


def list_files(root: Path) -> list[Path]:
    """Every file below a folder, relative to it, sorted; hidden ones and what lies in hidden folders are left out.

    Raises:
        UnavailableError: there is no such folder.
    """
    if not root.is_dir():
        raise UnavailableError(f"there is no folder {root}")
    found = []
    for folder, below, files in os.walk(root, followlinks=True):
        below[:] = [name for name in below if not name.startswith(".")]
        found += [Path(folder, name).relative_to(root) for name in files if not name.startswith(".")]
    return sorted(found)


def list_images(root: Path) -> list[Path]:
    """Those that are images by their ending.

    Raises:
        UnavailableError: there is no such folder.
        UserError: it has no images.
    """
    images = [file for file in list_files(root) if file.suffix.lower() in endings()]
    if not images:
        raise UserError(f"{root} has no images")
    return images
