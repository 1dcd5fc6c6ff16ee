"""Images and labels as arrays: in one .npz file, as MedMNIST keeps them, or in .npy files that are mapped, not read."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from ...registry import DATASETS, UnavailableError, UserError
from ..base import ArrayImages
from .class_numbers import require_classes


@DATASETS.register_module()
class ArrayFile(ArrayImages):
    """Arrays `<split>_images` and `<split>_labels`: in an .npz file, read into memory, or in a folder of .npy files.

    The images of a folder are mapped into memory: the system reads the pages that are used, and all processes share
    them. A process that is not forked opens them again, so they must stay where they are while a run lasts.

    Images are uint8, (N, H, W) grey or (N, H, W, 3) colour. Labels are class numbers, integers (N,) or (N, 1); or
    multi-hot, 0 or 1, (N, classes); or floats (N, classes): shares of the classes, or measured values.

    Args:
        path: the .npz file, or the folder that holds `train_images.npy`, `train_labels.npy`, ...
        split: which arrays: "train" reads `train_images` and `train_labels`.
        classes: names of the classes, or of the values measured; by default the numbers from 0, up to the largest label
            of all splits or through the columns.
        source: in words, where the images come from; the name of the file or folder by default.

    Raises:
        UnavailableError: there is no such file or folder.
        UserError: it has no such arrays, or of another shape or kind.
    """

    def __init__(
        self, path: str, split: str = "train", classes: list[str] | None = None, source: str | None = None
    ) -> None:
        file = Path(path)
        if not file.exists():
            raise UnavailableError(f"there is no {'file' if file.suffix else 'folder'} {file}")
        if file.suffix == ".npy":
            raise UserError(f"{file} is one array: give the folder that holds it beside {split}_labels.npy")
        self._mapped = file / f"{split}_images.npy" if file.is_dir() else None
        try:
            with nullcontext(_mapped(file)) if file.is_dir() else np.load(file, allow_pickle=False) as arrays:
                self.images, labels = _arrays(file, arrays, split)
                classes = classes or [str(number) for number in range(_count_classes(file, arrays, labels))]
        except UserError:
            raise
        except Exception as error:  # of a damaged zip: wrong checksums, unknown compressions, passwords, ...
            kind = "a folder of .npy files" if self._mapped else "an .npz file"
            raise UserError(f"{file} cannot be read as {kind}: {error}") from error
        self.labels = labels if labels.ndim == 2 else labels.tolist()
        self.classes = classes
        self.source = source or file.stem
        self._split = split

    def name(self, index: int) -> str:
        return f"{self._split}/{index:05d}"

    def __getstate__(self) -> dict[str, Any]:
        # What is mapped would be pickled as a whole array.
        return {**self.__dict__, "images": None} if self._mapped else self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._mapped:
            self.images = np.load(self._mapped, mmap_mode="r", allow_pickle=False)


def _mapped(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of a folder by name: images mapped, labels read."""
    arrays = {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in folder.glob("*_images.npy")}
    return arrays | {file.stem: np.load(file, allow_pickle=False) for file in folder.glob("*_labels.npy")}


def _arrays(file: Path, arrays: Mapping[str, np.ndarray], split: str) -> tuple[np.ndarray, np.ndarray]:
    missing = [key for key in (f"{split}_images", f"{split}_labels") if key not in arrays]
    if missing:
        raise UserError(f"{file} has no array {missing[0]}; it has {', '.join(sorted(arrays) or 'none')}")
    images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
        raise UserError(
            f"{file}: {split}_images is {images.dtype} of shape {images.shape}; "
            "expected uint8 (N, H, W) or (N, H, W, 3)"
        )
    if labels.dtype.kind == "b":
        labels = labels.astype(np.int64)
    whole = labels.dtype.kind in "iu"
    if whole and labels.shape[1:] == (1,):
        labels = labels.reshape(-1)
    rows = labels.ndim == 2 and labels.dtype.kind in "biuf"
    if labels.ndim == 0 or len(labels) != len(images) or not (rows or (whole and labels.ndim == 1)):
        raise UserError(
            f"{file}: {split}_labels is {labels.dtype} of shape {labels.shape}; expected integers ({len(images)},), "
            f"which are class numbers, or rows: multi-hot labels ({len(images)}, classes), or measured values, which "
            f"are floats ({len(images)}, 1)"
        )
    return images, labels


def _count_classes(file: Path, arrays: Mapping[str, np.ndarray], labels: np.ndarray) -> int:
    """The columns of rows; else up to the largest class number of all splits, which one of them may lack."""
    if labels.ndim == 2:
        return labels.shape[1]
    every = (arrays[key] for key in arrays if key.endswith("_labels"))
    count = 1 + max((int(each.max()) for each in every if each.dtype.kind in "biu" and each.size), default=-1)
    require_classes(count, lambda: str(file))
    return count
