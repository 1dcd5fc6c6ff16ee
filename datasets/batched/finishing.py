"""The end of most lists of transforms: bytes become floats, of mean 0 and deviation 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import normalize, to_dtype

from ..pictures import Picture, as_tensor, collect, each
from .form import Form, Unfit, register_form

CHUNK = 1 << 17  # numbers at a time: they stay in the processor's cache from one operation to the next


@register_form(v2.ToImage)
class ToImage(Form):
    """A batch is a tensor already."""

    def __init__(self, transform: Any) -> None:
        pass

    def on_stack(self, images: Tensor, numbers: np.ndarray) -> Tensor:
        return images

    def on_pictures(self, pictures: Sequence[Picture], numbers: np.ndarray) -> list[Tensor] | Tensor:
        return collect(each(as_tensor, pictures), len(pictures))


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

    From bytes to float32 on a CPU, and Normalize with it where that follows, it goes through the memory once: the same
    numbers to the bit, in a fourth of the time of one operation after another.
    """

    def __init__(self, transform: Any) -> None:
        if not isinstance(transform.dtype, torch.dtype):
            raise Unfit
        self.dtype = transform.dtype
        self.scale = transform.scale
        self.makes_floats = transform.dtype.is_floating_point
        self.normalization: Normalize | None = None

    def absorb(self, following: Form) -> bool:
        if self.makes_floats and self.normalization is None and isinstance(following, Normalize):
            self.normalization = following
            return True
        return False

    def on_stack(self, images: Tensor, numbers: np.ndarray) -> Tensor:
        if images.device.type == "cpu" and images.dtype == torch.uint8 and self.dtype == torch.float32 and self.scale:
            return self._from_bytes(images)
        images = to_dtype(images, self.dtype, scale=self.scale)
        return self.normalization.on_stack(images, numbers) if self.normalization else images

    def _from_bytes(self, images: Tensor) -> Tensor:
        channels_last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
        source = images.permute(0, 2, 3, 1) if channels_last else images.contiguous()
        pixels = source.numpy()
        floats = np.empty(pixels.shape, np.float32)
        table = self._constants(pixels.shape[1:], channels_last)
        step = max(1, CHUNK // max(1, pixels[0].size))
        for start in range(0, len(pixels), step):
            part = floats[start : start + step]
            np.copyto(part, pixels[start : start + step])
            part /= np.float32(255)
            if table is not None:
                part -= table[0]
                part /= table[1]
        done = torch.from_numpy(floats)
        return done.permute(0, 3, 1, 2) if channels_last else done

    def _constants(self, shape: tuple[int, ...], channels_last: bool) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and deviation of every number of an image: numpy is slow at repeating three numbers along a row."""
        if self.normalization is None:
            return None
        channels = shape[2] if channels_last else shape[0]
        constants = []
        for values in (self.normalization.mean, self.normalization.std):
            if len(values) not in (1, channels):
                raise ValueError(f"Normalize has {len(values)} values; the images have {channels} channels")
            own = np.array(values, np.float32)
            constants.append(np.ascontiguousarray(np.broadcast_to(own if channels_last else own[:, None, None], shape)))
        return constants[0], constants[1]
