"""Every transform of torchvision.transforms.v2 by its name; a list of them is applied in order."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal

from ..registry import TRANSFORMS, ModuleClasses


def build_transforms(configs: Sequence[dict]) -> list[Callable[[Any], Any]]:
    """Transforms from their configs."""
    return [TRANSFORMS.build(config) for config in configs]


def _building_its_children(container: type) -> Callable:
    """A transform that holds others takes their configs and builds them."""

    @functools.wraps(container)
    def build(**arguments: Any) -> Any:
        return container(**{**arguments, "transforms": build_transforms(arguments["transforms"])})

    return build


@TRANSFORMS.register_module(force=True)
def RandomErasing(
    p: float = 0.5,
    scale: Sequence[float] = (0.02, 0.33),
    ratio: Sequence[float] = (0.3, 3.3),
    value: float | Sequence[float] | Literal["random"] = 0.0,
    inplace: bool = False,
) -> Any:
    """torchvision's, which takes more as `value` than it says: a number for each channel, or "random" for noise."""
    from torchvision.transforms import v2

    return v2.RandomErasing(p, scale, ratio, value, inplace)  # pyright: ignore[reportArgumentType]


def _adapted(transform: type) -> Callable:
    holds_others = "transforms" in inspect.signature(transform).parameters
    return _building_its_children(transform) if holds_others else transform


TRANSFORMS.add_library(ModuleClasses("torchvision.transforms.v2", base="Transform", adapt=_adapted))
