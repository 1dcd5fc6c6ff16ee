"""Every registered backbone, and what is particular to each that is written here."""

from __future__ import annotations

from math import sqrt
from typing import Any

import pytest
import torch
from torch import nn

from knoll.models.backbones.lenet import LeNet5, SparseC3
from knoll.models.backbones.resnet import BasicBlock, ResNet
from knoll.models.backbones.tudui import Tudui
from knoll.models.backbones.vgg import VGG
from knoll.models.classifier import ImageClassifier
from knoll.registry import BACKBONES, ConfigError
from knoll.registry.discover import BROKEN, PACKAGE_ROOT

OWN = sorted(name for name, entry in BACKBONES.module_dict.items() if entry.__module__.startswith("knoll."))


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def classifier(backbone: dict[str, Any], num_classes: int = 10) -> ImageClassifier:
    return ImageClassifier(backbone, dict(type="LinearHead", num_classes=num_classes))


def test_every_file_of_models_can_be_imported() -> None:
    assert [path for path in BROKEN if path.is_relative_to(PACKAGE_ROOT / "models")] == []


@pytest.mark.parametrize("name", OWN)
def test_smoke(name: str) -> None:
    torch.manual_seed(0)
    model = classifier(dict(type=name))
    images = torch.randn(2, *getattr(model.backbone, "example_shape", (3, 224, 224)))

    logits = model(images)
    assert logits.shape == (2, 10)
    logits.square().sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{key} takes no part in the forward pass"
        assert parameter.grad.isfinite().all(), key

    twin = classifier(dict(type=name))
    twin.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(twin.eval()(images), model.eval()(images))


# --- Tudui ------------------------------------------------------------------------------------------------------------


def test_tudui_is_the_network_of_the_course() -> None:
    torch.manual_seed(0)
    course = nn.Sequential(
        nn.Conv2d(3, 32, 5, padding=2),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 5, padding=2),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1024, 64),
        nn.Linear(64, 10),
    )
    ours = classifier(dict(type="Tudui"))
    with torch.no_grad():
        for parameter, value in zip(ours.parameters(), course.parameters(), strict=True):
            parameter.copy_(value)
    images = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(ours(images), course(images))


def test_tudui_parameters() -> None:
    convolutions = (3 * 25 + 1) * 32 + (32 * 25 + 1) * 32 + (32 * 25 + 1) * 64
    assert count(Tudui()) == convolutions + (1024 + 1) * 64
    assert count(classifier(dict(type="Tudui"))) == convolutions + (1024 + 1) * 64 + (64 + 1) * 10 == 145_578


def test_tudui_refuses_another_size() -> None:
    message = r"Tudui takes images of the shape \(N, 3, 32, 32\), got \(2, 3, 28, 28\): resize them"
    with pytest.raises(ConfigError, match=message):
        Tudui()(torch.zeros(2, 3, 28, 28))


# --- LeNet-5 ----------------------------------------------------------------------------------------------------------


def test_lenet_parameters() -> None:
    c1, c3, c5 = (25 + 1) * 6, (6 * 25 + 1) * 16, (16 * 25 + 1) * 120
    f6, output = (120 + 1) * 84, (84 + 1) * 10
    assert count(classifier(dict(type="LeNet5"))) == c1 + c3 + c5 + f6 + output == 61_706


def test_lenet_sparse_has_the_paper_number_of_parameters() -> None:
    backbone = LeNet5(connections="sparse")
    c3 = backbone.c3
    assert isinstance(c3, SparseC3)
    used = int(c3.mask.expand_as(c3.weight).sum()) + 16
    assert used == 1516  # section II.B on C3
    trained_in_s2_and_s4 = 2 * 6 + 2 * 16  # only in the paper
    assert count(backbone) - count(c3) + used + trained_in_s2_and_s4 == 60_000  # section II.B, last paragraph


def test_lenet_sparse_follows_table_1() -> None:
    # One row for each map of S2, as printed.
    table = """
        X . . . X X X . . X X X X . X X
        X X . . . X X X . . X X X X . X
        X X X . . . X X X . . X . X X X
        . X X X . . X X X X . . X . X X
        . . X X X . . X X X X . X X . X
        . . . X X X . . X X X X . X X X
    """
    c3 = SparseC3()
    for s2_map, row in enumerate(table.split("\n")[1:-1]):
        x = torch.zeros(1, 6, 14, 14, requires_grad=True)
        with torch.no_grad():
            x[0, s2_map] = torch.randn(14, 14)
        change = (c3(x) - c3(torch.zeros_like(x))).abs().sum(dim=(0, 2, 3))
        assert (change > 0).tolist() == [mark == "X" for mark in row.split()]


