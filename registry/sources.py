"""A library's module as a source of names: `timm/LabelSmoothingCrossEntropy`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase


class ModuleClasses:
    """The classes of a module, imported when one of them is first asked for: libraries take seconds to import.

    Args:
        module: its dotted name.
        pattern: only classes whose names match this shell pattern.
    """

    def __init__(self, module: str, pattern: str = "*") -> None:
        self.module = module
        self.pattern = pattern

    def get(self, name: str) -> Callable | None:
        return self._classes().get(name)

    def names(self) -> Iterable[str]:
        return self._classes()

    def _classes(self) -> dict[str, Callable]:
        members = vars(importlib.import_module(self.module))
        return {k: v for k, v in members.items() if inspect.isclass(v) and fnmatchcase(k, self.pattern)}
