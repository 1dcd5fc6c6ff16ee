"""On which line of a config file each value is written: Python files by their syntax tree, YAML by its node marks."""

from __future__ import annotations

import ast
from typing import Any

import yaml

from .errors import in_short
from .tree import DEEPEST, MOST_VALUES, KeyPath


def python_lines(source: str) -> dict[KeyPath, int]:
    """Lines of the values of `config = dict(...)`, followed through variables and functions defined above it.

    A value that is computed in a way this cannot follow is left out: it then counts as written where its parent is.
    """
    module = ast.parse(source)
    names: dict[str, ast.expr] = {}
    for statement in module.body:
        if isinstance(statement, ast.Assign):
            names |= {target.id: statement.value for target in statement.targets if isinstance(target, ast.Name)}
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            names[statement.target.id] = statement.value
        elif isinstance(statement, ast.FunctionDef) and isinstance(statement.body[-1], ast.Return):
            names[statement.name] = statement.body[-1].value or ast.Constant(None)
    lines: dict[KeyPath, int] = {}
    if "config" in names:
        _walk(names["config"], (), names, lines, depth=0)
    return lines


def _walk(node: ast.expr, path: KeyPath, names: dict[str, ast.expr], lines: dict[KeyPath, int], depth: int) -> None:
    if depth > 40:  # a variable defined through itself
        return
    lines.setdefault(path, node.lineno)
    node = _resolve(node, names)
    if isinstance(node, ast.Dict):
        pairs = [(key.value if isinstance(key, ast.Constant) else None, value) for key, value in _items(node)]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        pairs = [(None, argument) for argument in node.args]
        pairs += [(keyword.arg, keyword.value) for keyword in node.keywords]
    else:
        for index, item in enumerate(_list_items(node, names)):
            _walk(item, (*path, index), names, lines, depth + 1)
        return
    for key, value in reversed(pairs):  # the last of two equal keys wins
        if isinstance(key, str):
            _walk(value, (*path, key), names, lines, depth + 1)
        elif key is None:  # **other
            _walk(value, path, names, lines, depth + 1)


def _resolve(node: ast.expr, names: dict[str, ast.expr]) -> ast.expr:
    """Follow a variable to its value, and a call of a config's own function to what it returns."""
    for _ in range(20):
        if isinstance(node, ast.Name) and node.id in names:
            node = names[node.id]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            function = names[node.func.id]
            node = function.body if isinstance(function, ast.Lambda) else function
        else:
            return node
    return node


def _items(node: ast.Dict) -> list[tuple[ast.expr | None, ast.expr]]:
    return list(zip(node.keys, node.values, strict=True))


def _list_items(node: ast.expr, names: dict[str, ast.expr]) -> list[ast.expr]:
    if isinstance(node, (ast.List, ast.Tuple)):
        items: list[ast.expr] = []
        for item in node.elts:
            items += _list_items(_resolve(item.value, names), names) if isinstance(item, ast.Starred) else [item]
        return items
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _list_items(_resolve(node.left, names), names) + _list_items(_resolve(node.right, names), names)
    return []


def read_yaml(source: str) -> tuple[Any, dict[KeyPath, int]]:
    """The data of a YAML document, plain types only, and the lines of its values by its parser's own marks.

    Raises:
        yaml.YAMLError: it does not parse, asks for an object, has a key twice, or grows beyond all measure.
    """
    loader = yaml.SafeLoader(source)
    try:
        root = loader.get_single_node()
        if root is None:
            return None, {}
        lines = _yaml_lines(root)
        return loader.construct_document(root), lines
    except yaml.YAMLError:
        raise
    except Exception as error:  # of a date such as 2020-13-01, of `!!int x`, of what is nested too deeply
        raise yaml.YAMLError(in_short(error)) from error
    finally:
        loader.dispose()


def _yaml_lines(root: yaml.Node) -> dict[KeyPath, int]:
    lines: dict[KeyPath, int] = {}

    def walk(node: yaml.Node, path: KeyPath, line: int) -> None:
        lines[path] = line + 1
        # Before anything is made of it: ten lines of aliases can stand for as many values as there are atoms.
        if len(lines) > MOST_VALUES or len(path) > DEEPEST:
            raise yaml.MarkedYAMLError(problem="it holds itself, or far too many values", problem_mark=node.start_mark)
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise yaml.MarkedYAMLError(problem="a key that is no string", problem_mark=key.start_mark)
                if key.value in seen and key.tag != "tag:yaml.org,2002:merge":  # YAML would silently take the last
                    what = f"the key `{key.value}` stands twice"
                    raise yaml.MarkedYAMLError(problem=what, problem_mark=key.start_mark)
                seen.add(key.value)
                walk(value, (*path, key.value), key.start_mark.line)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                walk(value, (*path, index), value.start_mark.line)

    walk(root, (), 0)
    return lines
