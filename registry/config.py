"""Config files: a page of plain data in Python or YAML, inheritance by `_base_`, overrides from the command line."""

from __future__ import annotations

import ast
import copy
import functools
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from .errors import BuildError, ConfigError, in_short
from .hints import relative
from .index import SEARCHED
from .lines import python_lines, read_yaml
from .names import did_you_mean, nearest
from .signature import describe
from .system_errors import in_words
from .tree import KeyPath, Node, Origin, annotate, dotted, merge, origins, plain, without_marks

COMMAND_LINE = Origin("command line")


class Config:
    """The resolved config of an experiment: plain data, and the origin of every value in it.

    Args:
        data: nested dicts and lists of plain values.
        origins: where each value was written, by path.
        name: names the run's folder: the file's name without its ending.
    """

    def __init__(self, data: dict, origins: dict[KeyPath, Origin] | None = None, name: str = "experiment") -> None:
        self.data = data
        self.origins = origins or {}
        self.name = name

    def origin(self, path: KeyPath) -> Origin | None:
        """Where the value at a path was written; a value that is not there takes the place of what holds it."""
        known = (self.origins.get(path[:length]) for length in range(len(path), -1, -1))
        return next((origin for origin in known if origin), None)

    def path_of(self, part: Mapping) -> KeyPath | None:
        """Where a dict stands in the config, or one that is equal to it, or the only one of its type."""
        dicts = {path: value for path in self.origins if path and isinstance(value := self.at(path), dict)}
        same = [path for path, value in dicts.items() if value is part]
        equal = [path for path, value in dicts.items() if value == part]
        alike = [path for path, value in dicts.items() if value.get("type") == part.get("type")]
        return next(iter(same or equal or (alike if len(alike) == 1 else [])), None)

    def at(self, path: KeyPath) -> Any:
        """The value at a path."""
        value: Any = self.data
        for key in path:
            value = value[key]
        return value

    def to_yaml(self) -> str:
        """The config as YAML that loads to the same experiment."""
        return yaml.safe_dump(self.data, sort_keys=False, allow_unicode=True, width=100)


