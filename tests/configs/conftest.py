"""Small made-up data in the place and layout of the real one, for the experiments of this repository."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from PIL import Image

from knoll.registry import load_config


@pytest.fixture
def data(working_directory):
    """MNIST, Fashion-MNIST, CIFAR-10, ants and bees with a few images, a short diabetes table, in `data`."""
    rng = np.random.default_rng(0)
    cifar = {}
    for split, count in (("train", 260), ("test", 20)):
        cifar[f"{split}_images"] = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        cifar[f"{split}_labels"] = np.arange(count) % 10
    (working_directory / "data").mkdir()
    np.savez(working_directory / "data/cifar10.npz", **cifar)
    for name in ("MNIST", "FashionMNIST"):
        raw = working_directory / "data" / name / "raw"
        raw.mkdir(parents=True)
        for prefix, count in (("train", 260), ("t10k", 20)):
            images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
            labels = (np.arange(count) % 10).astype(np.uint8)
            # The format's magic numbers: unsigned bytes in three dimensions, in one.
            (raw / f"{prefix}-images-idx3-ubyte").write_bytes(header(2051, images.shape) + images.tobytes())
            (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(header(2049, labels.shape) + labels.tobytes())

    rows = [",".join(map(str, [*rng.normal(size=8).round(3), number % 2])) for number in range(80)]
    (working_directory / "data/diabetes.csv.gz").write_bytes(gzip.compress("\n".join(rows).encode()))

    for split, count in (("train", 40), ("val", 6)):
        for kind in ("ants", "bees"):
            folder = working_directory / "data/hymenoptera_data" / split / kind
            folder.mkdir(parents=True)
            for number in range(count // 2):
                pixels = rng.integers(0, 256, (80, 100, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")


def header(magic: int, sizes: tuple[int, ...]) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in (magic, *sizes))


@pytest.fixture
def small():
    """What makes an experiment, by its file, a small one: overrides."""

    def overrides(path) -> list[str]:
        config = load_config(path).data
        changes = ["train.num_workers=0"]
        changes += [f"evaluation.{name}.num_workers=0" for name in config["evaluation"]]
        if config["train"].get("batch_size", 0) > 260:  # there are no more images
            changes += ["train.batch_size=128"]
        if "flowers" in path.stem:
            changes += ["train.dataset.datasets.2.images=64", "evaluation.val.dataset.datasets.2.images=20"]
        if config.get("vars", {}).get("crop") == 224 or "weights" in config:
            changes += ["vars.resize=72", "vars.crop=64"]
        if "weights" in config:  # the file would be downloaded; loading it has tests of its own
            changes += ["weights=None"]
        return changes

    return overrides
