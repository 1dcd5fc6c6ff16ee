"""`summary`: the table and the totals as they are printed, and where the shape of the images comes from."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import timm
import yaml
from torch import Tensor, nn

from knoll.registry import BACKBONES, MODELS, UserError
from knoll.tools import summary

SUFFIX = "_of_test_summary"


@MODELS.register_module("FromTimm" + SUFFIX)
class FromTimm(nn.Module):
    """A whole model of timm's."""

    def __init__(self, name: str, num_classes: int = 10) -> None:
        super().__init__()
        self.net = timm.create_model(name, num_classes=num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)


@BACKBONES.register_module("Grey" + SUFFIX)
class Grey(nn.Module):
    """Takes one channel, and does not say so."""

    num_features = 4

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images)


@pytest.fixture
def show(tiny, working_directory, capsys):
    """Write an experiment with another model, and return what the tool prints of it."""

    def run(model: dict, *arguments: str, **changes) -> str:
        config = {**tiny, "model": model, **changes}
        (working_directory / "config.yaml").write_text(yaml.safe_dump(config))
        assert summary.main(["config.yaml", *arguments]) == 0
        return capsys.readouterr().out

    return run


def classifier(**backbone) -> dict:
    return dict(type="ImageClassifier", backbone=backbone, head=dict(type="LinearHead", num_classes=4))


def rows(printed: str) -> dict[str, list[str]]:
    table = printed.split("\n\n")[1].splitlines()
    return {line.split()[0]: line.split() for line in table[1:]}


def test_as_a_user_runs_it(tool, tiny, working_directory):
    (working_directory / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    done = tool("summary", "tiny.yaml", "--graph", "tiny.svg")
    assert done.returncode == 0, done.stderr
    # 1x28x28 images, and the head has 4 classes where the published 61,706 parameters are for 10.
    parameters = 61_706 - 6 * 85
    multiply_adds = 28 * 28 * 6 * 25 + 10 * 10 * 16 * 150 + 120 * 400 + 120 * 84 + 84 * 4
    assert "tiny: images of the shape (1, 1, 28, 28) (from train.transforms)" in done.stdout
    assert (
        f"parameters:   {parameters:,}, of which {parameters:,} are trained when a run begins; 0.23 MiB" in done.stdout
    )
    assert f"FLOPs:        {2 * multiply_adds:,} for one image, or {multiply_adds:,} multiply-adds" in done.stdout
    assert "a multiply-add is two" in done.stdout
    assert ElementTree.parse(working_directory / "tiny.svg").getroot().tag.endswith("svg")


def test_resnet34_is_a_page(show):
    printed = show(classifier(type="ResNet", depth=34), "--shape", "3", "224", "224")
    table = rows(printed)
    assert len(printed.splitlines()) < 45
    assert len([name for name in table if name.count(".") == 2]) == 3 + 4 + 6 + 3  # its blocks
    assert table["backbone.layer4.2"] == [
        *("backbone.layer4.2", "BasicBlock", "(1,", "512,", "7,", "7)"),
        f"{2 * (9 * 512 * 512 + 2 * 512):,}",
        f"{2 * 2 * 9 * 512 * 512 * 49:,}",
        # Two convolutions and two batch normalisations keep their inputs, two ReLUs their outputs: of these six the
        # first is the block's input, which the ReLU before it keeps, and another is kept by the ReLU between.
        f"{4 * 4 * 512 * 49 / 2**20:.3f}",
        "MiB",
    ]


def test_depth_and_batch(show):
    model = classifier(type="ResNet", depth=18)
    one = rows(show(model, "--depth", "1", "--shape", "3", "64", "64"))
    eight = rows(show(model, "--depth", "1", "--shape", "3", "64", "64", "--batch", "8"))
    assert list(one) == list(eight) == ["backbone", "head"]
    flops = [int(each["backbone"][-3].replace(",", "")) for each in (one, eight)]
    assert flops[1] == 8 * flops[0]
    assert eight["backbone"][2] == "(8,"


RESIZE_AND_CROP = [dict(type="Resize", size=40), dict(type="CenterCrop", size=[36, 44])]
AS_TENSOR = [dict(type="ToImage"), dict(type="ToDtype", dtype="float32", scale=True)]


def test_the_shape_is_what_evaluation_makes_of_a_picture(show, tiny):
    evaluation = dict(val={**tiny["evaluation"]["val"], "transforms": [*RESIZE_AND_CROP, *AS_TENSOR]})
    printed = show(classifier(type="ResNet", depth=18), evaluation=evaluation)
    assert "images of the shape (1, 3, 36, 44) (from evaluation.val.transforms)" in printed
    printed = show(classifier(type="ResNet", depth=18, in_channels=1), evaluation=evaluation)
    assert "images of the shape (1, 1, 36, 44) (from evaluation.val.transforms)" in printed


def test_else_what_training_makes_of_one(show, tiny):
    train = {**tiny["train"], "transforms": [dict(type="RandomResizedCrop", size=48), *AS_TENSOR]}
    printed = show(classifier(type="ResNet", depth=18), train=train)
    assert "images of the shape (1, 3, 48, 48) (from train.transforms)" in printed


def test_else_what_the_backbone_says(show, tiny):
    train = {**tiny["train"], "transforms": AS_TENSOR}
    printed = show(classifier(type="Tudui"), train=train)
    assert "images of the shape (1, 3, 32, 32) (from the backbone's example_shape)" in printed
    printed = show(classifier(type="Grey" + SUFFIX), train=train)
    assert "images of the shape (1, 1, 224, 224) (assumed, for the backbone has no example_shape)" in printed
    printed = show(classifier(type="Tudui"), "--shape", "3", "32", "32", train=train)
    assert "images of the shape (1, 3, 32, 32) (from --shape)" in printed


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_models_of_timm(show, working_directory, name):
    model = dict(type="FromTimm" + SUFFIX, name=name)
    printed = show(model, "--shape", "3", "224", "224", "--graph", "net.svg", "--depth", "3")
    expected = sum(each.numel() for each in timm.create_model(name, num_classes=10).parameters())
    assert f"parameters:   {expected:,}, of which" in printed
    assert len(rows(printed)) > 12
    drawn = (working_directory / "net.svg").read_text()
    assert ("net.blocks.11" if name.startswith("vit") else "net.layer4.1") in drawn


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["model.backbone.type=Tudui", "--shape", "3", "28", "28"],
            "Tudui takes images of the shape",
        ),
        (["model.backbone.type=Tudui"], r"(?s)does not take images of the shape \(3, 28, 28\) .*--shape C H W"),
        (["model.backbone.dept=3"], "Did you mean"),
        (["--depth", "0"], "--depth: expected numbers of at least 1"),
        (["--graph", "net.png"], r"--graph net.png: its name must end in .svg"),
        (["--graph", "nowhere/net.svg"], "there is no folder"),
    ],
)
def test_mistakes(show, arguments, message):
    with pytest.raises(UserError, match=message):
        show(classifier(type="ResNet", depth=18), *arguments)


def test_what_is_frozen_is_not_counted_as_trained(tiny, tool, tmp_path):
    (tmp_path / "x.py").write_text(f"config = {tiny | dict(freeze=['backbone'])!r}")
    done = tool("summary", "x.py")
    assert done.returncode == 0, done.stderr
    # LeNet-5 has 61,706 parameters with ten classes; four classes of 84 weights and a bias are left to train.
    assert "parameters:   61,196, of which 340 are trained when a run begins;" in done.stdout
