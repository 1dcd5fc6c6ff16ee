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
        chosen = torch.from_numpy(np.flatnonzero(numbers[:, 0] < self.p)).to(images.device)
        if len(chosen) == 0:
            return images
        # In place, for the stack is the pipeline's own.
        return images.index_copy_(0, chosen, images[chosen].flip(self.dimension))


@register_form(v2.RandomHorizontalFlip)
class HorizontalFlip(_Flip):
    """Left and right change places."""

    dimension = 3


@register_form(v2.RandomVerticalFlip)
class VerticalFlip(_Flip):
    """Top and bottom change places."""

    dimension = 2
