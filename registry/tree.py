"""A config as a tree of values that remember the file and line they were written in, and the one merge rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from .errors import ConfigError
from .signature import describe

# How deep in a config a value stands: ("model", "backbone", "depth"); list items by their index.
KeyPath = tuple[str | int, ...]


# A config that goes beyond these holds itself, or has grown without being meant to, as YAML's aliases of aliases do.
MOST_VALUES = 100_000
DEEPEST = 100
MOST_BITS = 64  # of a whole number: no library here takes a longer one


class Origin(NamedTuple):
    """Where a value was written: `configs/x.py:14`, or the command line (no line number)."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Node:
    """One value of a config. Dicts and lists hold Nodes again."""

    def __init__(self, value: Any, origin: Origin) -> None:
        self.value = value
        self.origin = origin


def dotted(path: KeyPath) -> str:
    return ".".join(str(key) for key in path)


def annotate(value: Any, lines: dict[KeyPath, int], file: str) -> Node:
    """Wrap plain data; a value whose own line is unknown takes its parent's.

    Raises:
        ConfigError: the config holds something that is not plain data, holds itself, or is too large to be meant.
    """
    count = 0

    def wrap(value: Any, path: KeyPath) -> Node:
        nonlocal count
        count += 1
        known = next((lines[path[:length]] for length in range(len(path), -1, -1) if path[:length] in lines), 1)
        origin = Origin(file, known)
        if len(path) > DEEPEST:
            raise ConfigError(f"{origin}: {dotted(path[:3])}... is more than {DEEPEST} levels deep, or holds itself")
        if count > MOST_VALUES:
            raise ConfigError(f"{file} holds more than {MOST_VALUES} values: keep such data in a file of its own")
        if isinstance(value, dict):
            if bad := [key for key in value if not isinstance(key, str)]:
                raise ConfigError(f"{origin}: {dotted(path) or 'config'} has the key {bad[0]!r}; keys are strings")
            return Node({key: wrap(item, (*path, key)) for key, item in value.items()}, origin)
        if isinstance(value, (list, tuple)):
            return Node([wrap(item, (*path, index)) for index, item in enumerate(value)], origin)
        return Node(_plain_value(value, path, origin), origin)

    return wrap(value, ())


def _plain_value(value: Any, path: KeyPath, origin: Origin) -> Any:
    if type(value).__module__ == "numpy" and not getattr(value, "shape", ()):
        value = value.item()  # a number, whatever computed it
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise ConfigError(f"{origin}: {dotted(path)} is a whole number of {value.bit_length()} bits; {MOST_BITS} fit")
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise ConfigError(
        f"{origin}: {dotted(path)} is {describe(value)}: a config holds plain data (dict, list, str, number, True, "
        "False, None); name a class by its registered name, as a string"
    )


def merge(base: Node, child: Node) -> Node:
    """Lay `child` over `base`.

    A dict that names a `type` replaces; any other dict merges; everything else replaces; None removes.
    `_delete_=True` in a dict makes it replace, as in mmengine.
    """
    if not (isinstance(base.value, dict) and isinstance(child.value, dict)):
        return without_marks(child)
    delete = child.value.get("_delete_")
    if "type" in child.value or (delete is not None and delete.value):
        return without_marks(child)
    merged = dict(base.value)
    for key, node in child.value.items():
        if key not in merged:
            merged[key] = without_marks(node)
        elif node.value is None:
            del merged[key]
        else:
            merged[key] = merge(merged[key], node)
    merged.pop("_delete_", None)
    return Node(merged, child.origin)


def without_marks(node: Node) -> Node:
    """The node without `_delete_`, which is an instruction and not a value."""
    if isinstance(node.value, dict):
        kept = {key: without_marks(item) for key, item in node.value.items() if key != "_delete_"}
        return Node(kept, node.origin)
    return node


def plain(node: Node) -> Any:
    """The values alone."""
    if isinstance(node.value, dict):
        return {key: plain(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    return node.value


def origins(node: Node, path: KeyPath = ()) -> dict[KeyPath, Origin]:
    """The origin of every value, by path."""
    found = {path: node.origin}
    if isinstance(node.value, dict):
        for key, item in node.value.items():
            found |= origins(item, (*path, key))
    elif isinstance(node.value, list):
        for index, item in enumerate(node.value):
            found |= origins(item, (*path, index))
    return found
