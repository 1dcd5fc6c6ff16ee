"""Crops and images brought to a size: always antialiased, and decoded no larger than they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import center_crop

from ..pictures import LazyPicture, Picture, as_tensor, collect, each, size_of
from .crops import CenterCrop
from .form import Form, Unfit, register_form

Box = tuple[int, int, int, int]  # top, left, height, width
ATTEMPTS = 10  # as torchvision's, before it takes the middle
LONG = 16  # times the crop: longer images lose their ends before they are resized
LARGEST = 100_000_000  # pixels of a resized image


def _mode(transform: Any) -> str:
    interpolation = transform.interpolation  # an InterpolationMode, or its name
    name = getattr(interpolation, "value", interpolation)
    if not transform.antialias or name not in ("bilinear", "bicubic"):
        raise Unfit
    return name


def resize(image: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """An image (C, H, W) in another size."""
    if tuple(image.shape[1:]) == size:
        return image
    # In this order torch resizes three channels at once, in half the time. That a crop has it already it does not see.
    pixels = image[None].contiguous(memory_format=torch.channels_last)
    return interpolate(pixels, size, mode=mode, antialias=True)[0]


@register_form(v2.RandomResizedCrop)
class ResizedCrop(Form):
    """A crop of random area, shape and place, brought to one size (Szegedy et al.: Going Deeper with Convolutions,
    2015, section 6)."""

    draws = 2 * ATTEMPTS + 2
    anywhere = False  # torch resizes bytes with antialiasing on the CPU alone
    changes_size = True

    def __init__(self, transform: Any) -> None:
        self.mode = _mode(transform)
        self.size = tuple(transform.size)
        self.scale = transform.scale
        self.ratio = transform.ratio

    def boxes(self, sizes: np.ndarray, numbers: np.ndarray) -> list[Box]:
        """The crop of each image.

        Args:
            sizes: (N, 2), heights and widths.
        """
        height, width = sizes[:, :1], sizes[:, 1:]
        areas, shapes = numbers[:, :ATTEMPTS], numbers[:, ATTEMPTS:-2]
        area = height * width * (self.scale[0] + areas * (self.scale[1] - self.scale[0]))
        low, high = np.log(self.ratio)
        ratio = np.exp(low + shapes * (high - low))
        heights, widths = np.rint(np.sqrt(area / ratio)), np.rint(np.sqrt(area * ratio))
        fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
        first = fits.argmax(1)
        rows = np.arange(len(sizes))
        chosen = np.stack([heights[rows, first], widths[rows, first]], 1)
        places = np.floor(numbers[:, -2:] * (sizes - chosen + 1))
        found = np.concatenate([places, chosen], 1).astype(np.int64).tolist()
        return [
            tuple(box) if fit else self._middle(*size)
            for box, fit, size in zip(found, fits.any(1), sizes.tolist(), strict=True)
        ]

    def _middle(self, height: int, width: int) -> Box:
        """Of an image that is so long that no attempt fitted: the largest crop of an allowed shape."""
        own_height, own_width = height, width
        if width / height < min(self.ratio):
            own_height = min(height, round(width / min(self.ratio)))
        elif width / height > max(self.ratio):
            own_width = min(width, round(height * max(self.ratio)))
        return (height - own_height) // 2, (width - own_width) // 2, own_height, own_width

    def on_stack(self, images: Tensor, numbers: np.ndarray) -> Tensor:
        boxes = self.boxes(np.array([images.shape[2:]] * len(images)), numbers)
        return torch.stack([self._crop(*each) for each in zip(images, boxes, strict=True)])

    def on_pictures(self, pictures: Sequence[Picture], numbers: np.ndarray) -> list[Tensor] | Tensor:
        boxes = self.boxes(np.array(list(each(size_of, pictures))), numbers)
        return collect(each(self._crop, pictures, boxes), len(pictures))

    def _crop(self, picture: Picture, box: Box) -> Tensor:
        top, left, height, width = box
        if isinstance(picture, LazyPicture):
            whole, factor = picture.reduced(self._reduction(box))
            if factor > 1:  # to the nearest pixel that there is
                bottom, right = round((top + height) / factor), round((left + width) / factor)
                top, left = round(top / factor), round(left / factor)
                height, width = bottom - top, right - left
        else:
            whole = as_tensor(picture)
        return resize(whole[:, top : top + height, left : left + width], self.size, self.mode)

    def _reduction(self, box: Box) -> int:
        """The largest reduction in decoding that leaves the crop no smaller than it must become."""
        room = min(have // need for have, need in zip(box[2:], self.size, strict=True))
        return next(factor for factor in (8, 4, 2, 1) if factor <= max(room, 1))


@register_form(v2.Resize)
class Resize(Form):
    """All of every image in another size, or, where CenterCrop follows, only the middle of it."""

    anywhere = False
    changes_size = True

    def __init__(self, transform: Any) -> None:
        if transform.size is None or transform.max_size is not None:
            raise Unfit
        self.mode = _mode(transform)
        self.size = list(transform.size)
        self.middle: tuple[int, int] | None = None

    def absorb(self, following: Form) -> bool:
        if self.middle is None and isinstance(following, CenterCrop):
            self.middle = following.size
            return True
        return False

    def on_stack(self, images: Tensor, numbers: np.ndarray) -> Tensor:
        return torch.stack([self._resize(image) for image in images])

    def on_pictures(self, pictures: Sequence[Picture], numbers: np.ndarray) -> list[Tensor] | Tensor:
        return collect(each(lambda picture: self._resize(as_tensor(picture)), pictures), len(pictures))

    def _resize(self, image: Tensor) -> Tensor:
        if self.middle is None:
            return resize(image, self._target(image), self.mode)
        if len(self.size) == 1:
            short, long = sorted(image.shape[1:])
            along = 1 if image.shape[1] == long else 2
            if self.size[0] * long > LONG * short * self.middle[along - 1]:
                return self._middle_of_long(image, along)
        return center_crop(resize(image, self._target(image), self.mode), list(self.middle))

    def _middle_of_long(self, image: Tensor, along: int) -> Tensor:
        """The middle of a very long image: all of it, resized, could fill the memory.

        What is beyond the middle is missed by the filter at its ends, and its length is rounded to whole pixels.
        """
        assert self.middle is not None
        needed = self.middle[along - 1]
        kept = max(1, round(needed * image.shape[3 - along] / self.size[0]))
        part = image.narrow(along, (image.shape[along] - kept) // 2, kept)
        size = (needed, self.size[0]) if along == 1 else (self.size[0], needed)
        return center_crop(resize(part, size, self.mode), list(self.middle))

    def _target(self, image: Tensor) -> tuple[int, int]:
        height, width = image.shape[1:]
        if len(self.size) == 2:
            return self.size[0], self.size[1]
        short, long = sorted((height, width))
        other = int(self.size[0] * long / short)  # cut off, not rounded, as torchvision does
        if self.size[0] * other > LARGEST:
            raise ValueError(f"{height} x {width} pixels would become {self.size[0] * other / 1e6:.0f} megapixels")
        return (self.size[0], other) if height <= width else (other, self.size[0])
