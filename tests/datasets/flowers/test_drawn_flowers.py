"""The drawn flowers: the same everywhere, different from each other, and too hard for a linear model."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from knoll.datasets.flowers.drawn_flowers import DrawnFlowers

DIGEST = """
import hashlib
from knoll.datasets.flowers.drawn_flowers import DrawnFlowers
print(hashlib.sha256(b"".join(image.tobytes() for image, _ in DrawnFlowers("val", images=10, seed=3))).hexdigest())
"""


def pictures(data: DrawnFlowers) -> list[bytes]:
    return [data[index][0].tobytes() for index in range(len(data))]


def test_a_sample_is_a_picture_and_its_label():
    data = DrawnFlowers("val", size=40, images=12)
    image, label = data[9]
    assert (image.mode, image.size, label) == ("RGB", (40, 40), 4)
    assert data.name(9) == "val/tulips/00009"
    assert data.classes == ["daisy", "dandelion", "roses", "sunflowers", "tulips"]
    assert len(data) == len(data.labels) == 12


def test_the_same_seed_draws_the_same_pictures():
    assert pictures(DrawnFlowers(images=10, seed=3)) == pictures(DrawnFlowers(images=10, seed=3))


def test_another_process_draws_the_same_pictures():
    here = hashlib.sha256(b"".join(pictures(DrawnFlowers("val", images=10, seed=3)))).hexdigest()
    there = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True, timeout=120)
    assert there.stdout.strip() == here


def test_a_picture_does_not_depend_on_how_many_there_are():
    assert pictures(DrawnFlowers(images=15))[:5] == pictures(DrawnFlowers(images=5))


def test_another_seed_or_split_draws_other_pictures():
    sets = [DrawnFlowers(split, images=50, seed=seed) for split in ("train", "val") for seed in (0, 1)]
    everything = [picture for data in sets for picture in pictures(data)]
    assert len(set(everything)) == 200


@pytest.mark.parametrize("images", [5, 100])
def test_classes_are_balanced(images: int):
    assert np.bincount(DrawnFlowers(size=16, images=images).labels).tolist() == [images // 5] * 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(split="test"), r"split='test'.*'train' or 'val'"),
        (dict(images=4), r"images=4 .*5 or more"),
        (dict(size=15), r"size=15 .*16 pixels or more"),
        (dict(seed=-1), r"seed=-1 .*0 or more"),
    ],
)
def test_wrong_arguments_are_named_with_the_remedy(arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        DrawnFlowers(**arguments)


def standardised_pixels(data: DrawnFlowers) -> torch.Tensor:
    """(N, 3 * size * size), each column brought to mean 0 and deviation 1."""
    pixels = torch.tensor(np.stack([np.asarray(image) for image, _ in data])).flatten(1).float()
    return (pixels - pixels.mean(0)) / pixels.std(0)


def logistic_regression(pixels: torch.Tensor, labels: torch.Tensor, penalty: float) -> torch.Tensor:
    """The weights (5, D) that minimise cross entropy + penalty / 2 * |weights| squared."""
    weight = torch.zeros(5, pixels.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=25, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(pixels @ weight.T, labels) + penalty / 2 * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weight.detach()


@pytest.mark.parametrize("penalty", [0.1, 10.0])
def test_a_linear_model_fails(penalty: float):
    """Neither a place in the frame nor a colour there gives the species away; chance is 20 %."""
    train, val = DrawnFlowers("train", size=32, images=600), DrawnFlowers("val", size=32, images=300)
    weight = logistic_regression(standardised_pixels(train), torch.tensor(train.labels), penalty)
    predicted = (standardised_pixels(val) @ weight.T).argmax(1)
    assert (predicted == torch.tensor(val.labels)).float().mean().item() < 0.6
