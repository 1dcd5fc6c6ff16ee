"""A list of images and their labels: CSV, TSV, JSON or JSONL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...registry import DATASETS, UserError
from ...registry.names import did_you_mean
from ..base import ImageFiles
from .class_numbers import class_numbers
from .delimited import read_rows, read_text


class _Entry(NamedTuple):
    place: str
    fields: Mapping[str, Any]


@DATASETS.register_module()
class ListFile(ImageFiles):
    """Images that a file lists, each with its label.

    A .csv or .tsv (also .csv.gz, .tsv.gz) begins with a line that names its columns. A .jsonl has an object on each
    line, a .json one list of objects; their keys are the columns.

    Args:
        path: the list.
        root: image paths are relative to it; by default to the folder of the list.
        image: the column with the image's path.
        label: the column with the label: the name of a class, or its number. Or a list of columns, one for each class,
            with numbers: multi-hot labels if all of them are 0 or 1, else shares or measured values.
        split: only the entries that have this in the column `split_column`.
        classes: names of the classes in order; by default those in the list, in alphabetical order; of several columns
            their names.
        source: in words, where the images come from; the list's name by default.

    Raises:
        UnavailableError: there is no such list.
        UserError: it cannot be read, has not such columns, an entry lacks a field, or a label is not among `classes`.
    """

    def __init__(
        self,
        path: str,
        root: str | None = None,
        image: str = "image",
        label: str | list[str] = "label",
        split: str | None = None,
        split_column: str = "split",
        classes: list[str] | None = None,
        source: str | None = None,
    ) -> None:
        file = Path(path)
        columns = [label] if isinstance(label, str) else label
        entries = list(_entries(file, [image, *columns, *([split_column] if split is not None else [])]))
        if split is not None:
            entries = _only(file, entries, split_column, split)
        if not entries:
            raise UserError(f"{file} lists no images")
        self._names = [_field(entry, image) for entry in entries]
        self._places = [entry.place for entry in entries]
        if isinstance(label, str):
            texts = [_field(entry, label).strip() for entry in entries]
            labels, classes = class_numbers(texts, classes, self._places.__getitem__)
        else:
            labels, classes = _rows(entries, label), classes or list(label)
        folder = file.parent if root is None else Path(root)
        super().__init__([folder / name for name in self._names], labels, classes, root=folder)
        self.source = source or file.name

    def name(self, index: int) -> str:
        """The image's path as the list has it."""
        return self._names[index]

    def place(self, index: int) -> str:
        return f"{self.files[index]} ({self._places[index]})"


def _entries(file: Path, columns: list[str]) -> Iterator[_Entry]:
    """All entries with where they stand; the columns are there."""
    read = {".json": _read_json, ".jsonl": _read_jsonl}.get(file.suffix, _read_table)
    for entry in read(file):
        for column in columns:
            if column not in entry.fields:
                where = file if read is _read_table else entry.place
                raise UserError(
                    f"{where} has no column {column!r}; it has {', '.join(map(repr, entry.fields))}: "
                    "name the right one, as `image`, `label` or `split_column`"
                )
        yield entry


def _read_table(file: Path) -> Iterator[_Entry]:
    rows = read_rows(file)
    _, header = next(rows, (1, []))
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{file} has the column {twice!r} twice: rename one of them")
    for line, row in rows:
        if len(row) != len(header):
            raise UserError(f"{file}, line {line} has {len(row)} fields; the first line names {len(header)} columns")
        yield _Entry(f"{file}, line {line}", dict(zip(header, row, strict=True)))


def _read_jsonl(file: Path) -> Iterator[_Entry]:
    for line, text in enumerate(read_text(file).split("\n"), 1):
        if text.strip():
            place = f"{file}, line {line}"
            yield _Entry(place, _object(_parse(text, place), place))


def _read_json(file: Path) -> Iterator[_Entry]:
    listed = _parse(read_text(file), str(file))
    if not isinstance(listed, list):
        raise UserError(f"{file} holds a {type(listed).__name__}; expected a list of objects, one for each image")
    for number, item in enumerate(listed, 1):
        place = f"{file}, entry {number}"
        yield _Entry(place, _object(item, place))


def _parse(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} is not JSON: {error}") from error


def _object(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f'{place} is not an object such as {{"image": "ants/1.jpg", "label": "ants"}}')
    return value


def _only(file: Path, entries: list[_Entry], column: str, split: str) -> list[_Entry]:
    there = {_field(entry, column) for entry in entries}
    if split not in there:
        raise UserError(f"{file} has no entry with {column}={split!r}.{did_you_mean(split, there)}")
    return [entry for entry in entries if _field(entry, column) == split]


def _field(entry: _Entry, column: str) -> str:
    """The text or the whole number in a column."""
    value = entry.fields[column]
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
        shown = repr(value) if value is not None and str(value).strip() else "empty"
        raise UserError(f"{entry.place}: {column!r} is {shown}; expected text or a whole number")
    return str(value)


def _rows(entries: list[_Entry], columns: list[str]) -> np.ndarray:
    """Labels that stand in several columns: (N, columns), int64 if they are multi-hot, else float32."""
    rows = np.array([[_number(entry, column) for column in columns] for entry in entries])
    return rows.astype(np.int64 if np.isin(rows, (0, 1)).all() else np.float32)


def _number(entry: _Entry, column: str) -> float:
    try:
        number = float(entry.fields[column])
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise UserError(f"{entry.place}: {column!r} is {entry.fields[column]!r}; expected a number")
    return number
