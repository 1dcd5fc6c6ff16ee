"""Random flips."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from .form import Form, register_form


class _Flip(Form):
    draws = 1
    dimension: int

    def __init__(self, transform: Any) -> None:
        self.p = transform.p

    def on_stack(self, images: Tensor, numbers: np.ndarray) -> Tensor:
        chosen = numbers[:, 0] < self.p
        if images.device.type != "cpu":
            mask = torch.from_numpy(chosen).to(images.device)[:, None, None, None]
            return torch.where(mask, images.flip(self.dimension), images)
        # Images are picked and put back by numpy, and flipped by torch: each is several times as fast at that.
        by_pixel = images.permute(0, 2, 3, 1)
        channels_last = by_pixel.is_contiguous()
        rows = (by_pixel if channels_last else images).numpy()
        picked = torch.from_numpy(rows[chosen])
        if channels_last:
            # Flipped as (N, C, H, W) in channels_last order, for which torch has code of its own.
            rows[chosen] = picked.permute(0, 3, 1, 2).flip(self.dimension).permute(0, 2, 3, 1).numpy()
        else:
            rows[chosen] = picked.flip(self.dimension).numpy()
        return images


@register_form(v2.RandomHorizontalFlip)
class HorizontalFlip(_Flip):
    """Left and right change places."""

    dimension = 3


@register_form(v2.RandomVerticalFlip)
class VerticalFlip(_Flip):
    """Top and bottom change places."""

    dimension = 2
