"""What a registered class or function takes, read from its own signature."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from .fit import Misfit, fit
from .names import did_you_mean, nearest


class Parameters(NamedTuple):
    """The arguments of a constructor: names with their annotations, which are required, and whether any name goes."""

    annotations: dict[str, Any]
    required: set[str]
    takes_any: bool


class ArgumentProblem(NamedTuple):
    key: str
    message: str
    missing: bool = False
    unknown: bool = False


def parameters(target: Callable) -> Parameters:
    """The parameters of a class or function.

    Where a constructor has `**kwargs`, its base classes' constructors are read too, for that is where such arguments
    go; only if the last of them takes `**kwargs` as well is every name accepted. What a base class requires, the class
    may pass itself: only its own constructor says what is missing.
    """
    if isinstance(known := getattr(target, "parameters", None), Parameters):  # read from its text
        return known
    annotations: dict[str, Any] = {}
    required: set[str] = set()
    for number, constructor in enumerate(_constructors(target)):
        try:
            signature = inspect.signature(constructor)
        except (TypeError, ValueError):  # written in C: nothing is known
            return Parameters(annotations, required, takes_any=True)
        hints = _hints(constructor)
        takes_any = False
        for name, parameter in list(signature.parameters.items())[1 if inspect.isclass(target) else 0 :]:
            if parameter.kind is parameter.VAR_KEYWORD:
                takes_any = True
            elif parameter.kind is not parameter.VAR_POSITIONAL and name not in annotations:
                annotations[name] = hints.get(name, Any)
                if parameter.default is parameter.empty and number == 0:
                    required.add(name)
        if not takes_any:
            return Parameters(annotations, required, takes_any=False)
    return Parameters(annotations, required, takes_any=True)


def _constructors(target: Callable) -> list[Callable]:
    if not inspect.isclass(target):
        return [target]
    if isinstance(target.__dict__.get("__new__"), staticmethod):  # a factory in the form of a class: F1Score(task=...)
        return [target.__dict__["__new__"].__func__]
    own = [cls.__dict__["__init__"] for cls in target.__mro__ if "__init__" in cls.__dict__ and cls is not object]
    return own or [lambda self: None]


def _hints(function: Callable) -> dict[str, Any]:
    function = inspect.unwrap(function)
    try:
        return typing.get_type_hints(function.__init__ if inspect.isclass(function) else function, include_extras=True)
    except Exception:  # an annotation that names what exists only for type checkers: then nothing is checked
        return {}


def bind(
    target: Callable, arguments: Mapping[str, Any], provided: Collection[str] = ()
) -> tuple[dict[str, Any], list[ArgumentProblem]]:
    """Match arguments against a signature: what to call the target with, and every mistake found.

    Args:
        provided: arguments that the caller will add: not missing, and not to be given.
    """
    known = parameters(target)
    fitted: dict[str, Any] = {}
    problems: list[ArgumentProblem] = []
    for key, value in arguments.items():
        if key in provided:
            problems.append(ArgumentProblem(key, "this is filled in by Knoll: leave it out."))
        elif key in known.annotations:
            try:
                fitted[key] = fit(value, known.annotations[key])
            except Misfit as misfit:
                problems.append(ArgumentProblem(key, f"expected {misfit}, got {describe(value)}."))
        elif known.takes_any and not nearest(key, known.annotations, most=1):
            fitted[key] = value
        else:
            choices = [name for name in known.annotations if name not in provided]
            now = getattr(target, "former_keys", {}).get(key) if dataclasses.is_dataclass(target) else None
            message = f"no key any more: {now}" if now else f"unknown key.{did_you_mean(key, choices)}"
            problems.append(ArgumentProblem(key, message, unknown=not now))
    for key in sorted(known.required - set(arguments) - set(provided)):
        problems.append(ArgumentProblem(key, "is missing.", missing=True))
    return fitted, problems


def takes(target: Callable, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the arguments that the target has a parameter for."""
    known = parameters(target)
    return {key: value for key, value in arguments.items() if key in known.annotations}


def describe(value: Any) -> str:
    """A value for an error message: short, with its type."""
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def settings_class(annotation: Any) -> type | None:
    """The dataclass of an annotation that is one, or one or None: a part of the experiment with keys of its own."""
    choices = [annotation, *(typing.get_args(annotation) if _is_union(annotation) else ())]
    return next((choice for choice in choices if inspect.isclass(choice) and dataclasses.is_dataclass(choice)), None)


def settings_class_of_items(annotation: Any) -> type | None:
    """The dataclass of the values of a dict whose keys are free: `dict[str, EvaluationData]`."""
    inner = typing.get_args(annotation)
    return settings_class(inner[1]) if typing.get_origin(annotation) is dict and len(inner) == 2 else None


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)
