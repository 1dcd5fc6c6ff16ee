"""Every optimizer of torch.optim by its name, timm's as `timm/...`, each with its own signature."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable

from ..registry import OPTIMIZERS, ModuleClasses
from ..registry.source_text import module_file


class _Timm:
    """timm's optimizers (`timm/lamb`, `timm/adopt`, ...), imported when one of them is asked for."""

    def get(self, name: str) -> Callable | None:
        if name not in self.names():
            return None
        from timm.optim import get_optimizer_class  # pyright: ignore[reportPrivateImportUsage]

        # Without the defaults that timm binds (Nesterov momentum, for one): the class is then what its paper says,
        # and its signature is whole.
        try:
            return get_optimizer_class(name, bind_defaults=False)
        except AssertionError:  # needs a library that is not installed (bnb..., apex...)
            return None

    def names(self) -> Iterable[str]:
        return self.imported_names() if "timm" in sys.modules else self.names_in_text()

    def imported_names(self) -> list[str]:
        from timm.optim import list_optimizers  # pyright: ignore[reportPrivateImportUsage]

        return [str(name) for name in list_optimizers()]

    def names_in_text(self) -> list[str]:
        """The names that timm's list of optimizers is made of: `OptimInfo(name=...)`, `register_alias(...)`."""
        file = module_file("timm.optim._optim_factory")
        tree = ast.parse(file.read_text(encoding="utf-8") if file else "")
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        made = [each for each in calls if ast.unparse(each.func).endswith(("OptimInfo", ".register_alias"))]
        given = [each.args[0] if each.args else each.keywords[0].value for each in made]
        names = {each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)}
        return sorted(names) or self.imported_names()


OPTIMIZERS.add_library(ModuleClasses("torch.optim", base="Optimizer"))
OPTIMIZERS.add_source("timm", _Timm())
