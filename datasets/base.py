"""What a data set is to Knoll: samples `(image, label)`, and what it can tell about them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from ..registry import UserError


class LabelledImages(Dataset):
    """Base of the data sets here. Your own may be any object with `__len__` and `__getitem__`; the more of these
    attributes it has, the more is checked before a run.

    Attributes:
        classes: names of the classes, in the order of the labels.
        labels: the label of every sample, without loading it: class numbers, or rows with a number for each class.
        source: where the images come from, in words ("drawn flowers"): told with every result.
    """

    source: str = ""
    classes: list[str]
    labels: Sequence[int] | np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, index: int) -> str:
        """What a person would call this sample, for predictions and error messages."""
        return str(index)


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as 8-bit RGB."""
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow's own conversion would cut off at 255: all white
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")


class ImageFiles(LabelledImages):
    """Images in files, opened when asked for, as RGB.

    Args:
        files: one per sample.
        labels: one per sample, from 0.
        classes: names of the classes.
        root: names of samples are relative to it.
    """

    def __init__(self, files: Sequence[Path], labels: Sequence[int], classes: list[str], root: Path) -> None:
        self.files = list(files)
        self.labels = list(labels)
        self.classes = classes
        self.root = root

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """An image of any size, and its label.

        Raises:
            UserError: the file is missing or is not an image.
        """
        try:
            with Image.open(self.files[index]) as image:
                return to_rgb(image), self.labels[index]
        except (OSError, SyntaxError, ValueError) as error:
            raise UserError(f"{self.files[index]} cannot be read as an image: {error}. Mend or remove it.") from error

    def name(self, index: int) -> str:
        return self.files[index].relative_to(self.root).as_posix()
