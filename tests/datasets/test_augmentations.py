"""Augmentations by name, on Pillow's images and on uint8 tensors: as torchvision's own; 3-Augment against Pillow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter, ImageOps
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

from knoll.datasets.flowers.drawn_flowers import DrawnFlowers
from knoll.datasets.loading.randomness import seed_sample
from knoll.datasets.transforms import build_transforms
from knoll.registry import TRANSFORMS, check, config_from_dict

FLIP = dict(type="RandomHorizontalFlip", p=1.0)
JITTER = dict(type="ColorJitter", brightness=0.4, hue=0.1)
BLUR = dict(type="GaussianBlur", kernel_size=5, sigma=[0.1, 2.0])
AS_TENSOR = [dict(type="ToImage"), dict(type="ToDtype", dtype="float32", scale=True)]


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return DrawnFlowers(split="val", size=48)[0][0]


def arrays(image: Any) -> np.ndarray:
    """(H, W, C) of what a transform leaves."""
    return np.asarray(image.permute(1, 2, 0) if isinstance(image, Tensor) else image)


CASES: dict[str, tuple[dict, Callable[[], Any]]] = {
    "RandAugment": (dict(type="RandAugment", magnitude=12), lambda: v2.RandAugment(magnitude=12)),
    "AutoAugment": (
        dict(type="AutoAugment", policy="cifar10"),
        lambda: v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
    ),
    "TrivialAugmentWide": (dict(type="TrivialAugmentWide"), v2.TrivialAugmentWide),
    "AugMix": (dict(type="AugMix", severity=5), lambda: v2.AugMix(severity=5)),
    "Compose": (
        dict(type="Compose", transforms=[FLIP, JITTER]),
        lambda: v2.Compose([v2.RandomHorizontalFlip(1.0), v2.ColorJitter(brightness=0.4, hue=0.1)]),
    ),
    "RandomChoice": (
        dict(type="RandomChoice", transforms=[FLIP, BLUR], p=[0.3, 0.7]),
        lambda: v2.RandomChoice([v2.RandomHorizontalFlip(1.0), v2.GaussianBlur(5, (0.1, 2.0))], p=[0.3, 0.7]),
    ),
    "RandomOrder": (
        dict(type="RandomOrder", transforms=[JITTER, BLUR]),
        lambda: v2.RandomOrder([v2.ColorJitter(brightness=0.4, hue=0.1), v2.GaussianBlur(5, (0.1, 2.0))]),
    ),
    "RandomApply of a RandomChoice of a Compose": (
        dict(
            type="RandomApply",
            p=0.8,
            transforms=[
                dict(type="RandomChoice", transforms=[dict(type="Compose", transforms=[FLIP, BLUR]), JITTER]),
            ],
        ),
        lambda: v2.RandomApply(
            [
                v2.RandomChoice(
                    [
                        v2.Compose([v2.RandomHorizontalFlip(1.0), v2.GaussianBlur(5, (0.1, 2.0))]),
                        v2.ColorJitter(brightness=0.4, hue=0.1),
                    ]
                )
            ],
            p=0.8,
        ),
    ),
}


@pytest.mark.parametrize("kind", ["Pillow", "uint8"])
@pytest.mark.parametrize("name", CASES)
def test_by_name_as_torchvisions_own(picture, name, kind):
    config, theirs = CASES[name]
    ours, other = v2.Compose(build_transforms([config])), theirs()
    image = picture if kind == "Pillow" else pil_to_tensor(picture)
    changed = 0
    for seed in range(12):
        seed_sample(seed)
        result = ours(image)
        seed_sample(seed)
        assert np.array_equal(arrays(result), arrays(other(image)))
        assert type(result) is type(image)
        assert arrays(result).shape == (48, 48, 3)
        assert arrays(result).dtype == np.uint8
        changed += not np.array_equal(arrays(result), np.asarray(picture))
    assert changed > 4


def test_random_erasing_stands_after_the_tensor_is_made(picture):
    """A rectangle of 0.02 to 0.33 of the area becomes 0: torchvision's defaults, those of Zhong et al. 2020."""
    erase = v2.Compose(build_transforms([*AS_TENSOR, dict(type="RandomErasing", p=1.0)]))
    image = v2.Compose(build_transforms(AS_TENSOR))(picture)
    for seed in range(20):
        seed_sample(seed)
        gone = (erase(picture) == 0).all(0) & (image != 0).any(0)
        rows, columns = gone.any(1).nonzero()[:, 0], gone.any(0).nonzero()[:, 0]
        area = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        assert 0.01 < area / 48**2 < 0.36
        assert gone.sum() >= 0.9 * area  # some pixels may have been black


