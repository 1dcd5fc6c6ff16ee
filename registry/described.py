"""Classes and functions known from their text: what a config may give them, without the seconds of importing them."""

from __future__ import annotations

import ast
import builtins
import functools
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any

from .fit import NotImportedError, Unimported
from .signature import Parameters
from .source_text import Definition, ModuleText, module_file, module_text


class Described:
    """A class or function as its text tells; those of its attributes that are plain values are attributes here.

    Args:
        module: the dotted name of its module.
        name: its own.

    Raises:
        NotImportedError: only an import tells what it takes, or an attribute's value.
    """

    def __init__(self, module: str, name: str) -> None:
        text = module_text(module)
        found = _definition(text, name) if text else None
        if found is None:
            raise NotImportedError(f"{module}.{name}")
        self.parameters = _of_class(*found) if isinstance(found[1], ast.ClassDef) else _of_function(*found)
        self._found = found

    def __getattr__(self, name: str) -> Any:
        node = None
        for node in _line(*self._found):
            if isinstance(node, ast.ClassDef) and name in (values := _plain_values(node)):
                return values[name]
        if isinstance(node, ast.ClassDef) and [ast.unparse(each) for each in node.bases] not in ([], ["object"]):
            raise NotImportedError(name)
        raise AttributeError(name)


def _line(module: ModuleText, node: Definition) -> Iterator[Definition]:
    """A class and those above it, as far as they can be found and there is one above each."""
    yield node
    above = _above(module, node) if isinstance(node, ast.ClassDef) else None
    if above:
        yield from _line(*above)


def _above(module: ModuleText, node: ast.ClassDef) -> tuple[ModuleText, Definition] | None:
    base = node.bases[0] if len(node.bases) == 1 else None
    return _definition(module, base.id) if isinstance(base, ast.Name) else None


def _definition(module: ModuleText, name: str) -> tuple[ModuleText, Definition] | None:
    found, own = module.find(name) or (None, "")
    return (found, found.whole().defined[own]) if found else None


def _plain_values(node: ast.ClassDef) -> dict[str, Any]:
    values = {}
    for each in node.body:
        if isinstance(each, (ast.Assign, ast.AnnAssign)) and each.value is not None:
            target = each.targets[0] if isinstance(each, ast.Assign) else each.target
            with suppress(ValueError):
                values[ast.unparse(target)] = ast.literal_eval(each.value)
    return values


def _of_class(module: ModuleText, node: Definition) -> Parameters:
    """As `signature.parameters` of the class itself."""
    annotations: dict[str, Any] = {}
    required: set[str] | None = None
    while isinstance(node, ast.ClassDef):
        own = {each.name: each for each in node.body if isinstance(each, ast.FunctionDef)}
        if "__new__" in own or any(not _registers(each) for each in node.decorator_list):
            raise NotImportedError(node.name)
        if constructor := own.get("__init__"):
            known = _of_function(module, constructor, method=True)
            annotations = known.annotations | annotations
            required = known.required if required is None else required
            if not known.takes_any:
                return Parameters(annotations, required, takes_any=False)
        if not node.bases or [ast.unparse(each) for each in node.bases] == ["object"]:
            return Parameters(annotations, required or set(), takes_any=required is not None)
        above = _above(module, node)
        if above is None:
            raise NotImportedError(node.name)
        module, node = above
    raise NotImportedError(node.name)


def _registers(decorator: ast.expr) -> bool:
    method = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(method, ast.Attribute) and method.attr == "register_module"


def _of_function(module: ModuleText, node: Definition, method: bool = False) -> Parameters:
    if isinstance(node, ast.ClassDef) or any(not _registers(each) for each in node.decorator_list):
        raise NotImportedError(node.name)
    positional = [*node.args.posonlyargs, *node.args.args]
    given = [None] * (len(positional) - len(node.args.defaults)) + node.args.defaults
    pairs = [*zip(positional, given, strict=True)][1 if method else 0 :]
    pairs += zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    annotations = {each.arg: _annotation(module, each.annotation, default) for each, default in pairs}
    if not _resolved(module, node):
        annotations = dict.fromkeys(annotations, Any)
    required = {each.arg for each, default in pairs if default is None}
    return Parameters(annotations, required, takes_any=node.args.kwarg is not None)