def tells_places(build: Callable) -> Callable:
    """Decorates a method that builds from `self.config`: of what cannot be built it says where that is written."""

    @functools.wraps(build)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return build(self, *args, **kwargs)
        except BuildError as error:
            path = self.config.path_of(error.cfg) if error.cfg is not None else None
            if path is None:
                raise
            raise ConfigError(f"{dotted(path)} ({self.config.origin(path)}): {error}") from error

    return method


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a config file with all that it inherits, and lay overrides such as `optimizer.lr=0.1` over it.

    Raises:
        ConfigError: a file is missing, does not parse, inherits itself, or an override cannot be understood.
    """
    path = Path(path)
    tree = without_marks(_read(path, ()))
    return _finish(tree, overrides, name=path.stem)


def config_from_dict(data: dict, overrides: Sequence[str] = (), name: str = "experiment", source: str = "") -> Config:
    """A Config from plain data, as a checkpoint holds it; `source` names where the data came from."""
    return _finish(annotate(copy.deepcopy(data), {}, source or name), overrides, name)


def _finish(tree: Node, overrides: Sequence[str], name: str) -> Config:
    for override in _types_first(overrides):
        _override(tree, override)
    _fill_in_vars(tree)
    return Config(plain(tree), origins(tree), name)


def _read(path: Path, children: tuple[Path, ...]) -> Node:
    """One file laid over its bases; `children` are the files that led here."""
    chain = (*children, path)
    try:
        there = path.is_file()
        again = there and path.resolve() in [child.resolve() for child in children]
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL in it, links that lead to each other
        reason = in_words(error) if isinstance(error, OSError) else in_short(error)
        raise ConfigError(f"{describe(str(path))} cannot be a config file: {reason}") from error
    if not there:
        wanted = f", which {relative(children[-1])} names as its _base_" if children else ""
        raise ConfigError(f"there is no config file {relative(path)}{wanted}.{_did_you_mean_file(path)}")
    if again:
        raise ConfigError("a config inherits itself: " + " -> ".join(relative(file) for file in chain))
    if path.parent.resolve() not in SEARCHED:
        SEARCHED.append(path.parent.resolve())
    try:
        source = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{relative(path)} is not a text file in UTF-8: {error.reason}") from error
    except OSError as error:
        raise ConfigError(f"{relative(path)} cannot be read: {error.strerror}") from error
    read = _read_yaml if path.suffix in (".yaml", ".yml") else _read_python
    data, bases, lines = read(source, relative(path))
    tree = annotate(data, lines, relative(path))
    below: Node | None = None
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, (list, tuple)) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"{relative(path)}: _base_ is {bases!r}: name a file, or a list of files")
    for base in bases:
        node = _read(path.parent / base, chain)
        below = node if below is None else merge(below, node)
    return tree if below is None else merge(below, tree)


def _did_you_mean_file(path: Path) -> str:
    """A hint where no file has this path: one of that name with an ending or in `configs/`, or of a name like it."""
    endings, folders = (".py", ".yaml", ".yml"), (path.parent, Path("configs"))
    with suppress(OSError):  # with an ending the name is too long
        for folder in folders:
            for ending in ("", *endings):
                if (file := folder / f"{path.name}{ending}").is_file():
                    return f" Did you mean `{relative(file)}`?"
    there = [each for folder in reversed(folders) for each in folder.glob("*") if each.is_file()]
    files = {each.stem: relative(each) for each in there if each.suffix in endings}
    near = [files[stem] for stem in nearest(path.stem, files)]
    return f" Did you mean {' or '.join(f'`{file}`' for file in near)}?" if near else ""


def _read_python(source: str, file: str) -> tuple[dict, Any, dict[KeyPath, int]]:
    namespace: dict[str, Any] = {"__file__": file, "__name__": "knoll_config"}
    try:
        exec(compile(source, file, "exec"), namespace)
    except SyntaxError as error:
        raise ConfigError(f"{file}:{error.lineno}: not valid Python: {error.msg}") from error
    except Exception as error:
        here = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        line = here[-1] if here else 0
        raise ConfigError(f"{file}:{line}: running the config raised {type(error).__name__}: {error}") from error
    data = namespace.get("config")
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: a config file assigns a dict to the name `config`: config = dict(...)")
    return data, namespace.get("_base_", []), python_lines(source)


def _read_yaml(source: str, file: str) -> tuple[dict, Any, dict[KeyPath, int]]:
    try:
        data, lines = read_yaml(source)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{file}{line}: not valid YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: a config file in YAML is a mapping: keys with values")
    return data, data.pop("_base_", []), lines


# --- overrides -------------------------------------------------------------------------------------------------------


def _types_first(overrides: Sequence[str]) -> list[str]:
    """What holds others comes before them, and a `type`, which replaces the dict it stands in, before its arguments."""

    def rank(text: str) -> tuple[int, bool]:
        *parents, last = text.partition("=")[0].split(".")
        return len(parents), last != "type"

    return sorted(overrides, key=rank)


def _override(tree: Node, override: str) -> None:
    """Lay `a.b.0.c=value` over the tree. Whether anything reads that key is for the check to say."""
    dotted_key, equals, text = override.partition("=")
    keys = dotted_key.split(".")
    if not equals or not all(keys):
        raise ConfigError(f"override {override!r}: write key=value, for example optimizer.lr=0.1")
    node = tree
    for depth in range(len(keys) - 1):
        key = _key_in(node, keys, depth)
        if isinstance(node.value, dict) and (key not in node.value or node.value[key].value is None):
            node.value[key] = Node({}, COMMAND_LINE)
        node = node.value[key]
    key = _key_in(node, keys, len(keys) - 1)
    change = annotate(_parse(text), {}, COMMAND_LINE.file)
    _set_origin(change)
    if isinstance(node.value, list):
        node.value[key] = change
        return
    if key == "type":  # the other arguments were those of the type that is being replaced
        node.value, node.origin = {}, COMMAND_LINE
    if key in node.value and change.value is None:
        del node.value[key]
    else:
        node.value[key] = merge(node.value[key], change) if key in node.value else change


def _key_in(node: Node, keys: list[str], depth: int) -> Any:
    """The key that `keys[depth]` is in a dict or a list."""
    where, key = dotted(tuple(keys[:depth])), keys[depth]
    if isinstance(node.value, dict):
        return key
    if not isinstance(node.value, list):
        raise ConfigError(f"override {'.'.join(keys)}: {where} is {node.value!r}, which has nothing below it")
    if key.isdecimal() and len(key) < 10 and int(key) < len(node.value):
        return int(key)
    raise ConfigError(
        f"override {'.'.join(keys)}: {where} is a list of {len(node.value)}: "
        f"write an index from 0 to {len(node.value) - 1} instead of {key!r}"
    )


def _set_origin(node: Node) -> None:
    node.origin = COMMAND_LINE
    for child in node.value.values() if isinstance(node.value, dict) else node.value if _is_list(node) else ():
        _set_origin(child)


def _is_list(node: Node) -> bool:
    return isinstance(node.value, list)


def _parse(text: str) -> Any:
    """A value as typed: a Python literal (0.1, [1, 2], 'x', {'a': 1}), true/false/null, or else a plain string."""
    words = {"true": True, "false": False, "null": None, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


# --- variables -------------------------------------------------------------------------------------------------------


def _fill_in_vars(tree: Node) -> None:
    """Replace every string `$name` by the value of `vars.name`, after inheritance and overrides.

    A size or a path that several places share is written once, and changing it in a child config or on the command
    line reaches them all. `vars` itself is then gone: the resolved config holds no second copy of a value.
    """
    if "vars" not in tree.value:
        declared: dict[str, Node] = {}
    else:
        declared = tree.value.pop("vars").value
        if not isinstance(declared, dict):
            raise ConfigError("vars: expected a dict of names and values")
    for name, node in declared.items():
        if isinstance(node.value, str) and node.value.startswith("$"):
            raise ConfigError(f"{node.origin}: vars.{name} is {node.value!r}: a variable cannot stand for another one")
    used: set[str] = set()

    def fill(node: Node, path: KeyPath) -> None:
        pairs = node.value.items() if isinstance(node.value, dict) else enumerate(node.value) if _is_list(node) else ()
        for key, child in list(pairs):
            if isinstance(child.value, str) and child.value.startswith("$"):
                name = child.value[1:]
                if name not in declared:
                    known = did_you_mean(name, declared)
                    raise ConfigError(f"{child.origin}: {dotted((*path, key))}: vars has no `{name}`.{known}")
                used.add(name)
                node.value[key] = copy.deepcopy(declared[name])
            else:
                fill(child, (*path, key))

    fill(tree, ())
    for name in sorted(set(declared) - used):
        raise ConfigError(
            f"{declared[name].origin}: vars.{name}: nothing in the config says `${name}`.{did_you_mean(name, used)} "
            f"If it is not needed any more, remove it with vars.{name}=None."
        )
