"""The images of a batch on their way to be a tensor: still encoded, as Pillow's, or as tensors of many sizes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

from ...registry import UserError
from .decoding import decode, open_image, orientation, reading
from .memory import Reused

try:
    import simplejpeg
except ImportError:  # the extra `fast`
    simplejpeg = None

if TYPE_CHECKING:
    from ..base import EncodedImages


class LazyPicture(ABC):
    """An image of a data set that is read when somebody asks for it: RGB or grey, and upright."""

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """(H, W)."""

    @property
    @abstractmethod
    def tensor(self) -> Tensor:
        """The whole image: uint8 (C, H, W)."""

    @property
    def pil(self) -> Image.Image:
        """The whole image."""
        return to_pil_image(self.tensor)

    def reduced(self, factor: int) -> tuple[Tensor, int]:
        """The image at a half, a quarter or an eighth of its size, if it can be read so for less, and that factor; else
        as it is, and 1."""
        return self.tensor, 1


class Encoded(LazyPicture):
    """An image that is decoded when somebody asks for it."""

    def __init__(self, dataset: EncodedImages, index: int) -> None:
        self._dataset = dataset
        self._index = index

    @property
    def size(self) -> tuple[int, int]:
        """(H, W). Of a plain JPEG this costs its header alone."""
        width, height = (self._jpeg or self.pil).size
        return height, width

    @cached_property
    def pil(self) -> Image.Image:  # pyright: ignore[reportIncompatibleVariableOverride]
        return decode(self._data, self._place)

    @property
    def tensor(self) -> Tensor:
        if self._jpeg is None:
            return pil_to_tensor(self.pil)
        if (pixels := _decode_jpeg(self._data)) is not None:
            return torch.from_numpy(pixels).permute(2, 0, 1)
        with reading(self._data, self._place):
            return pil_to_tensor(self._jpeg)

    def reduced(self, factor: int) -> tuple[Tensor, int]:
        """As told above: a JPEG goes back from its frequencies to fewer pixels, antialiased, several times as fast."""
        if factor == 1 or self._jpeg is None:
            return self.tensor, 1
        small = open_image(self._data, self._place)
        with reading(self._data, self._place):
            small.draft("RGB", (small.width // factor, small.height // factor))
            return pil_to_tensor(small), factor

    @cached_property
    def _data(self) -> bytes:
        return self._dataset.encoded(self._index)

    @property
    def _place(self) -> str:
        return self._dataset.place(self._index)

    @cached_property
    def _jpeg(self) -> Image.Image | None:
        """A JPEG that is RGB and upright once decoded, of which the header is read; None of any other image."""
        image = open_image(self._data, self._place)
        plain = image.format in ("JPEG", "MPO") and image.mode == "RGB"
        return image if plain and orientation(image) == 1 else None


def _decode_jpeg(data: bytes) -> np.ndarray | None:
    """A JPEG (H, W, 3) by simplejpeg, if that is installed; None if it is not, or finds something wrong.

    The same pixels as Pillow's, for both call libjpeg-turbo; with less around it. What is wrong Pillow says clearer.
    """
    if simplejpeg is None:
        return None
    try:
        return simplejpeg.decode_jpeg(data, "RGB")
    except ValueError:
        return None


Picture: TypeAlias = LazyPicture | Image.Image | Tensor


class SampleError(UserError):
    """What is wrong with one image of a batch.

    Attributes:
        position: of the image within the batch.
        unreadable: whether the image is at fault, and not what is done with it.
        keys: those of the batch, once they are known.
    """

    keys: Any

    def __init__(self, position: int, error: Exception) -> None:
        plain = isinstance(error, (UserError, ValueError, TypeError, RuntimeError))
        super().__init__(str(error) if plain else f"{type(error).__name__}: {error}")
        self.position = position
        self.unreadable = isinstance(error, UserError)


def each(function: Callable[..., Any], *sequences: Iterable[Any]) -> Iterator[Any]:
    """What a function makes of every image of a batch, one after another.

    Raises:
        SampleError: it fails on one; tells which.
    """
    for position, arguments in enumerate(zip(*sequences, strict=True)):
        try:
            yield function(*arguments)
        except Exception as error:  # data sets and transforms can be anyone's
            raise SampleError(position, error) from error


def size_of(picture: Picture) -> tuple[int, int]:
    """(H, W)."""
    if isinstance(picture, LazyPicture):
        return picture.size
    return (
        (picture.height, picture.width) if isinstance(picture, Image.Image) else (picture.shape[-2], picture.shape[-1])
    )


def as_tensor(picture: Picture) -> Tensor:
    """(C, H, W), uint8 of whatever is encoded or Pillow's."""
    if isinstance(picture, LazyPicture):
        return picture.tensor
    if isinstance(picture, Image.Image):
        return pil_to_tensor(picture)
    return picture.as_subclass(Tensor)


def as_pil(picture: Picture) -> Image.Image:
    """RGB, or grey of one channel."""
    if isinstance(picture, LazyPicture):
        return picture.pil
    return picture if isinstance(picture, Image.Image) else to_pil_image(picture)


def stacked(pictures: list[Any]) -> Tensor | list[Any]:
    """One tensor (N, C, H, W), of images in memory that are all of one size and kind; else the list as it is."""
    first = pictures[0]
    if isinstance(first, Image.Image):
        if first.mode in ("RGB", "L") and all(_kind(picture) == _kind(first) for picture in pictures):
            return collect(map(pil_to_tensor, pictures), len(pictures))
        return pictures
    if all(isinstance(picture, Tensor) and _kind(picture) == _kind(first) for picture in pictures):
        return collect((picture.as_subclass(Tensor) for picture in pictures), len(pictures))
    return pictures


def _kind(picture: Any) -> tuple[Any, ...]:
    if isinstance(picture, Image.Image):
        return picture.mode, picture.size
    return (picture.shape, picture.dtype) if isinstance(picture, Tensor) else (picture,)


_stacks = Reused()


def collect(images: Iterator[Tensor], count: int) -> Tensor | list[Tensor]:
    """One tensor of `count` images as they come, in channels_last order; a list if their shapes or kinds differ."""
    first = next(images)
    if first.dtype != torch.uint8 or first.ndim != 3:
        everything = [first, *images]
        alike = all(_kind(image) == _kind(first) for image in everything)
        return torch.stack(everything) if alike else everything
    channels, height, width = first.shape
    stack = torch.from_numpy(_stacks.empty((count, height, width, channels), np.uint8)).permute(0, 3, 1, 2)
    stack[0] = first
    for position, image in enumerate(images, start=1):
        if _kind(image) != _kind(first):
            return [*stack[:position], image, *images]
        stack[position] = image
    return stack
