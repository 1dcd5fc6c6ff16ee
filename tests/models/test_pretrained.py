"""What published weights were trained with, and where a config differs from it."""

from __future__ import annotations

import pytest

from knoll.models.pretrained import compare, preprocessing_of
from knoll.registry import config_from_dict

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # ImageNet's, of torchvision's weights


def transforms(mean=MEAN, std=STD, size=224, **options) -> list[dict]:
    return [
        dict(type="Resize", size=256, **options),
        dict(type="CenterCrop", size=size),
        dict(type="ToImage"),
        dict(type="ToDtype", dtype="float32", scale=True),
        dict(type="Normalize", mean=mean, std=std),
    ]


@pytest.mark.parametrize(
    "source",
    [
        "torchvision/ResNet34_Weights.IMAGENET1K_V1",
        "https://download.pytorch.org/models/resnet34-b627a593.pth",
        "somewhere/resnet34-b627a593.pth",
        "https://download.pytorch.org/models/resnet34-333f7ec4.pth",  # as it was until 2021
    ],
)
def test_torchvision(source: str) -> None:
    found = preprocessing_of(source)
    assert found == (tuple(MEAN), tuple(STD), 224, "bilinear")


def test_timm() -> None:
    # As its model card says: 224 pixels, Inception's mean and deviation.
    assert preprocessing_of("timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k") == (
        (0.5, 0.5, 0.5),
        (0.5, 0.5, 0.5),
        224,
        "bicubic",
    )


@pytest.mark.parametrize("source", ["mine.pth", "timm/resnet34.never", "torchvision/ResNet34_Weights.V7"])
def test_unknown_weights_have_none(source: str) -> None:
    assert preprocessing_of(source) is None


def test_nothing_to_say(tiny) -> None:
    for part in (tiny["train"], tiny["evaluation"]["val"]):
        part["transforms"] = transforms()
    for weights in ("torchvision/ResNet34_Weights.IMAGENET1K_V1", "mine.pth"):
        assert compare(config_from_dict(tiny | dict(weights=weights))) == []
    assert compare(config_from_dict(tiny)) == []


def test_every_difference_has_its_place(tiny) -> None:
    tiny["train"]["transforms"] = transforms(mean=[0.5, 0.5, 0.5], size=[64, 64])
    tiny["evaluation"]["val"]["transforms"] = transforms(interpolation="bicubic")[:-1]
    tiny["weights"] = dict(source="torchvision/ResNet34_Weights.IMAGENET1K_V1")
    lines = [line.replace(" (experiment:1)", "") for line in compare(config_from_dict(tiny))]
    trained = "; the weights were trained with "
    assert lines == [
        f"note: train.transforms.4.mean: [0.5, 0.5, 0.5]{trained}[0.485, 0.456, 0.406]",
        f"note: train.transforms.1.size: 64 pixels{trained}224",
        f"note: evaluation.val.transforms: no Normalize{trained}mean [0.485, 0.456, 0.406] "
        "and std [0.229, 0.224, 0.225]",
        f"note: evaluation.val.transforms.0.interpolation: bicubic{trained}bilinear",
    ]


def test_check_prints_them(tool, tmp_path) -> None:
    (tmp_path / "x.py").write_text(
        "config = dict(model=dict(type='timm/resnet18', num_classes=4), loss=dict(type='CrossEntropyLoss'),\n"
        "    optimizer=dict(type='SGD'), duration=1, weights='timm/resnet18.a1_in1k',\n"
        "    train=dict(dataset=dict(type='ArrayFile', path='x.npz'),\n"
        "        transforms=[dict(type='Normalize', mean=[0, 0, 0], std=[1, 1, 1])]))\n"
    )
    done = tool("check", "x.py")
    assert done.returncode == 0, done.stderr
    assert "note: train.transforms.0.mean (x.py:4): [0, 0, 0]; the weights were trained with [0.485" in done.stdout
