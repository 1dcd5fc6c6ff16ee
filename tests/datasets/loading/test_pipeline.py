"""What goes through a list of transforms, and what each transform is given."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from knoll.datasets.base import ArrayImages, EncodedImages
from knoll.datasets.combining.combine import ConcatDataset, Subset
from knoll.datasets.loading.loader import EvaluationLoader, TrainLoader
from knoll.datasets.loading.pipeline import Keys, Pipeline
from knoll.datasets.samplers import Sequential
from knoll.registry import DATASETS, UserError

AS_FLOATS = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]


def photo(height: int, width: int, seed: int) -> Image.Image:
    """A smooth picture."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


class Photos(EncodedImages):
    """JPEGs of different sizes in memory."""

    def __init__(self, sizes=((40, 60), (52, 44), (48, 48), (41, 67)), kind: str = "JPEG") -> None:
        self.pictures = [photo(*size, seed) for seed, size in enumerate(sizes)]
        self.files = []
        for picture in self.pictures:
            picture.save(file := io.BytesIO(), kind, **(dict(quality=95) if kind == "JPEG" else {}))
            self.files.append(file.getvalue())
        self.labels = [10 * number for number in range(len(sizes))]
        self.classes = [str(number) for number in range(100)]

    def encoded(self, index: int) -> bytes:
        return self.files[index]


class Arrays(ArrayImages):
    def __init__(self, count: int = 7) -> None:
        self.images = np.random.default_rng(0).integers(0, 256, (count, 24, 24, 3), dtype=np.uint8)
        self.labels = list(range(count))
        self.classes = [str(number) for number in range(count)]


def batches(dataset, transforms, batch_size=4, sampler=None, **options):
    options = dict(drop_last=False, num_workers=0, seed=3) | options
    sampler = sampler or Sequential(dataset, 0)
    loader = TrainLoader(dataset, transforms, sampler, batch_size=batch_size, **options)
    return list(loader.batches(0, loader.batches_per_epoch))


def test_resized_crops_of_jpegs_are_torchvisions_to_a_level():
    """The same boxes cut and resized by Pillow: torch rounds once more, by at most a level or two."""
    dataset = Photos()
    transform = v2.RandomResizedCrop(32)
    [batch] = batches(dataset, [transform, *AS_FLOATS])
    pipeline = Pipeline([transform], seed=3)
    form = pipeline._here[0]
    numbers = Keys.once(range(4)).uniform(form.draws, 3, 1)
    boxes = form.boxes(np.array([(40, 60), (52, 44), (48, 48), (41, 67)]), numbers)
    for index, (top, left, height, width) in enumerate(boxes):
        picture = Image.open(io.BytesIO(dataset.files[index]))
        crop = picture.crop((left, top, left + width, top + height)).resize((32, 32), Image.Resampling.BILINEAR)
        own = (batch.images[index].permute(1, 2, 0) * 255).round().int().numpy()
        assert np.abs(own - np.asarray(crop).astype(int)).max() <= 2


def test_large_jpegs_are_decoded_at_a_reduced_size_and_look_the_same():
    """A crop of 600 to 1000 pixels to 64: an eighth of the size is decoded; of a PNG, all of it."""
    dataset = Photos(sizes=[(1000, 1000)] * 4)
    [tensor, factor] = dataset.gather(np.arange(1))[0].reduced(8)
    assert (tensor.shape, factor) == ((3, 125, 125), 8)
    transform = v2.RandomResizedCrop(64, scale=(0.4, 1.0))
    [batch] = batches(dataset, [transform, *AS_FLOATS])
    [plain] = batches(Photos(sizes=[(1000, 1000)] * 4, kind="PNG"), [transform, *AS_FLOATS])
    assert (batch.images - plain.images).abs().mean() * 255 < 2


