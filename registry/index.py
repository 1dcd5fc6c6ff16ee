"""The index of registered names, read from source text: it knows code that is not imported, and imports nothing."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

# Folders whose files are searched when a name is unknown, besides the working directory and Knoll's own folders.
SEARCHED: list[Path] = []

_MOST_FILES = 3000
_PASSED_OVER = {"node_modules", "site-packages", "__pycache__", "build", "dist", "runs", "data", "venv", "env"}


class Registration(NamedTuple):
    """`@BACKBONES.register_module()` above `class MyNet`, as it stands in a file."""

    registry: str  # the variable: BACKBONES
    name: str
    file: Path
    line: int


def registrations(folder: Path) -> Iterator[Registration]:
    """Every registration in the Python files below a folder (at most a few thousand files are read)."""
    for file in _python_files(folder):
        yield from registrations_in_file(file)


def registrations_in_file(file: Path) -> list[Registration]:
    try:
        text = file.read_text(encoding="utf-8")
        # Parsing costs a hundred times this test, and few files register anything.
        tree = ast.parse(text) if ".register_module" in text else None
    except (OSError, SyntaxError, ValueError):
        return []
    if tree is None:
        return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            for decorator in node.decorator_list:
                found += _read(decorator, node.name, file, node.lineno)
        elif isinstance(node, ast.Expr):
            found += _read(node.value, None, file, node.lineno)
    return found


def _read(node: ast.expr, defined: str | None, file: Path, line: int) -> list[Registration]:
    """`X.register_module`, `X.register_module(...)` above a definition, or as a statement with `module=`."""
    call = node if isinstance(node, ast.Call) else None
    method = call.func if call else node
    if not (
        isinstance(method, ast.Attribute) and method.attr == "register_module" and isinstance(method.value, ast.Name)
    ):
        return []
    keywords = {keyword.arg: keyword.value for keyword in call.keywords} if call else {}
    name = keywords.get("name") or (call.args[0] if call and call.args else None)
    module = keywords.get("module")
    names = list(_strings(name))
    if not names and name is None:
        names = [module.id] if isinstance(module, ast.Name) else [defined] if defined else []
    return [Registration(method.value.id, each, file, line) for each in names]


def _strings(node: ast.expr | None) -> Iterable[str]:
    nodes = node.elts if isinstance(node, (ast.List, ast.Tuple)) else [node]
    return [each.value for each in nodes if isinstance(each, ast.Constant) and isinstance(each.value, str)]


def _python_files(folder: Path) -> Iterator[Path]:
    read = 0
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _PASSED_OVER)
        for name in sorted(files):
            if name.endswith(".py"):
                read += 1
                if read > _MOST_FILES:
                    return
                yield Path(parent, name)
