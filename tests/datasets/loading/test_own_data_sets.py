"""Data sets of one's own: what they may give, what goes through transforms, and what is said when they fail."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset
from torchvision.transforms import v2

from knoll.datasets.base import ArrayImages, LabelledImages
from knoll.datasets.combining.combine import ConcatDataset
from knoll.datasets.loading.loader import TrainLoader
from knoll.datasets.loading.pipeline import Keys, Pipeline
from knoll.datasets.samplers import Sequential
from knoll.registry import DATASETS, UserError

AS_FLOATS = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]


class Own(Dataset):
    def __init__(self, *samples) -> None:
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        if isinstance(self.samples[index], Exception):
            raise self.samples[index]
        return self.samples[index]


class Tensors(LabelledImages):
    """Floats that are no shares of white."""

    classes: ClassVar = [str(number) for number in range(8)]

    def __init__(self, first: int = 0, unreadable: int | None = None) -> None:
        self.labels = list(range(first, first + 4))
        self.unreadable = unreadable

    def __getitem__(self, index):
        if index == self.unreadable:
            raise UserError(f"image {self.labels[index]} is damaged")
        return torch.full((3, 8, 8), self.labels[index] - 3.5), self.labels[index]


class ByteTensors(Tensors):
    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return image.to(torch.uint8), label


class Bytes(ArrayImages):
    classes: ClassVar = Tensors.classes

    def __init__(self, side: int = 8) -> None:
        self.images = np.full((4, side, side, 3), 7, np.uint8)
        self.labels = [0] * 4


@pytest.fixture
def concatenated():
    for kind in (Tensors, ByteTensors, Bytes):
        DATASETS.register_module(f"Test{kind.__name__}", module=kind)
    yield lambda *parts: ConcatDataset([dict(type=f"Test{kind}", **options) for kind, options in parts])
    for kind in (Tensors, ByteTensors, Bytes):
        del DATASETS.module_dict[f"Test{kind.__name__}"]


def load(dataset, transforms, batch_size=8, skip=False):
    options = dict(batch_size=batch_size, drop_last=False, num_workers=0, seed=0, skip=skip)
    loader = TrainLoader(dataset, transforms, Sequential(dataset, 0), **options)
    return list(loader.batches(0, loader.batches_per_epoch)), loader


@pytest.mark.parametrize("batch_size", [3, 4, 8])
def test_tensors_stay_what_they_are_whatever_else_is_in_the_batch(concatenated, batch_size):
    both = concatenated(("Tensors", {}), ("Tensors", dict(first=4)))
    loaded, _ = load(both, [lambda image: image + 10, *AS_FLOATS], batch_size)
    assert torch.cat([batch.images for batch in loaded])[:, 0, 0, 0].tolist() == [6.5 + number for number in range(8)]


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("batch_size", [4, 8])
def test_arrays_are_pictures_whatever_else_is_in_the_batch(concatenated, side, batch_size):
    for other in (("Bytes", dict(side=side)), ("ByteTensors", {})):
        seen = []
        transforms = [lambda image, seen=seen: seen.append(type(image)) or image, v2.Resize((8, 8)), *AS_FLOATS]
        load(concatenated(("Bytes", {}), other), transforms, batch_size)
        assert seen[:4] == [Image.Image] * 4


def test_tensors_that_a_transform_made_stay_tensors():
    def to_standard(image):
        return torch.full((3, 4, 4), -2.5) if isinstance(image, Image.Image) else image / 2

    picture = Image.new("RGB", (4, 4))
    [batch], _ = load(Own((picture, 0), (picture, 1)), [to_standard, v2.RandomHorizontalFlip(), to_standard])
    assert batch.images.unique().tolist() == [-1.25]


def test_rows_of_a_table_stay_rows():
    class Table(ArrayImages):
        images = np.arange(6, dtype=np.float32).reshape(2, 3)
        labels = range(2)

    [batch], _ = load(Table(), [lambda row: row * 2])
    assert batch.images.tolist() == [[0, 2, 4], [6, 8, 10]]


def test_arrays_become_images_as_by_torchvision():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    [batch], _ = load(Own((pixels, 0), (pixels, 1)), AS_FLOATS)
    assert torch.allclose(batch.images[1], v2.Compose(AS_FLOATS)(pixels), atol=1e-6)


@pytest.mark.parametrize("change", [[v2.Resize(6), v2.CenterCrop(6)], [v2.CenterCrop(6)]])
def test_images_of_several_sizes_may_become_floats_before_they_come_to_one(change):
    pixels = [np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8) for size in ((9, 7, 3), (8, 8, 3))]
    transforms = [*AS_FLOATS, *change, v2.Normalize([0.5], [0.25])]
    [batch], _ = load(Own(*((Image.fromarray(each), 0) for each in pixels)), transforms)
    for own, each in zip(batch.images, pixels, strict=True):
        assert torch.allclose(own, v2.Compose(transforms)(each), atol=1e-5)
    [batch], _ = load(Own(*((each, 0) for each in pixels)), [*AS_FLOATS, v2.RandomResizedCrop(6), v2.RandomCrop(5)])
    assert batch.images.shape == (2, 3, 5, 5)


def test_what_a_transform_draws_does_not_depend_on_those_after_it():
    transforms = [*AS_FLOATS, v2.RandomErasing(1.0, value=9.0)]
    images, keys = torch.zeros(4, 3, 32, 32, dtype=torch.uint8), Keys.once(range(4))
    some, more = (
        pipeline.finish(pipeline.prepare(images.clone(), keys), keys)
        for pipeline in (Pipeline(transforms), Pipeline([*transforms, lambda image: image]))
    )
    assert torch.equal(some, more)


def test_only_what_cannot_be_read_is_left_out_of_a_batch_of_several_parts(concatenated):
    both = concatenated(("Tensors", {}), ("Tensors", dict(first=4, unreadable=2)))
    [batch], loader = load(both, [], skip=True)
    assert batch.labels.tolist() == [0, 1, 2, 3, 4, 5, 7]
    assert batch.images[:, 0, 0, 0].tolist() == [number - 3.5 for number in (0, 1, 2, 3, 4, 5, 7)]
    assert loader.skipped == {6: "image 6 is damaged"}


PICTURE = Image.new("RGB", (4, 4))


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (FileNotFoundError(2, "No such file", "x.jpg"), "Own fails on sample 1: FileNotFoundError: .* 'x.jpg'"),
        (KeyError("cat"), "Own fails on sample 1: KeyError: 'cat'"),
        ((PICTURE, 0, "x.jpg"), r"Own gives a tuple of 3 as sample 1; expected \(image, label\)"),
        (dict(image=PICTURE, label=0), r"Own gives a dict of 2 as sample 1; expected \(image, label\)"),
        (PICTURE, r"Own gives a Image as sample 1; expected \(image, label\)"),
        (
            (torch.zeros(3, 4, 4), 0),
            "numbers of different kinds: torch.float32, torch.uint8: begin",
        ),
        ((PICTURE.convert("L"), 0), r"different channels, with shapes such as \[\(1, 4, 4\), \(3, 4, 4\)\]: begin"),
    ],
)
def test_what_a_data_set_should_not_give_is_told(sample, said):
    with pytest.raises(UserError, match=said):
        load(Own((PICTURE, 0), sample), AS_FLOATS)


def test_whatever_a_transform_raises_names_the_sample():
    with pytest.raises(UserError, match=r"the transforms fail on sample 0: AttributeError: .*no attribute 'wide'"):
        load(Own((PICTURE, 0)), [lambda image: image.wide, *AS_FLOATS])
