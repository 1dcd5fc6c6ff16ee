"""Every experiment here trains as it stands, on small made-up data in the place and layout of the real one."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from knoll.registry import load_config
from knoll.runner import Runner

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.py"))


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


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_trains(path):
    config = load_config(path).data
    overrides = ["duration=2", "train.num_workers=0"]
    overrides += [f"evaluation.{name}.num_workers=0" for name in config["evaluation"]]
    if "flowers" in path.stem:
        overrides += ["train.dataset.datasets.2.images=64", "evaluation.val.dataset.datasets.2.images=20"]
    if config.get("vars", {}).get("crop") == 224 or "weights" in config:
        overrides += ["vars.resize=72", "vars.crop=64"]
    if "weights" in config:  # the file would be downloaded; loading it has tests of its own
        overrides += ["weights=None"]
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
    diabetes=8 * 6 + 6 + 6 * 4 + 4 + 4 + 1,
    lenet_mnist=61_706,
    lenet_fashion_mnist=61_706,
    tudui_cifar10=145_578,
    # torchvision's resnet34 (21,797,672) and resnet18 (11,689,512) have 1000 classes of 512 weights and a bias; the
    # 3x3 stem has 64 * 3 * 9 weights in place of 64 * 3 * 49.
    resnet34_flowers=21_797_672 - 995 * 513,
    resnet34_flowers_pretrained=21_797_672 - 995 * 513,
    # torchvision's mobilenet_v2 (3,504,872) has 1000 classes of 1280 weights and a bias.
    mobilenetv2_hymenoptera=3_504_872 - 998 * 1281,
    mobilenetv2_flowers_frozen=3_504_872 - 995 * 1281,
    # Convolutions of 16, 32 and 64 channels, six in each stage after the first; batch normalisation; the last layer.
    resnet20_cifar10=9 * (3 * 16 + 6 * 16**2 + 16 * 32 + 5 * 32**2 + 32 * 64 + 5 * 64**2)
    + 2 * (7 * 16 + 6 * 32 + 6 * 64)
    + 650,
    resnet18_cifar10=11_689_512 - 990 * 513 - 64 * 3 * 40,
    # torchvision's vgg16_bn (138,365,992) without its three linear layers, and one of 512 to 10.
    vgg16_cifar10=138_365_992 - (25088 * 4096 + 4096) - (4096 * 4096 + 4096) - (4096 * 1000 + 1000) + 5130,
)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_its_network_has_as_many_parameters_as_published(path):
    from knoll.registry import MODELS

    model = MODELS.build(load_config(path).data["model"])
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[path.stem]
