"""Batches equal bit for bit: for any number of workers, however they are started, from any start."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image

from knoll.datasets.loading.loader import TrainLoader
from knoll.datasets.transforms import build_transforms
from knoll.registry import DATASETS, SAMPLERS

AS_FLOATS = [dict(type="ToImage"), dict(type="ToDtype", dtype="float32", scale=True)]
ERASE = dict(type="RandomErasing", p=0.5, value="random")
PHOTOS = [
    dict(type="RandomResizedCrop", size=24),
    dict(type="RandomHorizontalFlip"),
    dict(type="RandAugment"),
    *AS_FLOATS,
    ERASE,
]
ARRAYS = [dict(type="RandomCrop", size=20, padding=2), dict(type="ColorJitter", brightness=0.5), *AS_FLOATS, ERASE]


@pytest.fixture
def folder(working_directory):
    """23 JPEGs of two classes, each of its own size, and the same number of arrays."""
    rng = np.random.default_rng(0)
    for number in range(23):
        height, width = rng.integers(30, 60, 2)
        file = working_directory / f"photos/{'ab'[number % 2]}/{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(file)
    images = rng.integers(0, 256, (23, 20, 20, 3), dtype=np.uint8)
    np.savez(working_directory / "arrays.npz", train_images=images, train_labels=np.arange(23) % 4)
    return working_directory


def loader(kind: str, workers: int = 0, start_method: str | None = None, sampler: str = "Shuffled") -> TrainLoader:
    config = dict(type="ImageFolder", root="photos") if kind == "photos" else dict(type="ArrayFile", path="arrays.npz")
    dataset = DATASETS.build(config)
    return TrainLoader(
        dataset,
        build_transforms(PHOTOS if kind == "photos" else ARRAYS),
        SAMPLERS.build(dict(type=sampler), default_args=dict(dataset=dataset, seed=1)),
        batch_size=5,
        drop_last=False,
        num_workers=workers,
        start_method=start_method,
        seed=1,
    )


def hashes(batches) -> list[str]:
    """Of every batch: its images, labels and indices."""
    return [hashlib.sha256(b"".join(part.numpy().tobytes() for part in batch)).hexdigest() for batch in batches]


@pytest.mark.parametrize("kind", ["photos", "arrays"])
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_three_epochs_are_the_same_for_any_number_of_workers(folder, kind):
    reference = hashes(loader(kind).batches(0, 15))
    assert len(set(reference)) == 15
    for workers in (1, 2, 3):
        assert hashes(loader(kind, workers).batches(0, 15)) == reference


@pytest.mark.parametrize("kind", ["photos", "arrays"])
def test_workers_that_live_for_an_epoch_or_for_the_run_give_the_same(folder, kind):
    reference = hashes(loader(kind).batches(0, 15))
    made = loader(kind, 1)
    epochs = [digest for epoch in range(3) for digest in hashes(made.batches(5 * epoch, 5 * epoch + 5))]
    assert epochs == reference


@pytest.mark.slow
@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("kind", ["photos", "arrays"])
def test_however_workers_are_started_the_batches_are_the_same(folder, kind, start_method):
    reference = hashes(loader(kind).batches(0, 15))
    assert hashes(loader(kind, 2, start_method).batches(0, 15)) == reference


@pytest.mark.row(11)
@pytest.mark.parametrize("sampler", ["Shuffled", "ClassBalanced", "RepeatedAugmentation"])
def test_a_run_that_starts_at_any_batch_sees_what_it_would_have_seen(folder, sampler):
    reference = hashes(loader("photos", sampler=sampler).batches(0, 15))
    for start in range(15):
        assert hashes(loader("photos", sampler=sampler).batches(start, 15)) == reference[start:]


@pytest.mark.slow
def test_a_data_set_of_a_plugin_reaches_workers_that_start_from_nothing(tool, folder):
    """Its file is on no path where Python looks, and `spawn` copies no memory."""
    (folder / "plugins").mkdir()
    (folder / "plugins/mine.py").write_text(
        "from knoll.datasets.base import ArrayImages\n"
        "from knoll.registry import DATASETS, TRANSFORMS\n"
        "import numpy as np\n"
        "@DATASETS.register_module()\n"
        "class Mine(ArrayImages):\n"
        "    def __init__(self):\n"
        "        self.images = np.zeros((12, 28, 28), np.uint8)\n"
        "        self.labels, self.classes = [0, 1] * 6, ['a', 'b']\n"
        "@TRANSFORMS.register_module()\n"
        "class Same:\n"
        "    def __call__(self, image):\n"
        "        return image\n"
    )
    (folder / "mine.yaml").write_text(
        "plugins: [plugins]\n"
        "model: {type: ImageClassifier, backbone: {type: LeNet5}, head: {type: LinearHead, num_classes: 2}}\n"
        "loss: {type: CrossEntropyLoss}\n"
        "optimizer: {type: SGD, lr: 0.1}\n"
        "train:\n"
        "  dataset: {type: Mine}\n"
        "  transforms: [{type: Same}, {type: ToImage}, {type: ToDtype, dtype: float32, scale: true}]\n"
        "  batch_size: 4\n"
        "  num_workers: 1\n"
        "  start_method: spawn\n"
        "duration: 3\n"
    )
    done = tool("train", "mine.yaml")
    assert done.returncode == 0, done.stderr
