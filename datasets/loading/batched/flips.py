"""Random flips."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from .form import Form, register_form

LARGE = 1 << 14  # numbers of an image: flipping it takes longer than calling torch


class _Flip(Form):
    draws = 1
    dimension: int

    def __init__(self, transform: Any) -> None:
        self.p = transform.p

    def on_stack(self, images: Tensor, numbers: np.ndarray) -> Tensor:
        chosen = numbers[:, 0] < self.p
        if not self.on_cpu(images):
            mask = torch.from_numpy(chosen).to(images.device)[:, None, None, None]
            return torch.where(mask, images.flip(self.dimension), images)
        if images[0].numel() > LARGE:
            for number in np.flatnonzero(chosen).tolist():
                images[number] = images[number].flip(self.dimension - 1)
        else:
            _flip_small(images, chosen, self.dimension)
        return images


def _flip_small(images: Tensor, chosen: np.ndarray, dimension: int) -> None:
    """Images are picked and put back by numpy, and flipped by torch: each is several times as fast at that."""
    by_pixel = images.permute(0, 2, 3, 1)
    if by_pixel.is_contiguous():
        rows = by_pixel.numpy()
        picked = torch.from_numpy(rows[chosen]).permute(0, 3, 1, 2)
        rows[chosen] = picked.flip(dimension).permute(0, 2, 3, 1).numpy()
    else:
        rows = images.numpy()
        rows[chosen] = torch.from_numpy(rows[chosen]).flip(dimension).numpy()


@register_form(v2.RandomHorizontalFlip)
class HorizontalFlip(_Flip):
    """Left and right change places."""

    dimension = 3


@register_form(v2.RandomVerticalFlip)
class VerticalFlip(_Flip):
    """Top and bottom change places."""

    dimension = 2
