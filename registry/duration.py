"""Durations: a number of steps, or "5ep", "2000img", "10%"; turned into steps once, when the run knows its length."""

from __future__ import annotations

import math
import re
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from .errors import ConfigError
from .fit import Misfit, fit
from .signature import parameters

_PATTERN = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*(steps?|ep|epochs?|img|images?|%)")


class _IsDuration:
    """Marks a parameter as a duration for the checker."""

    def check(self, value: Any) -> None:
        if isinstance(value, str) and not _PATTERN.fullmatch(value):
            raise Misfit("steps (500), epochs ('5ep'), images ('2000img') or a share of the run ('10%')")
        if isinstance(value, int) and value < 0:
            raise Misfit("steps that are not negative")


Duration = Annotated[int | str, _IsDuration()]


class _IsLength:
    """Marks a duration that is not a share of something and not nothing: the length of a run."""

    def check(self, value: Any) -> None:
        if isinstance(value, str) and value.endswith("%"):
            raise Misfit("'5ep' or a number of steps: the length of a run cannot be a share of itself")
        if value == 0:
            raise Misfit("at least 1 step")


RunLength = Annotated[Duration, _IsLength()]


def is_duration(value: Any) -> bool:
    """Whether a string reads as a duration."""
    return isinstance(value, str) and _PATTERN.fullmatch(value) is not None


def map_durations(target: Callable, arguments: Mapping[str, Any], convert: Callable[[str], int]) -> dict[str, Any]:
    """Replace "5ep" and the like by numbers, where the target's parameter is a whole number, a list of them, or
    unknown; where it is anything else, such a string is no duration."""
    hints = parameters(target).annotations

    def one(value: Any, annotation: Any) -> Any:
        if not is_duration(value):
            return value
        try:
            fit(0.5, annotation)
            takes_fractions = annotation is not Any
        except Misfit:
            takes_fractions = False
        return value if takes_fractions else convert(value)

    def items(value: list, annotation: Any) -> list:
        inner = typing.get_args(annotation)
        return [one(item, inner[0] if inner else Any) for item in value]

    return {
        key: items(value, hints.get(key, Any)) if isinstance(value, list) else one(value, hints.get(key, Any))
        for key, value in arguments.items()
    }


def without_durations(target: Callable, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with every duration as some number, to check the rest of them."""
    return map_durations(target, arguments, lambda duration: 1)


def to_steps(duration: int | str, *, steps_per_epoch: int, batch_size: int, total_steps: int | None = None) -> int:
    """A duration in optimizer steps.

    Args:
        duration: an int is steps already.
        steps_per_epoch: optimizer steps in one pass over the training data.
        batch_size: images per optimizer step.
        total_steps: the length that a percentage is of.

    Raises:
        ConfigError: not a duration, or a percentage where there is no total.
    """
    if isinstance(duration, int):
        return duration
    match = _PATTERN.fullmatch(duration)
    if not match:
        raise ConfigError(f"{duration!r} is not a duration: write 500 (steps), '5ep', '2000img' or '10%'")
    amount, unit = float(match[1]), match[2]
    if unit == "%":
        if total_steps is None:
            raise ConfigError(f"{duration!r}: the length of a run cannot be a share of itself; write '5ep' or 500")
        return round(total_steps * amount / 100)
    if unit.startswith("ep"):
        return round(steps_per_epoch * amount)
    if unit.startswith("im"):
        return math.ceil(amount / batch_size)
    return round(amount)
