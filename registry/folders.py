"""The files below the packages of a registry: what they register is known from their text, and imported by its name."""

from __future__ import annotations

import functools
import importlib
import traceback
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from .discover import BROKEN, import_or_remember
from .index import FileIndex, Registration, index_file
from .lenders import lent_to
from .source_text import ModuleText, module_file


class CodeFile(NamedTuple):
    """A file of a package, and what its text tells."""

    module: str
    file: Path
    index: FileIndex


class Folders:
    """What the files below some packages register with one registry.

    A file is imported when one of its names is asked for. One that registers in another way than by name at its top
    level (in a loop, under a condition, a whole library) is imported before any name is said to be unknown. If files
    may register through another one (its function is their decorator, its class their base), then all are.

    Args:
        packages: dotted names.
        variable: what the registry is called in those files: BACKBONES.
        others: what other registries are called; any other variable may be this one under another name.
    """

    def __init__(self, packages: Sequence[str], variable: str, others: Iterable[str]) -> None:
        # What another's package imports from elsewhere may register too; Knoll's own do not.
        self._foreign = [package for package in packages if package.partition(".")[0] != "knoll"]
        self._by_name: dict[str, list[tuple[CodeFile, Registration]]] = {}
        self._uncertain = []
        self._known = {variable, *others}
        self._variable = variable
        self._files = [file for package in packages for file in code_files(package)]
        self._rest_asked_for = False
        for file in self._files:
            for found in file.index.certain:
                if found.registry == variable:
                    self._by_name.setdefault(found.name, []).append((file, found))
            used = {*file.index.uncertain, *(found.registry for found in file.index.certain)}
            if variable in file.index.uncertain or used - self._known:
                self._uncertain.append(file)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    @property
    def names(self) -> set[str]:
        return set(self._by_name)

    def first_line(self, name: str) -> str:
        """The first line of what a class or function says of itself; nothing if its file cannot be parsed, which is
        then in BROKEN."""
        file, found = self._ordered(name)[-1]
        try:
            return ModuleText(file.module, file.file).first_line(found.defined or name)
        except (SyntaxError, ValueError) as error:
            BROKEN[file.file] = "".join(traceback.format_exception(error))
            return ""

    def place(self, name: str) -> tuple[str, str] | None:
        """The module that registers a name, and what the class or function is called there."""
        file, found = self._ordered(name)[-1] if name in self else (None, None)
        return (file.module, found.defined or found.name) if file and found else None

    def unforced(self, name: str) -> Registration | None:
        """Where a name is registered without `force`."""
        return next((found for _, found in self._ordered(name) if not found.force), None)

    def import_uncertain(self) -> None:
        """Import the files whose names only an import tells, and those that register the name of another file, which
        raises DuplicateNameError."""
        for package in self._foreign:
            importlib.import_module(package)
        _import(self._uncertain)
        for name in self._by_name:
            if len({file.file for file, found in self._by_name[name] if not found.force}) > 1:
                self.import_name(name)

    def import_rest(self, elsewhere: bool = True) -> bool:
        """Import every file, if one of them lends another a way to register, so that no text tells the names.

        Args:
            elsewhere: look for it in what the files import from other folders, too: a tenth of a second for all.

        Returns:
            Whether they were imported now.
        """
        if self._rest_asked_for:
            return False
        here = (each.index.lent for each in self._files)
        there = (lent_to(each.module, each.file) for each in self._files if elsewhere)
        lent = any(self._variable in each or each - self._known for each in chain(here, there))
        self._rest_asked_for = lent or elsewhere  # before importing: the files may ask for names meanwhile
        if lent:
            _import(self._files)
        return lent

    def import_name(self, name: str) -> None:
        """Import what registers a name; those that replace it last."""
        _import(file for file, _ in self._ordered(name))

    def import_all(self) -> None:
        self.import_rest()
        _import(file for name in sorted(self._by_name) for file, _ in self._ordered(name))

    def _ordered(self, name: str) -> list[tuple[CodeFile, Registration]]:
        return sorted(self._by_name.get(name, []), key=lambda each: each[1].force)


def _import(files: Iterable[CodeFile]) -> None:
    for each in files:
        if each.file not in BROKEN:
            import_or_remember(each.module, each.file)


@functools.cache
def code_files(package: str) -> list[CodeFile]:
    """The files of a package and of the packages in it; the package may be a single file."""
    top = module_file(package)
    if top is None:  # it has no file, or is not there: importing it tells
        importlib.import_module(package)
        return []
    files = [(package, top)] if top.name != "__init__.py" else _below(package, top.parent)
    return [CodeFile(module, file, _index(file)) for module, file in files]


def _below(package: str, folder: Path) -> Iterator[tuple[str, Path]]:
    yield package, folder / "__init__.py"
    for entry in sorted(folder.iterdir()):
        if "." in entry.name.removesuffix(".py"):  # no module: a backup, an editor's lock
            continue
        if entry.suffix == ".py" and entry.name != "__init__.py":
            yield f"{package}.{entry.stem}", entry
        elif entry.is_dir() and (entry / "__init__.py").is_file():
            yield from _below(f"{package}.{entry.name}", entry)


@functools.cache
def _index(file: Path) -> FileIndex:
    found = index_file(file)
    if found.error:
        BROKEN[file] = "".join(traceback.format_exception(found.error))
    return found