def _resolved(module: ModuleText, node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether every name in the annotations is there when the function runs. Of a function with one that only type
    checkers see, `typing.get_type_hints` tells nothing."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
    annotations = [node.returns, *(each.annotation for each in arguments if each)]
    names = {name.id for each in annotations if each for name in ast.walk(each) if isinstance(name, ast.Name)}
    return names <= {*module.names(), *module.modules, *module.assigned, *vars(builtins)}


def _annotation(module: ModuleText, node: ast.expr | None, default: ast.expr | None) -> Any:
    if node is None:
        return Any
    annotation = _evaluate(module, node)
    if sys.version_info < (3, 11) and isinstance(default, ast.Constant) and default.value is None:
        return annotation | None  # as typing.get_type_hints has it there
    return annotation


def _evaluate(module: ModuleText, node: ast.expr) -> Any:
    """The value of an annotation; what it names of modules that are not imported is Unimported."""
    try:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node = ast.parse(node.value, mode="eval").body
        return _read(module, node)
    except Exception:  # anyone's annotation: then an import tells
        return Unimported


def _read(module: ModuleText, node: ast.expr) -> Any:
    """What stands in an annotation, without running any of it but our own marks, such as AtLeast(0)."""
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return _value(module, node.id)
        case ast.Attribute():
            return getattr(_read(module, node.value), node.attr)
        case ast.Subscript():
            return _read(module, node.value)[_read(module, node.slice)]
        case ast.Tuple():
            return tuple(_read(module, each) for each in node.elts)
        case ast.List():
            return [_read(module, each) for each in node.elts]
        case ast.BinOp(op=ast.BitOr()):
            return _read(module, node.left) | _read(module, node.right)
        case ast.UnaryOp(op=ast.USub()):
            return -_read(module, node.operand)
        case ast.Call(keywords=[]):
            mark = _read(module, node.func)
            if isinstance(mark, type) and mark.__module__.startswith("knoll.registry."):
                return mark(*(_read(module, each) for each in node.args))
    return Unimported


def _value(module: ModuleText, name: str) -> Any:
    if name in module.assigned:
        return _evaluate(module, module.assigned[name])
    if name in module.taken:
        origin, own = module.taken[name]
        found = sys.modules.get(origin)
        if found is not None and hasattr(found, own):
            return getattr(found, own)
        near = origin.split(".")[:2] == module.name.split(".")[:2]  # all of torch is long to read
        text = module_text(origin) if near else None
        return _evaluate(text, text.assigned[own]) if text and own in text.whole().assigned else Unimported
    if name in module.defined or name in module.modules:
        return _Torch if name == "torch" else Unimported
    return getattr(builtins, name, Unimported)


class _DtypeName:
    """Marks a parameter that takes the name of a torch.dtype."""

    def check(self, value: Any) -> None:
        if not isinstance(value, str) or value not in _dtypes():
            raise NotImportedError(repr(value))


@functools.cache
def _dtypes() -> frozenset[str]:
    """The names of torch's dtypes, in what it tells type checkers of its compiled part."""
    init = module_file("torch")
    stub = init.parent / "_C/__init__.pyi" if init else None
    text = stub.read_text(encoding="utf-8") if stub and stub.is_file() else ""
    return frozenset(re.findall(r"^(\w+): dtype = \.\.\.", text, re.MULTILINE))


class _TorchMeta(type):
    def __getattr__(cls, name: str) -> Any:
        return Annotated[Any, _DtypeName()] if name == "dtype" else getattr(Unimported, name)


class _Torch(metaclass=_TorchMeta):
    """Stands for torch."""
