"""The losses of torch and timm, each with its own signature. A loss takes logits (N, classes) and labels (N,)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable

from torch import nn

from ..registry import LOSSES


class _Timm:
    """timm.loss, imported when one of its names is asked for."""

    def get(self, name: str) -> Callable | None:
        return _classes().get(name)

    def names(self) -> Iterable[str]:
        return _classes()


def _classes() -> dict[str, Callable]:
    import timm.loss  # seconds to import, and few configs need it

    return {name: thing for name, thing in vars(timm.loss).items() if inspect.isclass(thing)}


for _name, _loss in vars(nn).items():
    if _name.endswith("Loss") and inspect.isclass(_loss):
        LOSSES.register_module(_name, module=_loss)
LOSSES.add_source("timm", _Timm())
