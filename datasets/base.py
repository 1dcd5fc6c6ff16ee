"""What a data set is to Knoll: samples `(image, label)`, and what it can tell about them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ..registry import UserError
from .loading.decoding import decode
from .loading.memory import Reused
from .loading.pictures import Encoded


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

    @abstractmethod
    def __getitem__(self, index: int) -> tuple[Any, Any]: ...

    def name(self, index: int) -> str:
        """What a person would call this sample, for predictions and error messages."""
        return str(index)


class EncodedImages(LabelledImages):
    """Base of the data sets whose images are JPEGs, PNGs and the like: a loader decodes them as it needs them.

    A data set of this kind says where the bytes of an image are, in `encoded`, and nothing else.
    """

    @abstractmethod
    def encoded(self, index: int) -> bytes:
        """An image as it lies in its file.

        Raises:
            UserError: it is not there.
        """

    def __getitem__(self, index: int) -> tuple[Image.Image, Any]:
        """An image of any size, as RGB, and its label.

        Raises:
            UserError: the file is missing or is not an image.
        """
        return decode(self.encoded(index), self.place(index)), self.labels[index]

    def gather(self, indices: np.ndarray) -> list[Encoded]:
        """The images at some positions, not yet read."""
        return [Encoded(self, index) for index in indices.tolist()]

    def place(self, index: int) -> str:
        """Where a person finds this image, to mend it."""
        return self.name(index)


class ImageFiles(EncodedImages):
    """Images in files, opened when asked for.

    Args:
        files: one per sample.
        labels: one per sample: class numbers from 0, or rows.
        classes: names of the classes.
        root: names of samples are relative to it.
    """

    def __init__(
        self, files: Sequence[Path], labels: Sequence[int] | np.ndarray, classes: list[str], root: Path
    ) -> None:
        self.files = list(files)
        self.labels = labels if isinstance(labels, np.ndarray) else list(labels)
        self.classes = classes
        self.root = root

    def encoded(self, index: int) -> bytes:
        try:
            return self.files[index].read_bytes()
        except OSError as error:
            raise UserError(f"{self.place(index)} cannot be read: {error.strerror}") from error

    def name(self, index: int) -> str:
        return self.files[index].relative_to(self.root).as_posix()

    def place(self, index: int) -> str:
        return str(self.files[index])


class ArrayImages(LabelledImages):
    """Base of the data sets that are arrays, in memory or mapped from a file: a loader takes whole batches at once.

    Attributes:
        images: uint8, (N, H, W) grey or (N, H, W, 3) colour; or float32 (N, features) where a sample is a row of a
            table.
    """

    images: np.ndarray
    _placed: Tensor | None = None

    @cached_property
    def _memory(self) -> Reused:
        return Reused()

    def to(self, device: torch.device) -> None:
        """Keep all images on a device, to gather batches there."""
        self._placed = torch.from_numpy(self.images).to(device)

    def gather(self, indices: np.ndarray) -> Tensor:
        """The images at some positions: uint8 (N, C, H, W) in channels_last order, or float32 (N, features)."""
        if self._placed is not None:
            rows = self._placed[torch.from_numpy(indices).to(self._placed.device)]
        elif self.images.flags.carray:
            memory = self._memory.empty((len(indices), *self.images.shape[1:]), self.images.dtype)
            rows = torch.from_numpy(memory)
            torch.index_select(torch.from_numpy(self.images), 0, torch.as_tensor(indices), out=rows)
        else:  # flipped, say, or mapped from a file that is only read: torch takes none of these
            rows = torch.from_numpy(self.images[indices])
        if rows.ndim == 2:
            return rows
        return rows[:, None] if rows.ndim == 3 else rows.permute(0, 3, 1, 2)

    def __getitem__(self, index: int) -> tuple[Image.Image | Tensor, Any]:
        """An image, or the row of a table (features,), and its label."""
        row = self.images[index]
        return (torch.from_numpy(row.copy()) if row.ndim == 1 else Image.fromarray(row)), self.labels[index]


class CombinedImages(LabelledImages):
    """Base of the data sets made of others: a sample is one of theirs, with a label of its own.

    A loader goes by `locate` to the data sets at the bottom, so that they are read as fast as on their own.
    """

    @abstractmethod
    def locate(self, index: int) -> tuple[Any, int]:
        """The data set that has this sample, and its position there."""

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        part, inner = self.locate(index)
        return part[inner][0], self.labels[index]

    def name(self, index: int) -> str:
        return name_of(*self.locate(index))

    def place(self, index: int) -> str:
        """Where a person finds this image, to mend it."""
        return place_of(*self.locate(index))


def name_of(dataset: Any, index: int) -> str:
    """What a data set calls a sample; its number if it has no names."""
    return dataset.name(index) if hasattr(dataset, "name") else str(index)


def place_of(dataset: Any, index: int) -> str:
    """Where a person finds a sample; what it is called, if its data set does not say where."""
    return dataset.place(index) if hasattr(dataset, "place") else name_of(dataset, index)
