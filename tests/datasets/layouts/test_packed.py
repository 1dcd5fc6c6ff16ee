"""Packed files: what is read back, and what is refused."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from knoll.datasets.layouts.array_file import ArrayFile
from knoll.datasets.layouts.image_folder import ImageFolder
from knoll.datasets.layouts.packed import MAGIC, Packed, fingerprint, pack
from knoll.datasets.loading.loader import TrainLoader
from knoll.datasets.samplers import Shuffled
from knoll.datasets.transforms import build_transforms
from knoll.registry import UnavailableError, UserError, make_experiment
from knoll.runner.data import build_train_loader

TRANSFORMS = [
    dict(type="RandomResizedCrop", size=24),
    dict(type="RandomHorizontalFlip"),
    dict(type="ToImage"),
    dict(type="ToDtype", dtype="float32", scale=True),
]


@pytest.fixture
def photos(working_directory) -> ImageFolder:
    """Eight photographs of different sizes, as PNG, so that their pixels are known."""
    rng = np.random.default_rng(0)
    for number in range(8):
        height, width = (40, 60) if number == 0 else rng.integers(30, 90, 2)
        file = working_directory / f"photos/{'ab'[number % 2]}/{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(file)
    return ImageFolder("photos")


@pytest.fixture
def packed(photos) -> Packed:
    pack(photos, Path("photos.pack"), size=1000, source="my photos")
    return Packed("photos.pack")


def batches(dataset, workers: int = 0, start_method=None) -> torch.Tensor:
    options = dict(batch_size=4, drop_last=True, num_workers=workers, seed=2, start_method=start_method)
    loader = TrainLoader(dataset, build_transforms(TRANSFORMS), Shuffled(dataset, 2), **options)
    return torch.cat([batch.images for batch in loader.batches(0, 4)])


def test_what_is_not_made_smaller_is_read_back_to_the_bit(photos, packed):
    assert len(packed) == 8
    assert (packed.classes, list(packed.labels), packed.source) == (["a", "b"], list(photos.labels), "my photos")
    for index in range(8):
        assert packed.name(index) == photos.name(index)
        (image, label), (own, own_label) = photos[index], packed[index]
        assert np.array_equal(np.asarray(image), np.asarray(own))
        assert label == own_label
    assert torch.equal(batches(packed), batches(photos))


def test_the_shorter_side_becomes_the_size_and_no_image_is_made_larger(photos):
    pack(photos, Path("small.pack"), size=35, source="")
    small = Packed("small.pack")
    for index in range(8):
        (before, _), (after, _) = photos[index], small[index]
        assert min(after.size) == min(35, min(before.size))
        assert after.width / after.height == pytest.approx(before.width / before.height, rel=0.03)
    # The first one is 40 x 60: antialiased, as Pillow resizes it.
    (before, _), (after, _) = photos[0], small[0]
    assert after.size == (52, 35)
    expected = np.asarray(before.resize((52, 35), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(np.asarray(after).astype(int) - expected).max() <= 2


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_workers_read_the_same(packed, start_method):
    assert torch.equal(batches(packed, 1, start_method), batches(packed))


def test_another_process_maps_the_file_again_instead_of_being_sent_it(packed):
    sent = pickle.dumps(packed)
    assert len(sent) < 2000 + len(packed) * 200 < Path("photos.pack").stat().st_size
    assert np.array_equal(np.asarray(pickle.loads(sent)[3][0]), np.asarray(packed[3][0]))


def _private_kilobytes(file: str, answer) -> None:
    """Memory that this process has of the file for itself, after it has read all of it."""
    packed = Packed(file)
    sum(int(packed.gather(np.array([index]))[0].tensor.sum()) for index in range(len(packed)))
    mapped = Path("/proc/self/smaps").read_text().split(".pack\n")[1]
    lines = dict(line.split(":", 1) for line in mapped.splitlines()[:20] if ":" in line)
    answer.put((int(lines["Rss"].split()[0]), int(lines["Private_Dirty"].split()[0])))


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="tells of memory only on Linux")
def test_processes_share_its_pages(packed):
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    child = context.Process(target=_private_kilobytes, args=("photos.pack", answer))
    child.start()
    resident, own = answer.get(timeout=60)
    child.join()
    assert resident * 1024 >= Path("photos.pack").stat().st_size * 0.9
    assert own == 0


def test_labels_that_are_rows_are_kept(photos, working_directory):
    photos.labels = np.array([[0.0, 1.0], [0.25, 0.75]] * 4, np.float32)
    pack(photos, Path("rows.pack"), size=64, source="")
    assert np.array_equal(Packed("rows.pack").labels, photos.labels)


def test_a_file_that_is_no_whole_packed_file_is_refused(packed):
    whole = Path("photos.pack").read_bytes()
    with pytest.raises(UnavailableError, match=r"no packed file nothing\.pack: python tools/data\.py pack makes it"):
        Packed("nothing.pack")
    for content in (b"", b"text", whole[: len(MAGIC)], b"x" * 100):
        Path("other.pack").write_bytes(content)
        with pytest.raises(UserError, match=r"other\.pack is not a packed file"):
            Packed("other.pack")
    for length in np.linspace(33, len(whole) - 1, 40).astype(int):
        Path("cut.pack").write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cut\.pack is cut off: pack it again"):
            Packed("cut.pack")
    Path("newer.pack").write_bytes(whole.replace(b'"version": 1', b'"version": 9'))
    with pytest.raises(UserError, match="is of version 9"):
        Packed("newer.pack")


def test_an_unreadable_image_leaves_no_file(photos, working_directory):
    (working_directory / "photos/a/2.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"photos/a/2\.png cannot be read"):
        pack(photos, Path("out/photos.pack"), size=32, source="")
    assert list((working_directory / "out").iterdir()) == []


def test_arrays_in_memory_are_not_packed(arrays):
    with pytest.raises(UserError, match="packing is for photographs"):
        pack(ArrayFile(str(arrays)), Path("arrays.pack"), size=32, source="")


class TestInAConfig:
    """`train.packed` in the place of the files themselves."""

    @pytest.fixture
    def train(self, tiny, packed):
        tiny["train"] |= dict(
            dataset=dict(type="ImageFolder", root="photos", source="my photos"),
            transforms=TRANSFORMS,
            packed="photos.pack",
        )
        return make_experiment(tiny).train

    def test_it_is_read(self, train, packed):
        loader = build_train_loader(train, seed=0)
        assert isinstance(loader.dataset, Packed)
        assert loader.dataset.source == "my photos"

    def test_originals_that_have_changed_are_noticed(self, train, working_directory):
        Image.new("RGB", (9, 9)).save(working_directory / "photos/a/2.png")
        with pytest.raises(UserError, match=r"train: photos\.pack was made of other images than my photos has now"):
            build_train_loader(train, seed=0)
        (working_directory / "photos/a/2.png").unlink()
        with pytest.raises(UserError, match=r"train: photos\.pack was made of other images"):
            build_train_loader(train, seed=0)

    def test_it_is_enough_where_the_originals_are_not(self, train, working_directory):
        (working_directory / "photos").rename(working_directory / "elsewhere")
        assert len(build_train_loader(train, seed=0).dataset) == 8

    def test_a_run_of_another_source_does_not_go_on_with_it(self, train):
        with pytest.raises(UserError, match=r"trained on drawn flowers; photos\.pack holds my photos"):
            build_train_loader(train, seed=0, source="drawn flowers")


def test_the_fingerprint_tells_names_labels_sizes_and_classes(photos):
    first = fingerprint(photos)
    assert fingerprint(ImageFolder("photos")) == first
    photos.labels[0] = 1
    assert fingerprint(photos) != first
    photos.labels[0] = 0
    photos.classes = ["b", "a"]
    assert fingerprint(photos) != first
