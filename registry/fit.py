"""Does a plain value fit a type annotation? Says what was expected, or turns the value into what the code wants.

A config holds plain data only. A list stands for a tuple, a string for an enum's value or a torch dtype, a list of
numbers for a tensor; the conversion follows the annotation of the parameter that receives the value.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import types
import typing
from pathlib import Path
from typing import Any, Literal, Protocol, Union, runtime_checkable


class Misfit(Exception):
    """The value does not fit; the message says what was expected."""


class _AnyName(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):  # Python asks for these itself
            raise AttributeError(name)
        return cls


class Unimported(metaclass=_AnyName):
    """Stands for a class in an annotation that was read from text, or for a module that holds it."""

    def __class_getitem__(cls, item: Any) -> type[Unimported]:
        return cls


class NotImportedError(Exception):
    """Whether a value fits, only the import of the class tells."""


@runtime_checkable
class Marker(Protocol):
    """Metadata of an `Annotated` type that checks a value itself; raises Misfit."""

    def check(self, value: Any) -> None: ...


class AtLeast:
    """Marks a number's lower bound: `Annotated[int, AtLeast(1)]`."""

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def check(self, value: Any) -> None:
        if isinstance(value, (int, float)) and not value >= self.bound:  # NaN too
            raise Misfit(f"at least {self.bound}")


class AtMost:
    """Marks a number's upper bound: `Annotated[float, AtMost(1)]`."""

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def check(self, value: Any) -> None:
        if isinstance(value, (int, float)) and not value <= self.bound:
            raise Misfit(f"at most {self.bound}")


def fit(value: Any, annotation: Any) -> Any:
    """`value` as the annotation wants it.

    Raises:
        Misfit: it does not fit.
        NotImportedError: the annotation was read from text, and this class in it is not known.
    """
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Unimported:
        raise NotImportedError(repr(value))
    if origin is typing.Annotated:
        converted = fit(value, inner[0])
        for marker in inner[1:]:
            if isinstance(marker, Marker):
                marker.check(value)
        return converted
    if origin in (Union, types.UnionType):
        return _fit_union(value, inner)
    if origin is Literal:
        if value in inner and not (isinstance(value, bool) and True not in inner):
            return value
        raise Misfit("one of " + ", ".join(repr(choice) for choice in inner))
    if origin is tuple:
        return _fit_tuple(value, inner)
    if origin in (list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection):
        items = enumerate(_require(value, (list, tuple), "a list"))
        return [_fit_item(index, item, inner[0] if inner else Any) for index, item in items]
    if origin in (dict, collections.abc.Mapping):
        fitted = _require(value, dict, "a dict")
        return {key: _fit_item(key, item, inner[1]) for key, item in fitted.items()} if inner else fitted
    if isinstance(annotation, type):
        return _fit_class(value, annotation)
    return value  # Any, a type variable, something of a library's own: only the code that takes it knows


def _fit_item(key: Any, value: Any, annotation: Any) -> Any:
    try:
        return fit(value, annotation)
    except Misfit as misfit:
        raise Misfit(f"{misfit} at {key!r}") from misfit


def _fit_union(value: Any, choices: tuple) -> Any:
    if isinstance(value, str) and any(_is_enum(choice) for choice in choices):
        # `str | InterpolationMode` takes the names of the modes, not every string.
        choices = tuple(choice for choice in choices if choice is not str)
    if isinstance(value, str) and Unimported in choices:  # it may be such an enum
        raise NotImportedError(repr(value))
    expected = {}
    for choice in sorted(choices, key=_is_unimported):
        try:
            return fit(value, choice)
        except Misfit as misfit:
            expected[choice] = str(misfit)
    # `list[str] | dict[str, int]`: of a dict only what is wrong inside it needs saying.
    own = [message for choice, message in expected.items() if typing.get_origin(choice) is type(value)]
    raise Misfit(" or ".join(dict.fromkeys(own or expected.values())))


def _fit_tuple(value: Any, inner: tuple) -> tuple:
    items = _require(value, (list, tuple), "a list")
    if not inner:
        return tuple(items)
    if len(inner) == 2 and inner[1] is Ellipsis:
        return tuple(fit(item, inner[0]) for item in items)
    if len(items) != len(inner):
        raise Misfit(f"a list of {len(inner)} values")
    return tuple(fit(item, kind) for item, kind in zip(items, inner, strict=True))


def _fit_class(value: Any, kind: type) -> Any:
    if kind is type(None):
        return _require(value, type(None), "None")
    if kind is bool:
        return _require(value, bool, "true or false")
    if kind is int:
        return _require(value, int, "a whole number", but_not=bool)
    if kind is float:
        return _require(value, (int, float), "a number", but_not=bool)
    if kind is str:
        return _require(value, str, "a string")
    if kind is dict:
        return _require(value, dict, "a dict")
    if kind in (list, tuple):
        return kind(_require(value, (list, tuple), "a list"))
    if dataclasses.is_dataclass(kind) and not isinstance(value, (dict, kind)):
        raise Misfit("a dict")
    if _is_enum(kind) and isinstance(value, str):
        return _fit_enum(value, kind)
    if issubclass(kind, Path) and isinstance(value, str):
        return kind(value)
    if kind.__module__ == "torch" and kind.__name__ in ("dtype", "Tensor"):
        return _fit_torch(value, kind)
    if kind.__module__.startswith("torch.nn") and not isinstance(value, kind):
        raise Misfit(f"a {kind.__name__}")
    return value


def _is_unimported(choice: Any) -> bool:
    return choice is Unimported or Unimported in typing.get_args(choice)


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


def _fit_enum(value: str, kind: Any) -> enum.Enum:
    for member in kind:
        if value in (member.value, member.name):
            return member
    raise Misfit("one of " + ", ".join(repr(member.value) for member in kind))


def _fit_torch(value: Any, kind: type) -> Any:
    import torch  # the annotation is torch's own, so torch is loaded already

    if isinstance(value, kind):
        return value
    if kind is torch.dtype:
        dtype = getattr(torch, value, None) if isinstance(value, str) else None
        if not isinstance(dtype, torch.dtype):
            raise Misfit("the name of a torch dtype, such as 'float32'")
        return dtype
    try:
        return torch.tensor(_require(value, (list, tuple), "a list of numbers"))
    except (ValueError, TypeError, RuntimeError) as error:  # the last of None, or a number beyond 64 bits
        raise Misfit("a list of numbers") from error


def _require(value: Any, kind: Any, expected: str, but_not: type | None = None) -> Any:
    if isinstance(value, kind) and not (but_not and isinstance(value, but_not)):
        return value
    raise Misfit(expected)
