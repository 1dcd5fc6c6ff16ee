"""The index of registered names, read from source text: it knows code that is not imported, and imports nothing."""

from __future__ import annotations

import ast
import functools
import os
import re
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
    force: bool = False
    defined: str = ""  # what it is called in the file, if that is not the name


class FileIndex(NamedTuple):
    """What a file registers when it is imported, as far as its text tells.

    Args:
        certain: registrations that stand at the top level with their names.
        uncertain: registries that are used in other ways: in a loop, under a condition, as a source of names.
        error: why the file cannot be read.
        lent: of the uncertain, those that other files may use through this one: a function here registers what it is
            given, a class its subclasses.
    """

    certain: list[Registration]
    uncertain: set[str]
    error: Exception | None = None
    lent: frozenset[str] = frozenset()


def registrations(folder: Path, name: str = "") -> Iterator[Registration]:
    """Every registration, or those of a name, in the Python files below a folder (at most a few thousand are read)."""
    for file in _python_files(folder):
        try:
            text = file.read_text(encoding="utf-8")
            # Parsing costs a hundred times this test, and few files register anything.
            tree = ast.parse(text) if ".register_module" in text and name in text else None
        except (OSError, SyntaxError, ValueError):
            continue
        for node in ast.walk(tree) if tree else ():
            yield from (found for found in _read(node, file) if name in ("", found.name))


@functools.cache
def index_file(file: Path) -> FileIndex:
    """What a file registers; nothing is imported."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return FileIndex([], set(), error)
    count = len(_USE.findall(text))
    plain = list(_PLAIN.finditer(text)) if count else []
    # As in most files: to parse them all would double the start of a tool.
    if count == len(plain) and not _in_strings(text, plain):
        lines = [text.count("\n", 0, found.end()) + 1 for found in plain]
        certain = [Registration(each[1], each[2], file, line) for each, line in zip(plain, lines, strict=True)]
        return FileIndex(certain, set())
    try:
        tree = ast.parse(text, str(file))
    except (SyntaxError, ValueError) as error:
        return FileIndex([], set(), error)
    own = _own_names(tree)
    read = [(node, _read(node, file)) for node in tree.body if _argument(node) is None or _argument(node) in own]
    certain = [found for _, each in read for found in each]
    understood = {id(use) for node, each in read if each for use in _uses_of(node)}
    at_once = {id(use) for use in _at_once(tree)}
    others = [use for use in _uses(tree) if id(use) not in understood]
    lent = [use for use in others if id(use) not in at_once]
    return FileIndex(certain, _variables(others), lent=frozenset(_variables(lent)))


_METHODS = ("register_module", "add_source", "add_library")
_USE = re.compile(rf"\.\s*({'|'.join(_METHODS)})\b")
# A definition at the top level, registered under its own name.
_PLAIN = re.compile(r"^@(\w+)\.register_module(?:\(\))?[ ]*\n(?:@.*\n)*(?:class|def)[ ]+(\w+)", re.MULTILINE)
_STRING_OR_COMMENT = re.compile(
    r'"""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*"""|"[^"\\\n]*(?:\\.[^"\\\n]*)*"|#[^\n]*'
    r"|'''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''|'[^'\\\n]*(?:\\.[^'\\\n]*)*'",
    re.DOTALL,
)


def _in_strings(text: str, found: list[re.Match[str]]) -> bool:
    """Whether one of the definitions found is an example in a string."""
    starts = {each.start() for each in found}
    strings = (each.span() for each in _STRING_OR_COMMENT.finditer(text)) if starts else ()
    return any(begin < start < end for begin, end in strings for start in starts)


def _uses(tree: ast.AST) -> Iterator[ast.Attribute]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in _METHODS)


def _uses_of(node: ast.AST) -> Iterator[ast.Attribute]:
    """Those of a definition's decorators, not those inside it."""
    parts = node.decorator_list if isinstance(node, (ast.ClassDef, ast.FunctionDef)) else [node]
    return (use for part in parts for use in _uses(part))


def _variables(uses: Iterable[ast.Attribute]) -> set[str]:
    return {use.value.id if isinstance(use.value, ast.Name) else "" for use in uses}


def _at_once(node: ast.AST) -> Iterator[ast.expr]:
    """What is called when the file is imported, for its effect: statements outside functions, and decorators."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from (each.func if isinstance(each, ast.Call) else each for each in child.decorator_list)
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Call):
            yield child.value.func
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _at_once(child)


def _own_names(tree: ast.Module) -> set[str]:
    """The classes and functions that are called so: in `Net = _Impl`, the name of Net is _Impl."""
    defined = {node.name for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return defined - stored


def _argument(node: ast.stmt) -> str | None:
    """What a statement registers: `module=Net`."""
    call = node.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
    module = next((each.value for each in call.keywords if each.arg == "module"), None) if call else None
    return ast.unparse(module) if module else None


def _read(node: ast.AST, file: Path) -> list[Registration]:
    """What a definition with decorators, or a statement, registers."""
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        read = [_read_call(each, node.name, file, node.lineno) for each in node.decorator_list]
        return [found for each in read for found in each]
    return _read_call(node.value, None, file, node.lineno) if isinstance(node, ast.Expr) else []


def _read_call(node: ast.expr, defined: str | None, file: Path, line: int) -> list[Registration]:
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
    force = "force" in keywords or bool(call and len(call.args) > 1)
    own = module.id if isinstance(module, ast.Name) else defined or ""
    return [Registration(method.value.id, each, file, line, force, own) for each in names]


def _strings(node: ast.expr | None) -> Iterable[str]:
    nodes = node.elts if isinstance(node, (ast.List, ast.Tuple)) else [node]
    strings = [each.value for each in nodes if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return strings if len(strings) == len(nodes) else []


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
