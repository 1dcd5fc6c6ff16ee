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

    Libraries are megabytes of text. Only their imports and the first lines of definitions are parsed at first; the
    whole file when what stands in a definition is asked for.

    Args:
        name: its dotted name.
        file: its file.
    """

    def __init__(self, name: str, file: Path) -> None:
        self.name, self.file = name, str(file)
        self.package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        self.defined: dict[str, Definition] = {}
        self.taken: dict[str, tuple[str, str]] = {}
        self.assigned: dict[str, ast.expr] = {}
        self.modules: set[str] = set()
        self._docs: dict[str, ast.expr] = {}
        self._all_of: list[str] = []
        self._text = file.read_text(encoding="utf-8")
        try:
            self._read(ast.parse(_outline(self._text)))
        except SyntaxError:  # it is written in another way than outlines expect
            self.whole()

    def _read(self, tree: ast.Module) -> None:
        for node in tree.body:
            if isinstance(node, Definition):
                self.defined[node.name] = node
            elif isinstance(node, ast.ImportFrom):
                above = self.package.rsplit(".", node.level - 1)[0] + "." if node.level else ""
                origin = f"{above}{node.module or ''}".rstrip(".")
                taken = {each.asname or each.name: (origin, each.name) for each in node.names}
                self._all_of += [origin] if taken.pop("*", None) else []
                self.taken |= taken
            elif isinstance(node, ast.Import):
                self.modules |= {each.asname or each.name.partition(".")[0] for each in node.names}
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.assigned[node.targets[0].id] = node.value
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).endswith(".__doc__"):
                self._docs[ast.unparse(node.targets[0]).partition(".")[0]] = node.value

    def whole(self) -> ModuleText:
        """This module with all that stands in its definitions."""
        if self._text:
            self._all_of.clear()
            self._read(ast.parse(self._text, self.file))
            self._text = ""
        return self

    def names(self) -> set[str]:
        """All names of classes, functions, and of what is imported."""
        starred = [module_text(each) for each in self._all_of]
        others = [name for each in starred if each for name in each.names() if not name.startswith("_")]
        return {*self.defined, *self.taken, *others}

    def find(self, name: str) -> tuple[ModuleText, str] | None:
        """The module of the package in which a name is defined, and what it is called there."""
        package = self.package + "."
        module, passed = self, set()
        while module is not None and module.name not in passed:  # modules may take names from each other
            if name in module.defined:
                return module, name
            passed.add(module.name)
            starred = (each for each in module._all_of if (text := module_text(each)) and name in text.names())
            origin, name = module.taken.get(name) or (next(starred, ""), name)
            module = module_text(origin) if (origin + ".").startswith(package) else None
        return None

    def is_class(self, name: str) -> bool:
        found = self.find(name)
        return found is not None and isinstance(found[0].defined[found[1]], ast.ClassDef)

    def derives(self, name: str, base: tuple[ModuleText, str] | None) -> bool:
        """Whether the class of a name is derived from another one, as `find` gave it."""
        module, own = self.find(name) or (self, "")
        node = module.defined.get(own)
        if not isinstance(node, ast.ClassDef):
            return False
        names = [each.id for each in node.bases if isinstance(each, ast.Name)]
        return any(module.find(each) == base or module.derives(each, base) for each in names)

    def first_line(self, name: str) -> str:
        """The first line of what a class or function says of itself."""
        module, own = self.find(name) or (self, "")
        if own in module.whole()._docs:
            return _first_line(_beginning(module._docs[own]))
        return _first_line(ast.get_docstring(module.defined[own], clean=False)) if own else ""


_OUTLINE = re.compile(
    r"^from[ ]+[\w.]+[ ]+import[ ]+(?:\([^)]*\)|[^(\n]+)$|^import[ ].*$|^class[ ]+\w+(?:\([^()]*\))?(?=:)|^def[ ]+\w+",
    re.MULTILINE,
)
_BEGINNING = re.compile(r"^(?:from[ ].*[ ]import[ ]|import[ ]|class[ ]+\w+[(:]|def[ ]+\w+[(])", re.MULTILINE)


def _outline(text: str) -> str:
    """Imports, and definitions without what stands in them.

    Raises:
        SyntaxError: this text has some that the patterns here miss.
    """
    found = _OUTLINE.findall(text)
    if len(found) != len(_BEGINNING.findall(text)):
        raise SyntaxError("not all of it is found")
    endings = {"class": ": ...", "def": "(): ..."}
    return "\n".join(each + endings.get(each.split()[0], "") for each in found)


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
    return [each.read_text(encoding="utf-8") for each in sorted(file.parent.glob("[!.]*.py"))] if file else []


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
