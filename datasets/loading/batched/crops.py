"""Crops that keep the size of pixels: at random places, and in the middle."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor
from torch.nn.functional import pad
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import center_crop

from .form import Form, Unfit, register_form


@register_form(v2.RandomCrop)
class Crop(Form):
    """A crop at a random place, of an image with a border."""

    draws = 2
    changes_size = True

    def __init__(self, transform: Any) -> None:
        of_one_number = transform.padding_mode != "constant" or isinstance(transform.fill, (int, float))
        if transform.pad_if_needed or not of_one_number:
            raise Unfit
        self.size = tuple(transform.size)
        self.border = transform.padding or [0, 0, 0, 0]  # left, right, top, bottom
        self.fill = transform.fill
        self.mode: Any = transform.padding_mode

    def on_stack(self, images: Tensor, numbers: np.ndarray) -> Tensor:
        images = self._bordered(images) if any(self.border) else images
        room = np.array(images.shape[2:]) - self.size
        if (room < 0).any():
            found = tuple(images.shape[2:])
            raise ValueError(f"a crop of {self.size} is larger than an image of {found}, its border included")
        top, left = (numbers * (room + 1)).astype(np.int64).T
        if not self.on_cpu(images):
            windows = images.unfold(2, self.size[0], 1).unfold(3, self.size[1], 1)
            places = (torch.from_numpy(each).to(images.device) for each in (np.arange(len(top)), top, left))
            number, top, left = places
            return windows[number, :, top, left]
        # numpy copies a window as rows of bytes, torch pixel by pixel.
        windows = sliding_window_view(images.permute(0, 2, 3, 1).numpy(), self.size, axis=(1, 2))
        return torch.from_numpy(windows[np.arange(len(top)), top, left])

    def _bordered(self, images: Tensor) -> Tensor:
        if self.mode == "constant":
            return pad(images, self.border, value=self.fill)
        # torch mirrors no bytes: numpy says which row and which column of the image stands where.
        left, right, top, bottom = self.border
        sides = (images.shape[2], (top, bottom)), (images.shape[3], (left, right))
        rows, columns = (torch.from_numpy(np.pad(np.arange(size), side, mode=self.mode)) for size, side in sides)
        return images[:, :, rows.to(images.device)][:, :, :, columns.to(images.device)]


@register_form(v2.CenterCrop)
class CenterCrop(Form):
    """The middle of every image, with a black border where it is too small."""

    changes_size = True

    def __init__(self, transform: Any) -> None:
        self.size: tuple[int, int] = tuple(transform.size)

    def on_stack(self, images: Tensor, numbers: np.ndarray) -> Tensor:
        return center_crop(images, list(self.size))
