"""The flower photos: their split, and an archive that is not trusted."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from knoll.datasets import flower_photos
from knoll.datasets.flower_photos import FlowerPhotos, unpack
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
    with pytest.raises(UnavailableError, match="could not be fetched"):
        FlowerPhotos(download=True)
    assert list((working_directory / "data").iterdir()) == []


def test_another_file_in_its_place_is_refused_by_its_hash(working_directory, monkeypatch):
    (working_directory / "page.html").write_text("<html>not found</html>")
    monkeypatch.setattr(flower_photos, "URL", (working_directory / "page.html").as_uri())
    with pytest.raises(UnavailableError, match="invalid hash value"):
        FlowerPhotos(download=True)
    assert list((working_directory / "data").iterdir()) == []


def archive(path: Path, *members: tuple[str, bytes | None]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            info.size = len(content or b"")
            tar.addfile(info, io.BytesIO(content or b""))
    return path


def test_unpacks(working_directory):
    path = archive(
        working_directory / "a.tgz", ("flower_photos/daisy/1.jpg", b"x"), ("flower_photos/LICENSE.txt", b"y")
    )
    unpack(path, working_directory / "data")
    assert (working_directory / "data/daisy/1.jpg").read_bytes() == b"x"
    assert sorted(each.name for each in working_directory.iterdir()) == ["a.tgz", "data"]


@pytest.mark.parametrize("member", [("../evil", b"x"), ("/evil_absolute", b"x"), ("flower_photos/link", None)])
def test_an_archive_that_reaches_outside_is_refused(working_directory, member):
    inner = working_directory / "inner"
    inner.mkdir()
    path = archive(working_directory / "a.tgz", member)
    if member[0].startswith("/"):  # the filter strips the slash; nothing absolute is written, and no folder is found
        with pytest.raises((UnavailableError, FileNotFoundError)):
            unpack(path, inner / "data")
        assert not Path("/evil_absolute").exists()
        return
    with pytest.raises(UnavailableError, match="cannot be unpacked"):
        unpack(path, inner / "data")
    assert not (working_directory / "evil").exists()
    assert not (inner / "data").exists()