def test_lenet_absent_connections_have_no_gradient() -> None:
    c3 = SparseC3()
    c3(torch.randn(2, 6, 14, 14)).sum().backward()
    assert c3.weight.grad is not None
    assert torch.equal(c3.weight.grad != 0, (c3.mask != 0).expand_as(c3.weight))


def test_lenet_sparse_and_full_share_their_state_dict() -> None:
    LeNet5(connections="sparse").load_state_dict(LeNet5().state_dict())


def test_lenet_28_is_32_with_a_border() -> None:
    small, large = LeNet5(image_size=28), LeNet5(image_size=32)
    large.load_state_dict(small.state_dict())
    images = torch.randn(3, 1, 28, 28)
    torch.testing.assert_close(small(images), large(nn.functional.pad(images, (2, 2, 2, 2))))


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
@pytest.mark.parametrize("pool", ["avg", "max"])
def test_lenet_options(activation: str, pool: str) -> None:
    backbone = BACKBONES.build(dict(type="LeNet5", in_channels=3, image_size=32, activation=activation, pool=pool))
    features = backbone(torch.randn(2, *backbone.example_shape))
    assert features.shape == (2, 84)
    low, high = {"tanh": (-1, 1), "relu": (0, float("inf")), "sigmoid": (0, 1)}[activation]
    assert features.min() >= low
    assert features.max() <= high


def test_lenet_refuses_another_size() -> None:
    with pytest.raises(ConfigError, match=r"shape \(N, 1, 28, 28\), got \(2, 3, 32, 32\): set its in_channels"):
        LeNet5()(torch.zeros(2, 3, 32, 32))


# --- VGG and ResNet: their values are compared with torchvision's in test_parity.py -----------------------------------


def test_vgg_refuses_small_images() -> None:
    with torch.device("meta"), pytest.raises(ConfigError, match=r"at least 32 x 32 pixels, got \(2, 3, 28, 28\)"):
        VGG(11)(torch.zeros(2, 3, 28, 28))


def test_vgg_feature_map() -> None:
    with torch.device("meta"):
        assert VGG(11, in_channels=1)(torch.zeros(2, 1, 224, 96)).shape == (2, 512, 7, 3)


@pytest.mark.parametrize(("depth", "channels"), [(18, 512), (34, 512), (50, 2048), (101, 2048), (152, 2048)])
def test_resnet_feature_map(depth: Any, channels: int) -> None:
    with torch.device("meta"):
        backbone = ResNet(depth)
        assert backbone.num_features == channels
        assert backbone(torch.zeros(2, 3, 224, 160)).shape == (2, channels, 7, 5)


def test_resnet_for_small_images() -> None:
    with torch.device("meta"):
        backbone = ResNet(18, stem="3x3", in_channels=1)
        assert backbone(torch.zeros(2, 1, 32, 32)).shape == (2, 512, 4, 4)
        # Only the first convolution differs: 1 x 3 x 3 in place of 3 x 7 x 7, for 64 channels.
        assert count(ResNet(18)) - count(backbone) == 64 * (3 * 49 - 9)


@pytest.mark.parametrize(("depth", "blocks", "last"), [(18, 8, "bn2"), (50, 16, "bn3")])
def test_resnet_zero_init_residual(depth: Any, blocks: int, last: str) -> None:
    def scales_of_zero(backbone: nn.Module) -> list[str]:
        return [key for key, value in backbone.named_parameters() if key.endswith(".weight") and not value.any()]

    zeros = scales_of_zero(ResNet(depth, zero_init_residual=True))
    assert len(zeros) == blocks
    assert all(key.endswith(f".{last}.weight") for key in zeros)
    assert scales_of_zero(ResNet(depth)) == []


def test_resnet_block_of_zero_is_the_identity() -> None:
    block = BasicBlock(64, 64, stride=1)
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(2, 64, 8, 8)  # not negative: the last ReLU leaves it alone
    assert torch.equal(block(x), x)


def test_initialisation_is_he_over_the_outgoing_connections() -> None:
    torch.manual_seed(0)
    for convolution in (ResNet(18).layer4[0].conv1, VGG(11).features[11]):
        assert isinstance(convolution, nn.Conv2d)
        assert convolution.weight.shape == (512, 256, 3, 3)
        assert convolution.weight.std().item() == pytest.approx(sqrt(2 / (9 * 512)), rel=0.01)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (dict(type="ResNet", depth=20), "depth: expected one of 18, 34, 50, 101, 152, got 20"),
        (dict(type="ResNet", stem="3×3"), "stem: expected one of '7x7', '3x3'"),
        (dict(type="VGG", depth=12), "depth: expected one of 11, 13, 16, 19, got 12"),
        (dict(type="LeNet5", image_size=30), "image_size: expected one of 28, 32, got 30"),
        (dict(type="Tudui", depth=3), "depth: unknown key"),
    ],
)
def test_wrong_options(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BACKBONES.build(config)
