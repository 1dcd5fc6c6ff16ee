"""Code by which other files register: a function that is their decorator, a class that is their base."""

from __future__ import annotations

import functools
import importlib.util
import re
import sys
from pathlib import Path

from .index import index_file
from .source_text import module_file, module_text

_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^#\n]*)|import[ \t]+([\w.]+))", re.MULTILINE
)


def lent_to(module: str, file: Path) -> set[str]:
    """The registries that a file may register with through what it imports, by the names they have there."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    lent = set()
    for origin, names, whole in _IMPORT.findall(_text(file)):
        if origin.startswith("."):
            dots = len(origin) - len(origin.lstrip("."))
            if dots > package.count(".") + 1:
                continue  # importing the file tells
            origin = importlib.util.resolve_name(origin, package)
        for name in re.findall(r"\w+", names) or [""]:
            lent |= _lent_by(origin or whole, name)
    return lent


@functools.cache
def _lent_by(module: str, name: str) -> frozenset[str]:
    """What a module, or what is taken from it by a name, lends. A library's file that does not speak of Knoll
    lends nothing: torch's modules have a `register_module` too."""
    top = module.partition(".")[0]
    file = None if top in sys.stdlib_module_names else module_file(module)
    if file is None or file.suffix != ".py" or not (top == _KNOLL or _KNOLL in _text(file)):
        return frozenset()
    text = module_text(module) if name and file.name == "__init__.py" else None
    found = text.find(name) if text else None
    files = {file, found and Path(found[0].file), name and module_file(f"{module}.{name}")}
    return frozenset().union(*(index_file(each).lent for each in files if each))


_KNOLL = (__package__ or "").partition(".")[0]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
