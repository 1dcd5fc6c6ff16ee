"""Every registered backbone; what is particular to each is in a file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from knoll.models.classifier import ImageClassifier
from knoll.registry import BACKBONES, ConfigError
from knoll.registry.discover import BROKEN, PACKAGE_ROOT

OWN = sorted(name for name, entry in BACKBONES.module_dict.items() if entry.__module__.startswith("knoll."))


def classifier(name: str) -> ImageClassifier:
    return ImageClassifier(dict(type=name), dict(type="LinearHead", num_classes=10))


def test_every_file_of_models_can_be_imported() -> None:
    assert [path for path in BROKEN if path.is_relative_to(PACKAGE_ROOT / "models")] == []


@pytest.mark.parametrize("name", OWN)
def test_smoke(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = classifier(name)
    images = torch.randn(2, *getattr(model.backbone, "example_shape", (3, 224, 224)))

    logits = model(images)
    assert logits.shape == (2, 10)
    logits.square().sum().backward()
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:  # else its author has fixed it
            assert parameter.grad is not None, f"{key} takes no part in the forward pass"
            assert parameter.grad.isfinite().all(), key

    torch.save(model.state_dict(), tmp_path / "checkpoint.pt")
    twin = classifier(name)
    twin.load_state_dict(torch.load(tmp_path / "checkpoint.pt", weights_only=True))
    with torch.no_grad():
        assert torch.equal(twin.eval()(images), model.eval()(images))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (dict(type="ResNet", depth=20), "depth: expected one of 18, 34, 50, 101, 152, got 20"),
        (dict(type="ResNet", stem="3×3"), "stem: expected one of '7x7', '3x3'"),
        (dict(type="ResNet", stride_in=3), "stride_in: expected one of '1x1', '3x3', got 3"),
        (dict(type="CIFARResNet", depth=18), "its depth is 6n [+] 2, such as 20, 32, 44, 56, 110 or 1202, and not 18"),
        (dict(type="CIFARResNet", depth=2), "its depth is 6n [+] 2, .* and not 2"),
        (dict(type="VGG", column="F"), "column: expected one of 'A', 'B', 'C', 'D', 'E', got 'F'"),
        (dict(type="AlexNet", paper=2013), "paper: expected one of 2012, 2014, got 2013"),
        (dict(type="GoogLeNet", branch3="7x7"), "branch3: expected one of '3x3', '5x5'"),
        (dict(type="GoogLeNet", transform_input=True, in_channels=1), "for colour images, and in_channels is 1"),
        (dict(type="LeNet5", image_size=30), "image_size: expected one of 28, 32, got 30"),
        (dict(type="MLP", widths=[]), "widths is empty"),
        (dict(type="CNN5x5", in_shape=[1, 15, 28]), r"in_shape is \[1, 15, 28\]: .* at least 16 pixels"),
        (dict(type="CNN3x3", in_shape=[28, 28]), r"in_shape is \[28, 28\]: it is \[C, H, W\]"),
        (dict(type="Tudui", depth=3), "depth: unknown key"),
    ],
)
def test_wrong_options(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BACKBONES.build(config)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("Tudui", (3, 28, 28), r"Tudui takes images of the shape \(N, 3, 32, 32\), got \(2, 3, 28, 28\): resize them"),
        ("AirBench", (3, 24, 32), r"at least 25 x 25 pixels, got \(2, 3, 24, 32\)"),
        ("LeNet5", (3, 32, 32), r"shape \(N, 1, 28, 28\), got \(2, 3, 32, 32\): set its in_channels"),
        ("VGG", (3, 28, 28), r"at least 32 x 32 pixels, got \(2, 3, 28, 28\)"),
        ("AlexNet", (3, 62, 224), r"at least 63 x 63 pixels, got \(2, 3, 62, 224\)"),
        ("GoogLeNet", (3, 14, 14), r"at least 15 x 15 pixels, got \(2, 3, 14, 14\)"),
        ("Flatten", (3, 28, 28), r"this Flatten takes .* \(N, 1, 28, 28\), got \(2, 3, 28, 28\): set its in_shape to"),
        ("MLP", (8,), r"this MLP takes inputs of the shape .*, got \(2, 8\): set its in_shape to \[8\]"),
        ("CNN5x5", (1, 32, 32), r"this CNN5x5 takes .* got \(2, 1, 32, 32\): set its in_shape to \[1, 32, 32\]"),
        ("CNN3x3", (1, 32, 32), r"this CNN3x3 takes .* got \(2, 1, 32, 32\): set its in_shape to \[1, 32, 32\]"),
    ],
)
def test_images_of_a_wrong_shape(name: str, shape: tuple[int, ...], message: str) -> None:
    with torch.device("meta"):
        backbone = BACKBONES.build(dict(type=name))
        with pytest.raises(ConfigError, match=message):
            backbone(torch.zeros(2, *shape))


@pytest.mark.parametrize(("name", "smallest"), [("VGG", 32), ("AlexNet", 63), ("GoogLeNet", 15), ("AirBench", 25)])
def test_the_smallest_images(name: str, smallest: int) -> None:
    with torch.device("meta"):
        features = BACKBONES.build(dict(type=name))(torch.zeros(2, 3, smallest, smallest))
    assert features.shape[2:] == (1, 1)
