"""Every optimizer of torch.optim by its name, timm's as `timm/...`, each with its own signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable

import torch

from ..registry import OPTIMIZERS


class _Timm:
    """timm's optimizers (`timm/lamb`, `timm/adopt`, ...), imported when one of them is asked for."""

    def get(self, name: str) -> Callable | None:
        from timm.optim import get_optimizer_class  # pyright: ignore[reportPrivateImportUsage]

        # Without the defaults that timm binds (Nesterov momentum, for one): the class is then what its paper says,
        # and its signature is whole.
        try:
            return get_optimizer_class(name, bind_defaults=False) if name in self.names() else None
        except AssertionError:  # needs a library that is not installed (bnb..., apex...)
            return None

    def names(self) -> Iterable[str]:
        from timm.optim import list_optimizers  # pyright: ignore[reportPrivateImportUsage]

        return [str(name) for name in list_optimizers()]


_Base = torch.optim.Optimizer
for _name, _optimizer in vars(torch.optim).items():
    if inspect.isclass(_optimizer) and issubclass(_optimizer, _Base) and _optimizer is not _Base:
        OPTIMIZERS.register_module(_name, module=_optimizer)
OPTIMIZERS.add_source("timm", _Timm())
