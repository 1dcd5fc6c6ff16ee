"""Whole libraries as sources of names: `timm/LabelSmoothingCrossEntropy`."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any, Protocol

from .source_text import module_text, own_first_line


class Source(Protocol):
    """A whole library as a source of names: `timm/lamb` asks the source `timm` for `lamb`."""

    def get(self, name: str) -> Callable | None: ...

    def names(self) -> Iterable[str]: ...  # without importing the library, if it can be done


class ModuleClasses:
    """The classes of a module, imported when one of them is first asked for: libraries take seconds to import.

    Until then their names are those of the classes in its text.

    Args:
        module: its dotted name.
        pattern: only classes whose names match this shell pattern.
        base: only those derived from this class of the module, which is left out itself.
        adapt: makes of a class what is registered for it.
    """

    def __init__(
        self, module: str, pattern: str = "*", base: str | None = None, adapt: Callable[[Any], Callable] | None = None
    ) -> None:
        self.module = module
        self.pattern = pattern
        self.base = base
        self.adapt = adapt
        self._adapted: dict[str, Callable] = {}

    def get(self, name: str) -> Callable | None:
        return self._class(name) if name in self else None

    def classes(self) -> dict[str, Callable]:
        """All of them, imported."""
        return {name: self._class(name) for name in self.imported_names()}

    def _class(self, name: str) -> Callable:
        if name not in self._adapted:
            found = getattr(importlib.import_module(self.module), name)
            self._adapted[name] = self.adapt(found) if self.adapt else found
        return self._adapted[name]

    def __contains__(self, name: str) -> bool:
        return self._fits(name) and (self._is_class if self.module in sys.modules else self._is_class_in_text)(name)

    def names(self) -> list[str]:
        return self.imported_names() if self.module in sys.modules else self.names_in_text()

    def imported_names(self) -> list[str]:
        names = vars(importlib.import_module(self.module))
        return [name for name in names if self._fits(name) and self._is_class(name)]

    def names_in_text(self) -> list[str]:
        text = module_text(self.module)
        if text is None:  # it is no Python file
            return self.imported_names()
        return [name for name in text.names() if self._fits(name) and self._is_class_in_text(name)]

    def first_line(self, name: str) -> str:
        """The first line of what a class says of itself."""
        text = module_text(self.module)
        return text.first_line(name) if text and self.module not in sys.modules else own_first_line(self.get(name))

    def _fits(self, name: str) -> bool:
        return fnmatchcase(name, self.pattern) and name != self.base

    def _is_class(self, name: str) -> bool:
        module = sys.modules[self.module]
        found = getattr(module, name, None)
        return inspect.isclass(found) and (self.base is None or issubclass(found, getattr(module, self.base)))

    def _is_class_in_text(self, name: str) -> bool:
        text = module_text(self.module)
        if text is None:
            return False
        return text.is_class(name) if self.base is None else text.derives(name, text.find(self.base))
