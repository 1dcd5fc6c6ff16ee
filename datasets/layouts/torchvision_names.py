"""Every classification data set of torchvision by its name: `torchvision/Flowers102`, `torchvision/SVHN`, ..."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ...registry import DATASETS, UnknownNameError
from ...registry.source_text import module_text
from .torchvision_layouts import ARRAYS, FILES, OTHERS, REFUSED


class _Torchvision:
    """torchvision's data sets as a source of names; torchvision is imported when the first of them is asked for."""

    def get(self, name: str) -> Callable | None:
        """
        Raises:
            UnknownNameError: torchvision has it, but not for image classification.
        """
        if name in REFUSED:
            raise UnknownNameError(f"torchvision/{name} has no images with a label each: it is {REFUSED[name]}.")
        if name not in self.names():
            return None
        from .torchvision_library import factory

        return factory(name)

    def names(self) -> list[str]:
        return self.imported_names() if "torchvision.datasets" in sys.modules else self.names_in_text()

    def imported_names(self) -> list[str]:
        from torchvision import datasets

        return [name for name in (*ARRAYS, *FILES, *OTHERS) if hasattr(datasets, name)]

    def names_in_text(self) -> list[str]:
        text = module_text("torchvision.datasets")
        there = text.names() if text else {*self.imported_names()}
        return [name for name in (*ARRAYS, *FILES, *OTHERS) if name in there]


DATASETS.add_source("torchvision", _Torchvision())
