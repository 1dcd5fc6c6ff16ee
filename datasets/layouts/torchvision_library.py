"""Data sets over those of torchvision, built from their names and torchvision's own arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from inspect import Parameter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torchvision import datasets

from ...registry import UnavailableError, UserError
from ...registry.signature import parameters, takes
from ..base import ArrayImages, ImageFiles, LabelledImages
from .class_numbers import class_numbers
from .torchvision_layouts import ARRAYS, CLASSES, FILES, OTHERS

# Transforms stand elsewhere in a config, images are decoded here, and a label is what the image shows.
_NOT_OURS = (
    *("transform", "target_transform", "transforms", "loader", "is_valid_file", "target_type", "target_types"),
    "compat",
)


def factory(name: str) -> Callable[..., LabelledImages]:
    """A function that builds a data set. It takes torchvision's own arguments, but

    * `root` is "data" and `download` is False if they are not given;
    * `split`, "train" or "test", stands where torchvision has `train` or `background` and no `split`.
    """
    library: Any = getattr(datasets, name)
    known = parameters(library)
    annotations = {key: each for key, each in known.annotations.items() if key not in _NOT_OURS}
    switch = next((key for key in ("train", "background") if key in annotations and "split" not in annotations), None)
    if switch:
        del annotations[switch]
        annotations["split"] = Literal["train", "test"]

    def create(**arguments: Any) -> LabelledImages:
        given = takes(library, dict(root="data", download=False)) | arguments
        if switch:
            given[switch] = given.pop("split", "train") == "train"
        data = _build(name, library, given)
        part = str(arguments.get("split", "train")) if "split" in annotations else name
        if name in OTHERS:
            return _Items(data, OTHERS[name](data), name, part, given)
        images, labels = (ARRAYS.get(name) or FILES[name])(data)
        return _Arrays(data, images, labels, name, part) if name in ARRAYS else _Files(data, images, labels, name)

    create.__doc__ = inspect.getdoc(library)
    create.__annotations__ = annotations
    required = known.required - {"root"}
    create.__signature__ = inspect.Signature(  # pyright: ignore[reportFunctionMemberAccess]
        [Parameter(k, Parameter.KEYWORD_ONLY, default=Parameter.empty if k in required else None) for k in annotations]
    )
    return create


def _build(name: str, library: Any, arguments: dict[str, Any]) -> Any:
    try:
        return library(**arguments)
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"torchvision/{name} needs the package {error.name}: pip install {error.name}"
        ) from error
    except (OSError, RuntimeError) as error:
        root = arguments.get("root")
        raise UnavailableError(
            f"torchvision/{name} is not in {root} and was not fetched ({error}). Set download=True, put torchvision's "
            "files there, or name the folder that holds them as `root`."
        ) from error


def _as_numbers(name: str, labels: Any) -> Any:
    """Labels as class numbers, or as rows (N, classes)."""
    if isinstance(labels, np.ndarray) and labels.ndim == 2:
        return labels
    numbers = [None if label is None else int(label) for label in labels]
    if None in numbers:
        raise UserError(f"this split of torchvision/{name} has images without labels: it can only be predicted")
    return numbers


def _classes(name: str, data: Any, labels: Any) -> list[str]:
    names = CLASSES[name](data) if name in CLASSES else getattr(data, "classes", None)
    if names is None:
        names = range(max(labels) + 1)
    # ImageNet's classes have several names each.
    return [", ".join(each) if isinstance(each, tuple) else str(each) for each in names]


class _Arrays(ArrayImages):
    """Images that torchvision holds in memory."""

    def __init__(self, data: Any, images: Any, labels: Any, name: str, part: str) -> None:
        images = np.asarray(images)
        if images.ndim == 4 and images.shape[1] == 3:  # (N, 3, H, W), as SVHN and STL10 have them
            images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        self.images = images
        self.labels = _as_numbers(name, labels)
        self.classes = _classes(name, data, self.labels)
        self.source = name
        self._part = part

    def name(self, index: int) -> str:
        return f"{self._part}/{index:05d}"


class _Files(ImageFiles):
    """Images that lie in files, in the order of their names, for torchvision's is at times the file system's."""

    def __init__(self, data: Any, files: Iterable[Path | str], labels: Any, name: str) -> None:
        paths = [Path(file) for file in files]
        order = sorted(range(len(paths)), key=paths.__getitem__)
        if len(labels) and isinstance(labels[0], str):
            labels, classes = class_numbers(labels, None, lambda index: str(paths[index]))
        else:
            labels = _as_numbers(name, labels)
            classes = _classes(name, data, labels)
        own = labels[order] if isinstance(labels, np.ndarray) else [labels[index] for index in order]
        super().__init__([paths[index] for index in order], own, classes, root=Path(data.root))
        self.source = name


class _Items(LabelledImages):
    """Images that torchvision reads itself."""

    def __init__(self, data: Any, labels: Any, name: str, part: str, arguments: dict[str, Any]) -> None:
        self.data = data
        self.labels = _as_numbers(name, labels)
        self.classes = _classes(name, data, self.labels)
        self.source = name
        self._part = part
        self._arguments = arguments

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.data[index][0], self.labels[index]

    def name(self, index: int) -> str:
        return f"{self._part}/{index:05d}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "data": None}  # PCAM holds a module, which cannot be pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.data = getattr(datasets, self.source)(**self._arguments)