@pytest.mark.parametrize("settings", [dict(subsampling=each, progressive=way) for each in (0, 1, 2) for way in (0, 1)])
def test_simplejpeg_changes_no_pixel(settings, monkeypatch):
    """It and Pillow call the same library: 4:4:4, 4:2:2 and 4:2:0, baseline and progressive, odd sizes."""
    pytest.importorskip("simplejpeg")
    dataset = Photos(sizes=[(41, 67), (64, 64), (33, 90)])
    for index, picture in enumerate(dataset.pictures):
        picture.save(file := io.BytesIO(), "JPEG", quality=90, **settings)
        dataset.files[index] = file.getvalue()
    with_it = [picture.tensor for picture in dataset.gather(np.arange(3))]
    monkeypatch.setattr("knoll.datasets.loading.pictures.simplejpeg", None)
    for index, picture in enumerate(dataset.gather(np.arange(3))):
        assert torch.equal(picture.tensor, with_it[index])
        assert np.array_equal(picture.tensor.permute(1, 2, 0).numpy(), np.asarray(dataset[index][0]))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_evaluation_is_what_torchvision_does_with_tensors(kind):
    dataset = Photos(kind=kind)
    transforms = [v2.Resize(36), v2.CenterCrop(32), *AS_FLOATS]
    loader = EvaluationLoader(dataset, transforms, batch_size=4, num_workers=0, seed=0)
    [batch] = loader
    reference = v2.Compose([v2.ToImage(), *transforms])
    for index in range(4):
        expected = reference(Image.open(io.BytesIO(dataset.files[index])))
        assert (batch.images[index] - expected).abs().max() <= 1.01 / 255
    assert batch.labels.tolist() == [0, 10, 20, 30]


def test_a_transform_of_ones_own_gets_pillows_images_before_to_image_and_tensors_after():
    seen = []

    def look(image):
        seen.append(type(image))
        return image

    for transforms in ([look, v2.RandomHorizontalFlip(), look, v2.ToImage(), look, *AS_FLOATS], [look, *AS_FLOATS]):
        batches(Arrays(1), transforms)
    assert seen == [Image.Image, Image.Image, tv_tensors.Image, Image.Image]
    seen.clear()
    batches(Photos(sizes=[(20, 20)]), [look, v2.RandomHorizontalFlip(), look, *AS_FLOATS])
    assert all(issubclass(kind, Image.Image) for kind in seen)
    assert len(seen) == 2


