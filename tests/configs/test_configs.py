"""Every experiment here trains as it stands, on small made-up data in the place and layout of the real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from knoll.registry import load_config
from knoll.runner import Runner

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.py"))


@pytest.fixture
def data(working_directory):
    """MNIST, Fashion-MNIST and CIFAR-10 with a few images, in `data`."""
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


def header(magic: int, sizes: tuple[int, ...]) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in (magic, *sizes))


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_trains(path):
    overrides = ["duration=2", "train.num_workers=0", "evaluation.test.num_workers=0"]
    if "flowers" in path.stem:
        overrides = ["duration=2", "train.num_workers=0", "evaluation.val.num_workers=0"]
        overrides += ["train.dataset.datasets.2.images=64", "evaluation.val.dataset.datasets.2.images=20"]
    runner = Runner(load_config(path, overrides), "run")
    metrics = runner.train()
    assert runner.step == 2
    assert all(np.isfinite(value) for value in metrics.values())
    assert (Path("run/checkpoints/last.pt")).is_file()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_says_how_to_run_it(path):
    assert f"python tools/train.py configs/{path.name}" in path.read_text()


# Of the whole network, counted by hand from the layers of the paper or the course.
PARAMETERS = dict(
    lenet_mnist=61_706,
    lenet_fashion_mnist=61_706,
    tudui_cifar10=145_578,
    # torchvision's resnet34 (21,797,672) and resnet18 (11,689,512) have 1000 classes of 512 weights and a bias; the
    # 3x3 stem has 64 * 3 * 9 weights in place of 64 * 3 * 49.
    resnet34_flowers=21_797_672 - 995 * 513,
    resnet18_cifar10=11_689_512 - 990 * 513 - 64 * 3 * 40,
    # torchvision's vgg16_bn (138,365,992) without its three linear layers, and one of 512 to 10.
    vgg16_cifar10=138_365_992 - (25088 * 4096 + 4096) - (4096 * 4096 + 4096) - (4096 * 1000 + 1000) + 5130,
)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_its_network_has_as_many_parameters_as_published(path):
    from knoll.registry import MODELS

    model = MODELS.build(load_config(path).data["model"])
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[path.stem]
