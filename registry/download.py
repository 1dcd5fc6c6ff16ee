"""Files from an address: whole and verified, or not there at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from http.client import HTTPException
from pathlib import Path
from urllib.request import Request, urlopen

from .errors import UnavailableError
from .partial import partial_folder

TIMEOUT = 15.0  # seconds without an answer


def download(url: str, path: Path, sha256: str | None = None) -> None:
    """Fetch a file. What is at `path` stays until it is replaced by a whole and verified one.

    torch.hub's download knows no timeout, keeps what came before a connection broke unless a hash is given, and does
    not mind being led from https to http, where anyone on the way could answer.

    Args:
        sha256: what its SHA-256 must be, or begin with.

    Raises:
        UnavailableError: no connection, one that broke or is no longer encrypted, a page of HTML, or another SHA-256.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial_folder(path) as folder:
            partial = folder / path.name
            _copy(url, partial)
            _require_right(partial, sha256)
            os.replace(partial, path)
    except (OSError, ValueError, HTTPException) as error:
        raise UnavailableError(f"{url} cannot be downloaded ({error})") from error


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _copy(url: str, path: Path) -> None:
    from rich.console import Console
    from rich.progress import wrap_file

    with urlopen(Request(url, headers={"User-Agent": "knoll"}), timeout=TIMEOUT) as answer, open(path, "wb") as file:
        if url.startswith("https://") and not answer.url.startswith("https://"):
            raise ValueError(f"it leads on to {answer.url}, which is not encrypted")
        promised = int(answer.headers.get("Content-Length") or 0)
        console, hidden = Console(stderr=True), not sys.stderr.isatty()
        with wrap_file(answer, promised, description=path.name, console=console, disable=hidden) as reader:
            shutil.copyfileobj(reader, file)
        if promised and file.tell() != promised:
            raise ValueError(f"the connection broke after {file.tell()} of {promised} bytes")


def _require_right(path: Path, sha256: str | None) -> None:
    with open(path, "rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        raise ValueError("what came is a page of HTML, not the file")
    if sha256 and not (found := sha256_of(path)).startswith(sha256.lower()):
        raise ValueError(f"what came has the SHA-256 {found}, not {sha256}")
