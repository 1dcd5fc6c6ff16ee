"""Random erasing."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from .form import Form, register_form

ATTEMPTS = 10  # as torchvision's, before it leaves the image whole


@register_form(v2.RandomErasing)
class Erasing(Form):
    """A rectangle of an image is filled (Zhong et al.: Random Erasing Data Augmentation, 2017, section 3.2)."""

    draws = 2 * ATTEMPTS + 4

    def __init__(self, transform: Any) -> None:
        self.p = transform.p
        self.scale = transform.scale
        self.ratio = transform.ratio
        self.value = transform.value  # a number for every channel, or one for all; None for noise

    def on_stack(self, images: Tensor, numbers: np.ndarray) -> Tensor:
        channels, height, width = images.shape[1:]
        if self.value is not None and len(self.value) not in (1, channels):
            raise ValueError(f"RandomErasing has {len(self.value)} values; the images have {channels} channels")
        areas, shapes = numbers[:, :ATTEMPTS], numbers[:, ATTEMPTS : 2 * ATTEMPTS]
        area = height * width * (self.scale[0] + areas * (self.scale[1] - self.scale[0]))
        low, high = np.log(self.ratio)
        ratio = np.exp(low + shapes * (high - low))
        heights, widths = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
        fits = (heights < height) & (widths < width)
        first = fits.argmax(1)
        for row in np.flatnonzero(fits.any(1) & (numbers[:, -4] < self.p)):
            own_height, own_width = int(heights[row, first[row]]), int(widths[row, first[row]])
            top = int(numbers[row, -3] * (height - own_height + 1))
            left = int(numbers[row, -2] * (width - own_width + 1))
            hole = images[row, :, top : top + own_height, left : left + own_width]
            if self.value is None:
                generator = torch.Generator().manual_seed(int(numbers[row, -1] * 2**32))
                hole.copy_(torch.randn(hole.shape, generator=generator))
            else:
                hole.copy_(torch.tensor(self.value)[:, None, None].expand(hole.shape))
        return images
