"""Transforms on whole batches against torchvision's own on one image after another."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from knoll.datasets.loading.batched.form import form_of

NO_NUMBERS = np.empty((6, 0))


@pytest.fixture(params=["channels_last", "contiguous", "grey"])
def images(request) -> torch.Tensor:
    """Six images of 20 x 24 pixels."""
    shape = (6, 20, 24, 1 if request.param == "grey" else 3)
    made = torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)).permute(0, 3, 1, 2)
    return made if request.param == "channels_last" else made.contiguous()


@pytest.fixture
def numbers() -> np.ndarray:
    return np.random.default_rng(1).random((6, 24))


@pytest.mark.parametrize(
    ("transform", "function"),
    [(v2.RandomHorizontalFlip(0.4), F.horizontal_flip), (v2.RandomVerticalFlip(0.4), F.vertical_flip)],
)
def test_flips(images, transform, function):
    numbers = np.array([[0.0], [0.39], [0.41], [0.9], [0.1], [0.6]])
    expected = [function(image) if number < 0.4 else image for image, number in zip(images, numbers, strict=True)]
    assert torch.equal(form_of(transform).on_stack(images.clone(), numbers), torch.stack(expected))


def test_large_images_are_flipped_too():
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 80, 90, 3), dtype=np.uint8))
    images = images.permute(0, 3, 1, 2)
    made = form_of(v2.RandomHorizontalFlip(0.5)).on_stack(images.clone(), np.array([[0.6], [0.2]]))
    assert torch.equal(made, torch.stack([images[0], F.horizontal_flip(images[1])]))


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "symmetric"])
def test_crops_from_a_border(images, mode):
    """At every place, each as likely: 10 rows and 14 columns of places have 140 equal shares of the unit square."""
    border = [2, 3, 3, 2]  # left, top, right, bottom
    form = form_of(v2.RandomCrop((16, 16), padding=border, fill=7, padding_mode=mode))
    # torchvision's own for images mirrors at their edges as it should; a batch of floats takes every mode.
    padded = F.pad(images[:1].float(), border, fill=7, padding_mode=mode).to(torch.uint8)
    rows, columns = padded.shape[2] - 16 + 1, padded.shape[3] - 16 + 1
    assert (rows, columns) == (10, 14)
    for top in range(rows):
        for left in range(columns):
            numbers = np.array([[(top + 0.5) / rows, (left + 0.5) / columns]])
            assert torch.equal(form.on_stack(images[:1], numbers), F.crop(padded, top, left, 16, 16))


def test_a_crop_that_is_too_large_is_told(images):
    with pytest.raises(ValueError, match=r"a crop of \(32, 32\) is larger than an image of \(20, 24\)"):
        form_of(v2.RandomCrop(32)).on_stack(images, np.zeros((6, 2)))


@pytest.mark.parametrize("interpolation", [InterpolationMode.BILINEAR, InterpolationMode.BICUBIC])
def test_resized_crops_have_torchvisions_pixels(images, numbers, interpolation):
    form = form_of(v2.RandomResizedCrop((12, 14), interpolation=interpolation))
    boxes = form.boxes(np.array([[20, 24]] * 6), numbers[:, :22])
    made = form.on_stack(images, numbers[:, :22])
    for image, box, own in zip(images, boxes, made, strict=True):
        expected = F.resized_crop(image, *box, [12, 14], interpolation, antialias=True)
        # torch rounds a contiguous image differently from one in channels_last order.
        assert (own.int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("size", [(300, 400), (500, 180), (40, 2000)])
def test_the_crops_are_distributed_as_torchvisions(size):
    """Two-sample Kolmogorov-Smirnov tests at 1 % of height, width, top and left; seeds are fixed."""
    count = 4000
    transform = v2.RandomResizedCrop(224)
    generator = np.random.default_rng(5)
    ours = np.array(form_of(transform).boxes(np.array([size] * count), generator.random((count, 22))))
    torch.manual_seed(5)
    drawn = [transform.make_params([torch.empty(3, *size)]) for _ in range(count)]
    theirs = np.array([[each[key] for key in ("top", "left", "height", "width")] for each in drawn])
    for column in range(4):
        points = np.union1d(ours[:, column], theirs[:, column])
        shares = [np.searchsorted(np.sort(each[:, column]), points, "right") / count for each in (ours, theirs)]
        assert np.abs(shares[0] - shares[1]).max() < 1.63 * (2 / count) ** 0.5, column


def test_crops_lie_inside_even_of_images_of_one_pixel_or_one_row(numbers):
    form = form_of(v2.RandomResizedCrop(8))
    for size in ((1, 1), (1, 20000), (20000, 1), (3, 5)):
        for top, left, height, width in form.boxes(np.array([size] * 6), numbers[:, :22]):
            assert top >= 0
            assert left >= 0
            assert 1 <= height <= size[0] - top
            assert 1 <= width <= size[1] - left


@pytest.mark.parametrize("resize", [16, [14, 30], [18]])
@pytest.mark.parametrize("crop", [None, 12, (12, 30)])
def test_resize_and_the_middle_of_it(images, resize, crop):
    form, expected = form_of(v2.Resize(resize)), F.resize(images, resize if isinstance(resize, list) else [resize])
    if crop is not None:
        assert form.absorb(form_of(v2.CenterCrop(crop)))
        expected = F.center_crop(expected, crop)
    made = form.on_stack(images, NO_NUMBERS)
    assert made.shape == expected.shape
    assert (made.int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("turned", [False, True])
def test_of_a_long_image_only_the_middle_is_resized(turned):
    """As good as resizing all of it, where that can be done: a ramp of 40 x 4000 pixels to 16, the middle 12."""
    image = (torch.arange(4000) - 1872).clamp(0, 255).to(torch.uint8).expand(1, 3, 40, 4000)
    image = image.mT.contiguous() if turned else image
    form = form_of(v2.Resize(16))
    form.absorb(form_of(v2.CenterCrop(12)))
    expected = F.center_crop(F.resize(image, [16]), 12).int()
    assert expected.float().std() > 5
    assert (form.on_stack(image, NO_NUMBERS[:1]).int() - expected).abs().max() <= 2


def test_a_resize_that_would_fill_the_memory_is_refused():
    with pytest.raises(ValueError, match="1 x 20000 pixels would become 1311 megapixels"):
        form_of(v2.Resize(256)).on_stack(torch.zeros(1, 3, 1, 20000, dtype=torch.uint8), NO_NUMBERS)


@pytest.mark.parametrize("normalize", [None, ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), ([0.5], [0.25])])
def test_bytes_become_floats(images, normalize):
    form, expected = form_of(v2.ToDtype(torch.float32, scale=True)), F.to_dtype(images, torch.float32, scale=True)
    if normalize is not None:
        if len(normalize[0]) == 3 and images.shape[1] == 1:
            pytest.skip("three values for one channel")
        assert form.absorb(form_of(v2.Normalize(*normalize)))
        expected = F.normalize(expected, *normalize)
    made = form.on_stack(images, NO_NUMBERS)
    assert made.dtype == torch.float32
    assert images.shape[1] == 1 or made.stride() == images.stride()
    assert torch.allclose(made, expected, rtol=0, atol=1e-6)


def test_large_images_become_floats_row_by_row():
    images = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (2, 150, 170, 3), dtype=np.uint8))
    for batch in (images.permute(0, 3, 1, 2), images.permute(0, 3, 1, 2).contiguous()):
        form = form_of(v2.ToDtype(torch.float32, scale=True))
        form.absorb(form_of(v2.Normalize([0.4, 0.5, 0.6], [0.2, 0.3, 0.4])))
        expected = F.normalize(F.to_dtype(batch, torch.float32, scale=True), [0.4, 0.5, 0.6], [0.2, 0.3, 0.4])
        assert torch.allclose(form.on_stack(batch, NO_NUMBERS), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("dtype", "scale"), [(torch.float32, False), (torch.float16, True), (torch.uint8, False)])
def test_other_types_are_torchvisions(images, dtype, scale):
    made = form_of(v2.ToDtype(dtype, scale=scale)).on_stack(images, NO_NUMBERS)
    assert torch.equal(made, F.to_dtype(images, dtype, scale=scale))


def test_a_normalize_for_other_channels_is_told(images):
    form = form_of(v2.ToDtype(torch.float32, scale=True))
    form.absorb(form_of(v2.Normalize([0.5, 0.5], [0.5, 0.5])))
    with pytest.raises(ValueError, match="Normalize has 2 and 2 values"):
        form.on_stack(images, NO_NUMBERS)


def test_erasing_is_distributed_as_torchvisions():
    """4000 images: how many are erased, and the areas and shapes of the holes (Kolmogorov-Smirnov at 1 %)."""
    count, size = 4000, 64
    transform = v2.RandomErasing(p=0.5, value=1.0)
    numbers = np.random.default_rng(7).random((count, 24))
    holes = []
    for start in range(0, count, 500):
        made = form_of(transform).on_stack(torch.zeros(500, 1, size, size), numbers[start : start + 500])[:, 0]
        for hole in made[made.flatten(1).any(1)]:
            height, width = int(hole.any(1).sum()), int(hole.any(0).sum())
            assert int(hole.sum()) == height * width  # a whole rectangle
            holes.append((height, width))
    assert abs(len(holes) / count - 0.5) < 4 * (0.25 / count) ** 0.5
    torch.manual_seed(7)
    drawn = [transform.make_params([torch.empty(1, size, size)]) for _ in range(len(holes))]
    for column, key in enumerate("hw"):
        ours, theirs = np.sort([hole[column] for hole in holes]), np.sort([each[key] for each in drawn])
        points = np.union1d(ours, theirs)
        shares = [np.searchsorted(each, points, "right") / len(holes) for each in (ours, theirs)]
        assert np.abs(shares[0] - shares[1]).max() < 1.63 * (2 / len(holes)) ** 0.5


def test_erasing_with_noise_is_the_same_every_time_and_of_deviation_one(numbers):
    form = form_of(v2.RandomErasing(p=1.0, value="random", scale=(0.5, 0.5), ratio=(1.0, 1.0)))
    one, other = (form.on_stack(torch.full((6, 3, 64, 64), 9.0), numbers) for _ in range(2))
    assert torch.equal(one, other)
    noise = one[one != 9]
    assert abs(float(noise.mean())) < 4 / len(noise) ** 0.5
    assert abs(float(noise.std()) - 1) < 4 / (2 * len(noise)) ** 0.5


@pytest.mark.parametrize(
    "transform",
    [
        v2.RandomCrop(8, pad_if_needed=True),
        v2.RandomCrop(8, padding=2, fill=(1, 2, 3)),
        v2.Resize(8, antialias=False),
        v2.Resize(8, interpolation=InterpolationMode.NEAREST),
        v2.Resize(8, max_size=20),
        v2.RandomResizedCrop(8, interpolation=InterpolationMode.LANCZOS),
        v2.ToDtype({torch.Tensor: torch.float32, "others": None}),
        v2.ColorJitter(0.1),
        torch.nn.Identity(),
    ],
)
def test_what_a_form_does_not_know_is_left_to_torchvision(transform):
    assert form_of(transform) is None


@pytest.mark.parametrize(
    ("transform", "count"),
    [(v2.RandomCrop(16, padding=2, fill=9), 2), (v2.RandomHorizontalFlip(), 1), (v2.RandomVerticalFlip(), 1)],
)
def test_on_a_device_the_pixels_are_the_same(images, numbers, transform, count, monkeypatch):
    """What an accelerator runs, run here: the branch for devices that are not the CPU."""
    form = form_of(transform)
    expected = form.on_stack(images.clone(), numbers[:, :count])
    monkeypatch.setattr(type(form), "on_cpu", lambda self, images: False)
    assert torch.equal(form.on_stack(images.clone(), numbers[:, :count]), expected)


def test_a_deviation_of_zero_is_refused_as_by_torchvision(images):
    form = form_of(v2.ToDtype(torch.float32, scale=True))
    assert form.absorb(form_of(v2.Normalize([0.5], [0.0])))
    with pytest.raises(ValueError, match=r"deviations \[0.0\]: none may be 0"):
        form.on_stack(images, np.zeros((6, 0)))


def test_what_is_kept_for_batches_goes_with_its_transform(images):
    form = form_of(v2.ToDtype(torch.float32, scale=True))
    form.on_stack(images, np.zeros((6, 0)))
    there = weakref.ref(form)
    del form
    gc.collect()
    assert there() is None