def test_tensors_of_a_data_set_stay_tensors():
    class Tensors(Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return torch.full((3, 8, 8), index / 4), index

    seen = []
    [batch] = batches(Tensors(), [lambda image: seen.append(type(image)) or image * 2])
    assert seen == [torch.Tensor] * 3
    assert batch.images[:, 0, 0, 0].tolist() == [0, 0.5, 1]


def test_a_data_set_is_not_changed_by_what_is_done_to_its_images():
    dataset = Arrays()
    before = dataset.images.copy()
    batches(dataset, [v2.RandomHorizontalFlip(1.0), v2.RandomErasing(1.0), *AS_FLOATS, v2.RandomErasing(1.0)])
    assert np.array_equal(dataset.images, before)

    class Tensors(Dataset):
        images = torch.rand(4, 3, 8, 8)

        def __len__(self):
            return 4

        def __getitem__(self, index):
            return self.images[index], index

    kept = Tensors.images.clone()
    batches(Tensors(), [v2.RandomHorizontalFlip(1.0), v2.RandomErasing(1.0)])
    assert torch.equal(Tensors.images, kept)


def test_a_getitem_of_ones_own_is_asked_whatever_it_derives_from():
    class Inverted(Arrays):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return Image.fromarray(255 - np.asarray(image)), label + 100

    [batch] = batches(Inverted(3), AS_FLOATS)
    assert batch.labels.tolist() == [100, 101, 102]
    expected = torch.from_numpy(255 - Inverted(3).images).permute(0, 3, 1, 2) / 255
    assert torch.allclose(batch.images, expected, atol=1e-6)


def test_parts_of_several_data_sets_are_read_as_they_are_alone():
    DATASETS.register_module("TestArrays", module=Arrays)
    try:
        both = ConcatDataset([dict(type="TestArrays"), dict(type="TestArrays")])
        some = Subset(dict(type="TestArrays"), indices=[5, 1, 3])
    finally:
        del DATASETS.module_dict["TestArrays"]
    plain = torch.from_numpy(Arrays().images).permute(0, 3, 1, 2) / 255
    [batch] = batches(both, AS_FLOATS, batch_size=14)
    assert torch.allclose(batch.images, torch.cat([plain, plain]), atol=1e-6)
    [batch] = batches(some, AS_FLOATS)
    assert torch.allclose(batch.images, plain[[5, 1, 3]], atol=1e-6)
    assert batch.labels.tolist() == [5, 1, 3]


class Twice:
    """Every sample twice in an epoch."""

    def __len__(self):
        return 14

    def order(self, epoch):
        return [*range(7), *reversed(range(7))]


def test_a_sample_that_comes_twice_in_an_epoch_is_augmented_twice():
    transforms = [v2.RandomCrop(16), v2.ColorJitter(0.5), *AS_FLOATS]
    [batch] = batches(Arrays(), transforms, batch_size=14, sampler=Twice())
    once, again = batch.images[:7], batch.images[7:].flip(0)
    assert all(not torch.equal(*pair) for pair in zip(once, again, strict=True))
    [alone] = batches(Arrays(), transforms, batch_size=7)
    assert torch.equal(alone.images, once)  # the first time is that of any other order


def test_all_transforms_of_a_list_draw_numbers_of_their_own():
    """Two flips in a row: independent, so of 400 images about a half come out as they were."""
    both = [v2.RandomHorizontalFlip(), v2.RandomHorizontalFlip(), *AS_FLOATS]
    dataset = Arrays(400)
    [batch] = batches(dataset, both, batch_size=400)
    bytes_again = (batch.images * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    unchanged = (bytes_again == torch.from_numpy(dataset.images)).flatten(1).all(1)
    assert 150 < int(unchanged.sum()) < 250


def test_what_fails_names_the_sample():
    def fails(image):
        if image.size == (44, 52):
            raise ValueError("too narrow")
        return image

    with pytest.raises(UserError, match="the transforms fail on sample 1: too narrow"):
        batches(Photos(), [fails, v2.Resize((8, 8)), *AS_FLOATS])
    with pytest.raises(UserError, match=r"the transforms fail on sample 0: a crop of \(46, 46\) is larger"):
        batches(Photos(), [v2.RandomCrop(46), *AS_FLOATS])


class Damaged(Photos):
    """The second and the last image are no images."""

    def __init__(self) -> None:
        super().__init__()
        self.files[1] = b""
        self.files[3] = b"<html>"


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_images_are_left_out_counted_and_named_if_that_is_asked_for(workers, caplog):
    """FAILURES 23: never with another sample's label."""
    transforms = [v2.RandomResizedCrop(16), *AS_FLOATS]
    loader = TrainLoader(
        Damaged(),
        transforms,
        Sequential(Damaged(), 0),
        batch_size=4,
        drop_last=True,
        num_workers=workers,
        seed=3,
        skip=True,
    )
    epochs = list(loader.batches(0, 3))
    whole = batches(Photos(), transforms)[0]
    assert [batch.labels.tolist() for batch in epochs] == [[0, 20]] * 3
    assert torch.equal(epochs[0].images, whole.images[[0, 2]])
    assert sorted(loader.skipped) == [1, 3]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert told[0].startswith("skipped (1 so far): 1 cannot be read as an image: the file is empty")


def test_unreadable_images_are_an_error_otherwise_and_always_in_an_evaluation():
    transforms = [v2.Resize((8, 8)), *AS_FLOATS]
    with pytest.raises(UserError, match="1 cannot be read as an image: the file is empty"):
        batches(Damaged(), transforms)
    with pytest.raises(UserError, match="1 cannot be read as an image: the file is empty"):
        list(EvaluationLoader(Damaged(), transforms, batch_size=4, num_workers=0, seed=0))


def test_a_batch_without_any_readable_image_is_an_error():
    with pytest.raises(UserError, match="no image of a batch can be read: 1 cannot be read"):
        batches(Damaged(), [v2.Resize((8, 8)), *AS_FLOATS], batch_size=1, skip=True)


def test_arrays_that_lie_on_a_device_are_gathered_there():
    """The path for accelerators, here with the CPU as the device."""
    transforms = [v2.RandomCrop(16, padding=2), v2.RandomHorizontalFlip(), *AS_FLOATS]
    plain, placed = Arrays(), Arrays()
    placed.to(torch.device("cpu"))
    placed.images = np.zeros_like(placed.images)  # nothing more is read of it
    [expected], [made] = batches(plain, transforms, batch_size=7), batches(placed, transforms, batch_size=7)
    assert torch.equal(made.images, expected.images)


def test_what_can_run_on_a_device_from_the_beginning():
    assert Pipeline([v2.RandomCrop(16), v2.RandomHorizontalFlip(), *AS_FLOATS, v2.RandomErasing()]).runs_anywhere
    assert not Pipeline([v2.RandomResizedCrop(16), *AS_FLOATS]).runs_anywhere
    assert not Pipeline([v2.ColorJitter(), *AS_FLOATS]).runs_anywhere