def test_a_nested_mistake_is_found_by_the_check():
    nested = dict(type="RandomApply", transforms=[dict(type="RandomChoice", transforms=[dict(type="ColorJiter")])])
    config = dict(train=dict(dataset=dict(type="MNIST"), transforms=[nested]))
    said = [str(problem) for problem in check(config_from_dict(config))]
    assert any("transforms.0.transforms.0.transforms.0.type" in each and "`ColorJitter`" in each for each in said)


@pytest.mark.parametrize("kind", ["Pillow", "uint8"])
def test_three_augment_is_one_of_three(picture, kind):
    """Grey, solarised as Pillow does it above 128, or blurred as Pillow does it; each a third of 300, within four
    standard errors."""
    transform = TRANSFORMS.build(dict(type="ThreeAugment", color_jitter=0))
    image = picture if kind == "Pillow" else pil_to_tensor(picture)
    grey = np.asarray(picture.convert("L"), dtype=int)
    solarised = np.asarray(ImageOps.solarize(picture))
    blurred = [
        np.asarray(picture.filter(ImageFilter.GaussianBlur(radius / 10)), dtype=float) for radius in range(1, 21)
    ]
    counts, radii = Counter(), []
    for seed in range(300):
        seed_sample(seed)
        result = arrays(transform(image))
        if np.array_equal(result, solarised):
            counts["solarised"] += 1
        elif (result == result[:, :, :1]).all():
            counts["grey"] += 1
            assert np.abs(result[:, :, 0].astype(int) - grey).max() <= 1
        else:
            counts["blurred"] += 1
            distances = [np.abs(result - each).mean() for each in blurred]
            assert min(distances) < 1.5
            radii.append((1 + int(np.argmin(distances))) / 10)
    assert sum(counts.values()) == 300
    assert 0.8 < np.mean(radii) < 1.3  # uniform from 0.1 to 2
    for what in ("grey", "solarised", "blurred"):
        assert abs(counts[what] - 100) < 4 * (300 * 2 / 9) ** 0.5, counts


def test_three_augment_jitters_last(picture):
    """The same choice, then torchvision's ColorJitter of brightness, contrast and saturation."""
    seed_sample(4)
    ours = TRANSFORMS.build(dict(type="ThreeAugment", color_jitter=0.3))(picture)
    seed_sample(4)
    one = TRANSFORMS.build(dict(type="ThreeAugment", color_jitter=0))(picture)
    assert np.array_equal(arrays(ours), arrays(v2.ColorJitter(0.3, 0.3, 0.3)(one)))
    assert not np.array_equal(arrays(ours), arrays(one))


@pytest.mark.parametrize("name", ["ThreeAugment", "RandAugment", "TrivialAugmentWide", "AugMix", "AutoAugment"])
def test_on_grey_images_too(picture, name):
    transform = v2.Compose(build_transforms([dict(type=name)]))
    for seed in range(20):
        seed_sample(seed)
        assert transform(picture.convert("L")).mode == "L"
        assert transform(pil_to_tensor(picture.convert("L"))).shape == (1, 48, 48)


def test_what_is_drawn_follows_from_the_seed(picture):
    configs = [dict(type="RandomResizedCrop", size=32), dict(type="ThreeAugment"), *AS_TENSOR]
    transform = v2.Compose(build_transforms(configs))
    images = []
    for seed in (1, 2, 1):
        seed_sample(seed)
        images.append(transform(picture))
    assert torch.equal(images[0], images[2])
    assert not torch.equal(images[0], images[1])
    assert to_pil_image(images[0]).size == (32, 32)
