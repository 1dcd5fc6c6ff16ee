"""The end of most lists of transforms: bytes become floats, of mean 0 and deviation 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import normalize, to_dtype

from ..memory import Reused
from ..pictures import Picture, as_tensor, collect, each
from .form import Form, Unfit, register_form

CHUNK = 1 << 16  # numbers at a time: they stay in the processor's cache from one operation to the next
SMALL = 1 << 13  # numbers of an image
Line: TypeAlias = tuple[tuple[int, ...], np.ndarray, np.ndarray]


@register_form(v2.ToImage)
class ToImage(Form):
    """A batch is a tensor already."""

    def __init__(self, transform: Any) -> None:
        pass

    def on_stack(self, images: Tensor, numbers: np.ndarray) -> Tensor:
        return images

    def on_pictures(self, pictures: Sequence[Picture], numbers: np.ndarray) -> list[Tensor] | Tensor:
        images = collect(each(as_tensor, pictures), len(pictures))
        # Copies, as a stack is one: a transform may change an image in place, and the data set goes on with its own.
        return [image.clone() for image in images] if isinstance(images, list) else images


@register_form(v2.Normalize)
class Normalize(Form):
    """Less the mean, divided by the deviation, of each channel."""

    def __init__(self, transform: Any) -> None:
        self.mean = list(transform.mean)
        self.std = list(transform.std)

    def on_stack(self, images: Tensor, numbers: np.ndarray) -> Tensor:
        return normalize(images, self.mean, self.std)


@register_form(v2.ToDtype)
class ToDtype(Form):
    """Another type of numbers; with `scale`, bytes from 0 to 255 become floats from 0 to 1.

    From bytes to float32 on a CPU, and Normalize with it where that follows, it goes through the memory once, in a
    fourth of the time of one operation after another, and rounds less often.
    """

    def __init__(self, transform: Any) -> None:
        if not isinstance(transform.dtype, torch.dtype):
            raise Unfit
        self.dtype = transform.dtype
        self.scale = transform.scale
        self.makes_floats = transform.dtype.is_floating_point
        self.normalization: Normalize | None = None
        self._memory = Reused()
        self._lines: dict[tuple[Any, ...], Line] = {}

    def absorb(self, following: Form) -> bool:
        if self.makes_floats and self.normalization is None and isinstance(following, Normalize):
            self.normalization = following
            return True
        return False

    def on_stack(self, images: Tensor, numbers: np.ndarray) -> Tensor:
        if self.on_cpu(images) and images.dtype == torch.uint8 and self.dtype == torch.float32 and self.scale:
            return self._from_bytes(images)
        images = to_dtype(images, self.dtype, scale=self.scale)
        return self.normalization.on_stack(images, numbers) if self.normalization else images

    def _from_bytes(self, images: Tensor) -> Tensor:
        channels_last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
        pixels = (images.permute(0, 2, 3, 1) if channels_last else images.contiguous()).numpy()
        kind = (*pixels.shape[1:], channels_last)
        if kind not in self._lines:
            self._lines[kind] = self._line(pixels.shape[1:], channels_last)
        row, factor, offset = self._lines[kind]
        floats = self._memory.empty(pixels.shape, np.float32)
        rows, results = pixels.reshape(-1, *row), floats.reshape(-1, *row)
        step = max(1, CHUNK // math.prod(row))
        for start in range(0, len(rows), step):
            part = results[start : start + step]
            np.copyto(part, rows[start : start + step])
            part *= factor
            if self.normalization:
                part += offset
        done = torch.from_numpy(floats)
        return done.permute(0, 3, 1, 2) if channels_last else done

    def _line(self, shape: tuple[int, ...], channels_last: bool) -> Line:
        """The shape of a row of numbers, what to multiply it with, and what to add: 1 / (255 std) and -mean / std.

        A row is all of a small image or one row of pixels of a larger one: numpy is slow at repeating three numbers.
        """
        mean, std = (self.normalization.mean, self.normalization.std) if self.normalization else ([0.0], [1.0])
        channels = shape[2] if channels_last else shape[0]
        if len(mean) not in (1, channels) or len(std) not in (1, channels):
            raise ValueError(f"Normalize has {len(mean)} and {len(std)} values; the images have {channels} channels")
        if not all(std):
            raise ValueError(f"Normalize has the deviations {std}: none may be 0, for it is divided by them")
        row = shape[1:] if channels_last and math.prod(shape) > SMALL else shape
        both = []
        for values in (1 / (255 * np.array(std)), -np.array(mean) / np.array(std)):
            if len(values) > 1:
                values = np.broadcast_to(values if channels_last else values[:, None, None], row)
            both.append(np.ascontiguousarray(values, np.float32))
        return row, both[0], both[1]
