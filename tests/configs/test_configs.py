"""Every experiment here trains as it stands, on small made-up data in the place and layout of the real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from knoll.registry import load_config
from knoll.runner import Runner

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.py"))


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_trains(path, small):
    runner = Runner(load_config(path, [*small(path), "duration=2"]), "run")
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
    # Convolutions of 24, 64, 256 and 256 channels, two in each block; two numbers for each channel of their
    # normalisations, of which one is trained; the first layer and the last.
    airbench_cifar10=9 * (24 * 64 + 64**2 + 64 * 256 + 256**2 + 2 * 256**2)
    + 2 * 2 * (64 + 256 + 256)
    + (12 + 1) * 24
    + 2570,
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
