"""What modules define, read from their text: the classes of a library, known without the seconds of importing it."""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import re
from collections.abc import Sequence
from pathlib import Path

from .discover import PACKAGE_ROOT

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class ModuleText:
    """The names at the top level of a module: what it defines, and what it takes from where.

    Args:
        name: its dotted name.
        file: its file.
    """

    def __init__(self, name: str, file: Path) -> None:
        self.name = name
        self.package = package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        self.defined: dict[str, Definition] = {}
        self.taken: dict[str, tuple[str, str]] = {}
        self.assigned: dict[str, ast.expr] = {}
        self.modules: set[str] = set()
        self.docs: dict[str, ast.expr] = {}
        self._all_of: list[str] = []
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, Definition):
                self.defined[node.name] = node
            elif isinstance(node, ast.ImportFrom):
                above = package.rsplit(".", node.level - 1)[0] + "." if node.level else ""
                origin = f"{above}{node.module or ''}".rstrip(".")
                for each in node.names:
                    if each.name == "*":
                        self._all_of.append(origin)
                    else:
                        self.taken[each.asname or each.name] = origin, each.name
            elif isinstance(node, ast.Import):
                self.modules |= {each.asname or each.name.partition(".")[0] for each in node.names}
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.assigned[node.targets[0].id] = node.value
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
                target = node.targets[0]
                if target.attr == "__doc__" and isinstance(target.value, ast.Name):
                    self.docs[target.value.id] = node.value

    def names(self) -> set[str]:
        """All names of classes, functions, and of what is imported."""
        starred = [module_text(each) for each in self._all_of]
        others = [name for each in starred if each for name in each.names() if not name.startswith("_")]
        return {*self.defined, *self.taken, *others}

    def find(self, name: str) -> tuple[ModuleText, Definition] | None:
        """The definition of a name, in whichever module of the package it stands, and that module."""
        package = self.package + "."
        module, passed = self, set()
        while module is not None and module.name not in passed:  # modules may take names from each other
            if name in module.defined:
                return module, module.defined[name]
            passed.add(module.name)
            starred = (each for each in module._all_of if (text := module_text(each)) and name in text.names())
            origin, name = module.taken.get(name) or (next(starred, ""), name)
            module = module_text(origin) if (origin + ".").startswith(package) else None
        return None

    def derives(self, name: str, base: tuple[ModuleText, Definition] | None) -> bool:
        """Whether the class of a name is derived from another one, as `find` gave it."""
        found = self.find(name)
        module, node = found or (self, None)
        if not isinstance(node, ast.ClassDef):
            return False
        names = [each.id for each in node.bases if isinstance(each, ast.Name)]
        return any(module.find(each) == base or module.derives(each, base) for each in names)

    def first_line(self, name: str) -> str:
        """The first line of what a class or function says of itself."""
        found = self.find(name)
        return _first_line(found[0]._doc(found[1])) if found else ""

    def _doc(self, node: Definition) -> str | None:
        return _beginning(self.docs[node.name]) if node.name in self.docs else ast.get_docstring(node, clean=False)


@functools.cache
def module_text(name: str) -> ModuleText | None:
    """The text of a module that need not be imported; None if it has none here."""
    file = module_file(name)
    try:
        return ModuleText(name, file) if file else None
    except (OSError, SyntaxError, ValueError):
        return None


def module_file(name: str) -> Path | None:
    """The file of a module. `importlib.util.find_spec` would import the packages that it lies in."""
    top, *rest = name.split(".")
    if rest and top == (__package__ or "").partition(".")[0]:  # the folders of a checkout lie in none of that name
        return _file_below(PACKAGE_ROOT, rest)
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest and spec.origin and spec.submodule_search_locations is None:
        return Path(spec.origin)
    places = (_file_below(Path(folder), rest) for folder in spec.submodule_search_locations or ())
    return next((file for file in places if file), None)


def _file_below(folder: Path, names: Sequence[str]) -> Path | None:
    place = folder.joinpath(*names)
    return next((file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()), None)


def decorated_functions(package: str, decorator: str) -> list[str]:
    """The names of the functions in a package's files, not in those of its folders, that a decorator stands above.

    By pattern: timm's models are four megabytes of text, which would take most of a second to parse.
    """
    pattern = re.compile(rf"^@{decorator}\b.*\n(?:^(?![\w#]).*\n|^#.*\n)*?def (\w+)", re.MULTILINE)
    return [name for text in _texts(package) for name in pattern.findall(text)]


def mentions(package: str, name: str) -> bool:
    """Whether a name stands anywhere in a package's files: if not, nothing there is called so."""
    return not _texts(package) or any(name in text for text in _texts(package))


@functools.cache
def _texts(package: str) -> list[str]:
    file = module_file(package)
    return [each.read_text(encoding="utf-8") for each in sorted(file.parent.glob("*.py"))] if file else []


def own_first_line(target: object) -> str:
    """The first line of what a class or function says of itself; of a class that says nothing, nothing."""
    return _first_line(getattr(target, "__doc__", None))


def _first_line(doc: str | None) -> str:
    return inspect.cleandoc(doc or "").partition("\n")[0]


def _beginning(text: ast.expr) -> str:
    """What an expression that makes a string begins with, as far as it stands there."""
    if isinstance(text, ast.Constant) and isinstance(text.value, str):
        return text.value
    if isinstance(text, ast.BinOp) and isinstance(text.op, ast.Add):
        return _beginning(text.left)
    if isinstance(text, ast.JoinedStr) and text.values:
        return _beginning(text.values[0])
    if isinstance(text, ast.Call) and isinstance(text.func, ast.Attribute):  # "...".format(...)
        return _beginning(text.func.value)
    return ""
