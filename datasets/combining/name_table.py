"""Files that say one thing of every sample, by its name: .csv with a heading, or a .json object."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path

from ...registry import ConfigError, UserError


def read_names(file: Path, value: str) -> dict[str, str]:
    """What a file says of each name.

    Args:
        file: .csv with the columns `name` and `value`, among others, or .json `{name: value}`.
        value: what to call it: "part", "group".

    Raises:
        UserError: it is not there or not of this kind, or names a sample twice.
    """
    _require_known(file, value)
    try:
        text = file.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    pairs = _json_pairs(file, text, value) if file.suffix == ".json" else _csv_pairs(file, text, value)
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        raise UserError(f"{file} names {next(name for name in table if names.count(name) > 1)} twice")
    return table


def write_names(file: Path, value: str, table: Mapping[str, str]) -> None:
    """Write such a file, whole or not at all, sorted by name.

    Raises:
        UserError: it cannot be written.
    """
    _require_known(file, value)
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(partial, "w", encoding="utf-8", errors="surrogateescape", newline="") as out:
                if file.suffix == ".json":
                    json.dump(dict(sorted(table.items())), out, indent=1, ensure_ascii=False)
                else:
                    csv.writer(out).writerows([("name", value), *sorted(table.items())])
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}") from error


def _require_known(file: Path, value: str) -> None:
    if file.suffix not in (".csv", ".json"):
        raise ConfigError(f"{file}: a file of names and {value}s ends in .csv or .json")


def _json_pairs(file: Path, text: str, value: str) -> list[tuple[str, str]]:
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not JSON: {error}") from error
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) and isinstance(pair[1], str) for pair in pairs):
        raise UserError(f"{file} is not an object of names and {value}s, {{name: {value}}}, all strings")
    return pairs


def _csv_pairs(file: Path, text: str, value: str) -> list[tuple[str, str]]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    try:
        return _named(file, rows, value)
    except csv.Error as error:
        raise UserError(f"{file}, line {rows.line_num + 1}: {error}") from error


def _named(file: Path, rows: csv.DictReader, value: str) -> list[tuple[str, str]]:
    missing = {"name", value} - set(rows.fieldnames or [])
    if missing:
        raise UserError(f"{file} has no column `{min(missing)}`; its first line is `name,{value}`")
    pairs = []
    for row in rows:
        if row["name"] is None or row[value] is None:
            raise UserError(f"{file}, line {rows.line_num}: expected `name,{value}`")
        pairs.append((row["name"], row[value]))
    return pairs
