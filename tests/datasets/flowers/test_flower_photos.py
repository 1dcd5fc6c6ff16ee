"""The flower photos: their split, and how they come."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from knoll.datasets.flowers import flower_photos
from knoll.datasets.flowers.flower_photos import FlowerPhotos
from knoll.registry import UnavailableError

CLASSES = ["daisy", "dandelion", "roses", "sunflowers", "tulips"]


@pytest.fixture
def photos(working_directory):
    """20 pictures a class; every fourth has the bytes of the one before it."""
    root = working_directory / "data/flower_photos"
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for number in range(20):
            twin = number - 1 if number % 4 == 3 else number
            Image.new("RGB", (4, 4), (label, twin, 0)).save(root / name / f"{number:03d}.png")
    return root


def parts(**options):
    return FlowerPhotos(split="train", **options), FlowerPhotos(split="val", **options)


def test_the_split_is_stratified_and_no_picture_is_in_both_parts(photos):
    train, val = parts(val_fraction=0.2)
    assert train.classes == val.classes == CLASSES
    for label in range(5):
        assert 4 <= val.labels.count(label) <= 5  # a picture and its twin stay together
    assert sorted(train.files + val.files) == sorted(Path("data/flower_photos").rglob("*.png"))
    pixels = [{image.tobytes() for image, _ in (part[i] for i in range(len(part)))} for part in (train, val)]
    assert pixels[0].isdisjoint(pixels[1])


def test_the_split_depends_on_the_seed_and_on_nothing_else(photos, monkeypatch):
    before = [part.files for part in parts()]
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: reversed(list(listed(self))))
    assert [part.files for part in parts()] == before
    assert [part.files for part in parts(seed=1)] != before


def test_a_picture_more_does_not_move_the_others(photos):
    """The order is by a hash of the name: another file does not reshuffle a class."""
    before = set(parts()[1].files)
    Image.new("RGB", (9, 9)).save(photos / "daisy" / "new.png")
    after = set(parts()[1].files)
    assert len(before ^ after) <= 2


def test_without_the_folder_it_is_unavailable():
    with pytest.raises(UnavailableError, match="there is no folder data/flower_photos"):
        FlowerPhotos()


def test_no_connection_is_unavailable_too_and_leaves_nothing(working_directory, monkeypatch):
    monkeypatch.setattr(flower_photos, "URL", "http://127.0.0.1:9/flower_photos.tgz")
    with pytest.raises(UnavailableError, match="cannot be downloaded"):
        FlowerPhotos(download=True)
    assert list((working_directory / "data").iterdir()) == []


def test_another_file_in_its_place_is_refused_by_its_hash(working_directory, monkeypatch):
    (working_directory / "page.html").write_text("<html>not found</html>")
    monkeypatch.setattr(flower_photos, "URL", (working_directory / "page.html").as_uri())
    with pytest.raises(UnavailableError, match="what came is a page of HTML, not the file"):
        FlowerPhotos(download=True)
    assert list((working_directory / "data").iterdir()) == []


@pytest.fixture
def served(working_directory, monkeypatch) -> Path:
    """A small archive of that layout in place of the real one, by its address and its SHA-256."""
    with tarfile.open("served.tgz", "w:gz") as tar:
        for name in CLASSES:
            Image.new("RGB", (4, 4)).save(f"{name}.png")
            tar.add(f"{name}.png", f"flower_photos/{name}/1.png")
    content = Path("served.tgz").read_bytes()
    monkeypatch.setattr(flower_photos, "URL", (working_directory / "served.tgz").as_uri())
    monkeypatch.setattr(flower_photos, "SHA256", hashlib.sha256(content).hexdigest())
    return Path("served.tgz")


@pytest.mark.row(36)
@pytest.mark.usefixtures("served")
def test_fetching_leaves_the_photos_and_nothing_else():
    assert FlowerPhotos(download=True, val_fraction=0).classes == CLASSES
    assert [each.name for each in Path("data").iterdir()] == ["flower_photos"]


@pytest.mark.row(36)
def test_an_archive_that_was_fetched_before_is_taken(served, monkeypatch):
    Path("data").mkdir()
    served.rename("data/flower_photos.tgz")  # so the address leads nowhere
    assert FlowerPhotos(download=True, val_fraction=0).classes == CLASSES
    assert Path("data/flower_photos.tgz").exists()


@pytest.mark.row(36)
def test_another_archive_of_its_name_stays_until_the_right_one_is_there(served):
    Path("data").mkdir()
    Path("data/flower_photos.tgz").write_bytes(b"old")
    content = served.read_bytes()
    served.write_bytes(content[:-1])
    with pytest.raises(UnavailableError, match="what came has the SHA-256"):
        FlowerPhotos(download=True)
    assert Path("data/flower_photos.tgz").read_bytes() == b"old"
    assert not Path("data/flower_photos").exists()
    served.write_bytes(content)
    assert FlowerPhotos(download=True, val_fraction=0).classes == CLASSES
