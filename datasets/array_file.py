"""Images and labels as arrays in one .npz file, as MedMNIST keeps them."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ..registry import DATASETS, UnavailableError, UserError
from .base import ArrayImages


@DATASETS.register_module()
class ArrayFile(ArrayImages):
    """An .npz file with the arrays `<split>_images` and `<split>_labels`, read into memory.

    Images are uint8, (N, H, W) grey or (N, H, W, 3) colour. Labels are class numbers, integers (N,) or (N, 1); or
    multi-hot, 0 or 1, (N, classes); or floats (N, classes): shares of the classes, or measured values.

    Args:
        path: the file.
        split: which arrays: "train" reads `train_images` and `train_labels`.
        classes: names of the classes, or of the values measured; by default the numbers from 0, up to the largest label
            in the file or through the columns.
        source: in words, where the images come from; the file's name by default.

    Raises:
        UnavailableError: there is no such file.
        UserError: it has no such arrays, or of another shape or kind.
    """

    def __init__(
        self, path: str, split: str = "train", classes: list[str] | None = None, source: str | None = None
    ) -> None:
        file = Path(path)
        if not file.is_file():
            raise UnavailableError(f"there is no file {file}")
        try:
            with np.load(file, allow_pickle=False) as arrays:
                self.images, labels = _arrays(file, arrays, split)
                classes = classes or [str(number) for number in range(_count_classes(arrays, labels))]
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"{file} cannot be read as an .npz file: {error}") from error
        self.labels = labels if labels.ndim == 2 else labels.tolist()
        self.classes = classes
        self.source = source or file.stem
        self._split = split

    def name(self, index: int) -> str:
        return f"{self._split}/{index:05d}"


def _arrays(file: Path, arrays: np.lib.npyio.NpzFile, split: str) -> tuple[np.ndarray, np.ndarray]:
    missing = [key for key in (f"{split}_images", f"{split}_labels") if key not in arrays.files]
    if missing:
        raise UserError(f"{file} has no array {missing[0]}; it has {', '.join(sorted(arrays.files))}")
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


def _count_classes(arrays: np.lib.npyio.NpzFile, labels: np.ndarray) -> int:
    """The columns of rows; else up to the largest class number of all splits, which one of them may lack."""
    if labels.ndim == 2:
        return labels.shape[1]
    every = (arrays[key] for key in arrays.files if key.endswith("_labels"))
    return 1 + max(int(each.max()) for each in every if each.dtype.kind in "biu" and each.size)
