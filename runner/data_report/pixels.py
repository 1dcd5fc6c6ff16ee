"""Mean and standard deviation of the training images, for the Normalize of a config."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

from ...datasets.loading.randomness import untouched_random_state
from ...datasets.transforms import build_transforms


@dataclass
class PixelStatistics:
    """What a Normalize takes.

    Args:
        mean: per channel.
        std: per channel; of the pixels themselves, so that dividing by it leaves a deviation of 1.
        images: how many were measured.
        left_out: transforms before Normalize that were not applied, for they draw at random.
        in_config: mean and std of the config's own Normalize.
    """

    mean: list[float]
    std: list[float]
    images: int
    left_out: list[str]
    in_config: tuple[list[float], list[float]] | None


Moments = tuple[tuple[float, ...], tuple[float, ...]]  # per channel of one image: mean of x, mean of x^2


def before_normalize(configs: Sequence[dict], example: Any = None) -> tuple[list[dict], list[str]]:
    """The transforms that come before Normalize and do the same to a picture every time; and the names of the others.

    Published figures are of images without augmentation: the black border of a padded crop is no part of the data.

    Args:
        example: a picture to try them on; by default a large one in colour.
    """
    picture = Image.new("RGB", (1013, 997)) if example is None else example
    fixed, random_ones = [], []
    for config in _until_normalize(configs):
        with untouched_random_state():
            before = _generators()
            try:
                [transform] = build_transforms([config])
                picture, failed = transform(picture), False
            except (ValueError, TypeError, RuntimeError):  # for want of one that is left out, perhaps
                failed = True
            draws = not failed and _generators() != before
        # By name too: a RandomCrop draws nothing for a picture that has just its size.
        if draws or str(config["type"]).rpartition("/")[2].startswith("Random"):
            random_ones.append(config["type"])
        else:
            fixed.append(config)
    return fixed, random_ones


def _generators() -> tuple:
    state = np.random.get_state()
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), bytes(state[1]), state[2]  # pyright: ignore


def _until_normalize(configs: Sequence[dict]) -> list[dict]:
    place = next((number for number, config in enumerate(configs) if config["type"] == "Normalize"), len(configs))
    return list(configs[:place])


def moments(picture: Any, transform: Callable[[Any], Any]) -> Moments:
    """Of one image, in double precision, scaled to 0..1 if the transforms leave bytes.

    Raises:
        ValueError, TypeError, RuntimeError: the transforms do not take it, or leave no image.
    """
    image = transform(picture)
    image = image.as_subclass(Tensor) if isinstance(image, Tensor) else functional.pil_to_tensor(image)
    if image.ndim != 3:
        raise ValueError(f"they leave a tensor {tuple(image.shape)}, not an image (C, H, W)")
    if not image.is_floating_point():
        image = functional.to_dtype_image(image, torch.float32, scale=True)
    channels = image.double().flatten(1)
    return tuple(channels.mean(1).tolist()), tuple(channels.square().mean(1).tolist())


def pixel_statistics(measured: Iterable[Moments], configs: Sequence[dict], left_out: list[str]) -> PixelStatistics:
    """Over all images. Each counts the same, whatever its size, as it does in training where crops are of one size;
    of images of one size that is the mean over all pixels.

    Raises:
        ValueError: there are no images, or they differ in their number of channels.
    """
    known = list(measured)
    channels = sorted({len(mean) for mean, _ in known})
    if len(channels) != 1:
        what = "no image could be read" if not channels else f"images have {' and '.join(map(str, channels))} channels"
        raise ValueError(what)
    means, squares = (np.array([each[part] for each in known]).mean(axis=0) for part in (0, 1))
    std = [math.sqrt(max(0.0, square - mean**2)) for mean, square in zip(means, squares, strict=True)]
    own = next((config for config in configs if config["type"] == "Normalize"), None)
    in_config = ([*own["mean"]], [*own["std"]]) if own and "mean" in own and "std" in own else None
    return PixelStatistics(means.tolist(), std, len(known), left_out, in_config)
