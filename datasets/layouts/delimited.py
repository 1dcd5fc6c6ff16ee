"""CSV and TSV files, row by row, with the line that each row begins on."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path

from ...registry import UnavailableError, UserError


def read_text(file: Path) -> str:
    """A text file in UTF-8, unpacked if its name ends in .gz; line ends are left as they are.

    Raises:
        UnavailableError: there is no such file.
        UserError: it cannot be read.
    """
    if not file.is_file():
        raise UnavailableError(f"there is no file {file}")
    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        return data.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not text in UTF-8 ({error}): save it as that") from error


def read_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not empty, each with the number of its line: fields between tabs in a .tsv, else commas.

    A quoted field may hold commas and line breaks (RFC 4180).

    Raises:
        UnavailableError: there is no such file.
        UserError: it cannot be read.
    """
    name = file.with_suffix("") if file.suffix == ".gz" else file
    # `newline=""` leaves line breaks inside of quotes to csv.
    reader = csv.reader(io.StringIO(read_text(file), newline=""), delimiter="\t" if name.suffix == ".tsv" else ",")
    line = 1
    try:
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: {error}") from error
