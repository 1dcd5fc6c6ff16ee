"""A table of numbers with a column of labels: CSV or TSV, also packed as .gz."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...registry import DATASETS, UserError
from ...registry.names import did_you_mean
from ..base import ArrayImages
from .class_numbers import class_numbers
from .delimited import read_rows

_LARGEST = float(np.finfo(np.float32).max)


@DATASETS.register_module()
class Table(ArrayImages):
    """Rows of numbers, each a sample: float32 (features,), and its label.

    The numbers stay as they are in the file: to bring the columns to one scale is left to the file, or to the first
    layer of the model.

    Args:
        path: a .csv or .tsv, or either with .gz behind.
        label: the column with the label, by its number (-1 is the last) or its name: the name of a class, or its
            number, which may be written as 1.0. All other columns are features.
        header: the first line names the columns; always so if `label` is a name.
        classes: names of the classes in order; by default those in the file, in alphabetical order.
        source: in words, where the table comes from; the file's name by default.

    Raises:
        UnavailableError: there is no such file.
        UserError: it cannot be read, has no such column, a row of another length, a feature that is not a finite
            number, or a label that is not among `classes`.
    """

    def __init__(
        self,
        path: str,
        label: int | str = -1,
        header: bool = False,
        classes: list[str] | None = None,
        source: str | None = None,
    ) -> None:
        file = Path(path)
        rows = list(read_rows(file))
        names = rows.pop(0)[1] if rows and (header or isinstance(label, str)) else None
        if not rows:
            raise UserError(f"{file} has no rows")
        width = len(names or rows[0][1])
        column = _column(file, label, names, width)
        self._lines = [line for line, _ in rows]
        places = [f"{file}, line {line}" for line in self._lines]
        for place, (_, row) in zip(places, rows, strict=True):
            if len(row) != width:
                raise UserError(f"{place} has {len(row)} fields; the first line has {width}")
        texts = [_plain(row.pop(column)) for _, row in rows]
        if "" in texts:
            raise UserError(f"{places[texts.index('')]} has no label")
        self.images = np.stack([_numbers(row, place) for place, (_, row) in zip(places, rows, strict=True)])
        self.labels, self.classes = class_numbers(texts, classes, places.__getitem__)
        self.source = source or file.name

    def name(self, index: int) -> str:
        """The line of a row in the file."""
        return f"line {self._lines[index]}"


def _column(file: Path, label: int | str, names: list[str] | None, width: int) -> int:
    if isinstance(label, str):
        if label not in (names or []):
            raise UserError(f"{file}: the first line names no column {label!r}.{did_you_mean(label, names or [])}")
        return (names or []).index(label)
    if not -width <= label < width:
        raise UserError(f"{file} has {width} columns: label={label} is none of 0 to {width - 1}, -1 being the last")
    return label % width


def _plain(label: str) -> str:
    """A label without what a table of numbers may put around a whole one: "1.000e+00" is "1"."""
    label = label.strip()
    try:
        number = float(label)
    except ValueError:
        return label
    return str(int(number)) if number.is_integer() else label


def _numbers(row: Sequence[str], place: str) -> np.ndarray:
    """The features of a row as float32; the label's column is not among them."""
    wrong = next((cell for cell in row if not _is_number(cell)), None)
    if wrong is not None:
        raise UserError(
            f"{place}: {wrong!r}, in column {row.index(wrong) + 1} of the features, is not a finite number"
            + (". If the first line names the columns, set header=True" if place.endswith("line 1") else "")
        )
    return np.array([float(cell) for cell in row], np.float32)


def _is_number(cell: str) -> bool:
    try:
        return abs(float(cell)) <= _LARGEST  # false for NaN
    except ValueError:
        return False
