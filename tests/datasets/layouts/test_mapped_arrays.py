"""Arrays in .npy files: mapped, shared between processes, opened again where they are not inherited."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest

from knoll.datasets.layouts.array_file import ArrayFile
from knoll.registry import UnavailableError, UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 64, 64, 3), dtype=np.uint8)
LABELS = np.arange(50) % 3


@pytest.fixture
def folder(working_directory) -> Path:
    folder = working_directory / "digits"
    folder.mkdir()
    np.save(folder / "train_images.npy", IMAGES)
    np.save(folder / "train_labels.npy", LABELS)
    np.save(folder / "val_images.npy", IMAGES[:5])
    np.save(folder / "val_labels.npy", np.array([4, 0, 0, 0, 0]))
    return folder


def test_a_folder_of_npy_files_reads_as_an_npz_file_of_the_same_arrays(folder):
    np.savez("digits.npz", **{file.stem: np.load(file) for file in folder.glob("*.npy")})
    for split in ("train", "val"):
        mapped, read = ArrayFile("digits", split), ArrayFile("digits.npz", split)
        assert (mapped.labels, mapped.classes, mapped.source) == (read.labels, list("01234"), "digits")
        assert (mapped.gather([3, 0]) == read.gather([3, 0])).all()
        assert mapped.gather([3, 0])[1, 2, 5, 6] == IMAGES[0, 5, 6, 2]
        assert mapped[4][0].tobytes() == read[4][0].tobytes() == IMAGES[4].tobytes()
        assert mapped.name(4) == read.name(4)


def test_images_are_mapped_and_not_pickled(folder):
    mapped = ArrayFile("digits")
    assert isinstance(mapped.images, np.memmap)
    pickled = pickle.dumps(mapped)
    assert len(pickled) < 2000 < IMAGES.nbytes
    again = pickle.loads(pickled)
    assert isinstance(again.images, np.memmap)
    assert np.array_equal(again.images, IMAGES)
    assert again.labels == LABELS.tolist()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_another_process_reads_the_same(folder, method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        image, label = pool.apply_async(ArrayFile("digits").__getitem__, (7,)).get(120)
    assert (image.tobytes(), label) == (IMAGES[7].tobytes(), 1)


def test_mapped_images_cannot_be_changed(folder):
    batch = ArrayFile("digits").gather([0])
    batch += 1
    assert np.array_equal(np.load(folder / "train_images.npy"), IMAGES)
    with pytest.raises(ValueError, match="read-only"):
        ArrayFile("digits").images[0] = 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train_labels", np.zeros(2, int), r"train_labels is int64 of shape \(2,\); expected integers \(50,\)"),
        ("train_images", np.zeros((50, 4, 4)), "train_images is float64 .*expected uint8"),
        ("train_images", np.array([None]), "digits cannot be read as a folder of .npy files"),
    ],
)
def test_arrays_that_are_not_images_and_labels(folder, name, content, message):
    np.save(folder / f"{name}.npy", content)
    with pytest.raises(UserError, match=message):
        ArrayFile("digits")


def test_what_is_not_there(folder):
    with pytest.raises(UserError, match="digits has no array test_images; it has train_images, train_labels, "):
        ArrayFile("digits", "test")
    with pytest.raises(UnavailableError, match="there is no folder gone"):
        ArrayFile("gone")
    with pytest.raises(UserError, match=r"train_images.npy is one array: give the folder"):
        ArrayFile("digits/train_images.npy")


def test_a_file_that_was_cut_off(folder):
    file = folder / "train_images.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"digits cannot be read as a folder of .npy files"):
        ArrayFile("digits")
