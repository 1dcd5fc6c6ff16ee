"""Images and labels as arrays in one .npz file, as MedMNIST keeps them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ..registry import DATASETS, UnavailableError, UserError
from .base import LabelledImages


@DATASETS.register_module()
class ArrayFile(LabelledImages):
    """An .npz file with the arrays `<split>_images` and `<split>_labels`, read into memory.

    Images are uint8, (N, H, W) grey or (N, H, W, 3) colour. Labels are

    * integers (N,) or (N, 1): the number of the class;
    * (N, classes), of 0 and 1: what is in the image, for a MultiLabelHead; or shares of a class that add up to 1;
    * floats (N, 1): a quantity, for regression. There are no classes then.

    Args:
        path: the file.
        split: which arrays: "train" reads `train_images` and `train_labels`.
        classes: names of the classes; by default their numbers, up to the largest label in the file.
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
                count = _number_of_classes([arrays[key] for key in arrays.files if key.endswith("_labels")])
        except (OSError, ValueError) as error:
            raise UserError(f"{file} cannot be read as an .npz file: {error}") from error
        self.labels = labels if labels.ndim == 2 else [int(label) for label in labels]
        self.classes = classes or [str(number) for number in range(count)]
        self.source = source or file.stem
        self._split = split

    def __getitem__(self, index: int) -> tuple[Image.Image, int | np.ndarray]:
        return Image.fromarray(self.images[index]), self.labels[index]

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
    count = len(images)
    numbers = labels.shape in ((count,), (count, 1)) and labels.dtype.kind in "iu"
    rows = labels.ndim == 2 and len(labels) == count and labels.dtype.kind in "iufb"
    if not numbers and not rows:
        raise UserError(
            f"{file}: {split}_labels is {labels.dtype} of shape {labels.shape}; expected integers ({count},), or "
            f"({count}, classes) of 0 and 1, or floats ({count}, 1)"
        )
    return images, labels.reshape(-1) if numbers else labels.astype(np.float32)


def _number_of_classes(labels: list[np.ndarray]) -> int:
    """Counted over all splits of the file, for one of them may lack a class; 0 for quantities."""
    if all(each.ndim == 1 or (each.shape[1] == 1 and each.dtype.kind in "iu") for each in labels):
        return max(int(each.max()) for each in labels) + 1
    width = max(each.shape[1] for each in labels if each.ndim == 2)
    return width if width > 1 else 0
