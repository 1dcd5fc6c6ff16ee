"""Packed files: what is packed is what is read, and stays so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from knoll.datasets.base import ImageFiles
from knoll.datasets.layouts.packed import Packed, fingerprint, pack
from knoll.datasets.loading.loader import EvaluationLoader
from knoll.registry import UserError

AS_FLOATS = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]


@pytest.fixture
def files(working_directory) -> ImageFiles:
    """Three PNGs of different sizes."""
    Path("c").mkdir()
    for number, size in enumerate([(40, 60), (52, 44), (20, 30)]):
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"c/{number}.png")
    return ImageFiles(sorted(Path("c").iterdir()), [0, 1, 0], ["a", "b"], Path())


def test_images_that_are_small_enough_come_back_as_they_were(files):
    pack(files, Path("all.pack"), 256, "here")
    packed = Packed("all.pack")
    assert (packed.labels, packed.classes, packed.names) == ([0, 1, 0], ["a", "b"], ["c/0.png", "c/1.png", "c/2.png"])
    for index in range(3):
        assert np.array_equal(np.asarray(packed[index][0]), np.asarray(files[index][0]))
    pack(files, Path("small.pack"), 26, "here")
    assert [packed[0].size for packed in Packed("small.pack")] == [(39, 26), (26, 31), (30, 20)]


def test_a_transform_that_changes_images_in_place_leaves_the_file_s_as_they_are(files):
    pack(files, Path("all.pack"), 256, "here")
    packed = Packed("all.pack")
    transforms = [v2.ToImage(), lambda image: image.fill_(0), v2.Resize((8, 8)), AS_FLOATS[1]]
    [batch] = EvaluationLoader(packed, transforms, batch_size=3, num_workers=0, seed=0)
    assert not batch.images.any()
    for index in range(3):
        assert np.array_equal(np.asarray(packed[index][0]), np.asarray(files[index][0]))


def test_a_file_that_is_gone_is_named(files):
    assert fingerprint(files) == fingerprint(files)
    Path("c/1.png").unlink()
    with pytest.raises(UserError, match=r"c/1\.png cannot be read: No such file"):
        fingerprint(files)
