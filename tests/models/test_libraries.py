"""timm's and torchvision's models by name: whole, and as backbones."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision

from knoll.models.classifier import ImageClassifier
from knoll.models.weights import load_weights
from knoll.registry import BACKBONES, MODELS, ConfigError, config_from_dict
from knoll.registry.check import check

HEAD = dict(type="LinearHead", num_classes=7)

# One of each of twenty families, the smallest that there is.
TIMM = [
    "resnet18",
    "mobilenetv2_035",
    "mobilenetv3_small_050",
    "efficientnet_lite0",
    "convnext_atto",
    "regnetx_002",
    "densenet121",
    "nf_resnet26",
    "resnext50_32x4d",
    "seresnet18",
    "dla34",
    "ghostnet_050",
    "repvgg_a0",
    "vit_tiny_patch16_224",
    "deit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "mixer_s32_224",
    "poolformer_s12",
    "levit_128s",
    "edgenext_xx_small",
]
FIXED_SIZE = [
    "vit_tiny_patch16_224",
    "deit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "mixer_s32_224",
    "levit_128s",
]


@pytest.mark.parametrize("name", TIMM)
def test_timm_models_train_a_step_and_their_checkpoints_come_back(name: str) -> None:
    torch.manual_seed(0)
    config = dict(type="ImageClassifier", backbone=dict(type=f"timm/{name}"), head=HEAD)
    model = MODELS.build(config)
    side = model.backbone.example_shape[1] if name in FIXED_SIZE else 64
    images = torch.randn(2, 3, side, side)
    logits = model(images)
    assert logits.shape == (2, 7)
    logits.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())

    torch.save(model.state_dict(), "x.pth")
    again = MODELS.build(config)
    total = len(model.state_dict())
    assert load_weights(again, "x.pth").lines[1] == f"  matched {total} of {total} tensors"
    with torch.no_grad():
        assert torch.equal(again.eval()(images), model.eval()(images))


TORCHVISION = ["alexnet", "densenet121", "efficientnet_b0", "googlenet", "mnasnet0_5", "mobilenet_v2"]
TORCHVISION += ["mobilenet_v3_small", "regnet_x_400mf", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1"]
TORCHVISION += ["swin_t", "vgg11", "vit_b_32", "convnext_tiny", "inception_v3"]


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_torchvision_backbone_with_a_head_is_torchvisions_model(name: str) -> None:
    torch.manual_seed(0)
    whole = MODELS.build(dict(type=f"torchvision/{name}"))
    assert isinstance(whole, type(torchvision.models.get_model(name, weights=None)))
    backbone = dict(type=f"torchvision/{name}")
    model = ImageClassifier(backbone, dict(type="LinearHead", num_classes=1000))
    # SqueezeNet's last layer is a convolution with a ReLU behind it: features come before, so the logits differ.
    assert load_weights(model, whole.state_dict()).lines[1] == "  matched {0} of {0} tensors".format(
        len(whole.state_dict())
    )
    images = torch.randn(2, *model.backbone.example_shape)
    with torch.no_grad():
        ours, theirs = model.eval()(images), whole.eval()(images)
    if name != "squeezenet1_1":
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert ours.shape == theirs.shape


def test_a_timm_backbone_with_a_head_is_timms_model() -> None:
    whole = MODELS.build(dict(type="timm/mobilenetv3_small_050", num_classes=1000))
    model = ImageClassifier(dict(type="timm/mobilenetv3_small_050"), dict(type="LinearHead", num_classes=1000))
    load_weights(model, whole.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images), whole.eval()(images))


def test_every_name_of_both_libraries_is_there() -> None:
    names = set(BACKBONES.list(sources=True))
    assert {f"timm/{name}" for name in timm.list_models()} < names
    assert {f"torchvision/{name}" for name in torchvision.models.list_models(module=torchvision.models)} < names


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (dict(type="timm/resnet34x"), "Did you mean `timm/resnet34`"),
        (dict(type="torchvision/mobilenetv2"), "Did you mean `torchvision/mobilenet_v2`"),
        (dict(type="timm/resnet34", drop_ratee=0.1), "unknown key. Did you mean `drop_rate`"),
        (dict(type="timm/resnet34", drop_rate="x"), "expected a number, got 'x' (str)."),
        (dict(type="torchvision/mobilenet_v2", width_mlt=1.0), "unknown key. Did you mean `width_mult`?"),
        (dict(type="timm/resnet34", pretrained=True), "at the top of the config, where every model's weights are: "),
        (dict(type="timm/resnet34", pretrained=True), "weights='timm/resnet34.a1_in1k'"),
        (
            dict(type="torchvision/resnet34", pretrained=True),
            "weights='torchvision/ResNet34_Weights.IMAGENET1K_V1'",
        ),
    ],
)
def test_mistakes_are_found_before_anything_is_built(tiny, backbone: dict, message: str) -> None:
    tiny["model"]["backbone"] = backbone
    problems = [str(problem) for problem in check(config_from_dict(tiny))]
    assert message in problems[0], problems
    assert len(problems) == 1, problems
    with pytest.raises((ConfigError, KeyError)):
        BACKBONES.build(backbone)


def test_pretrained_false_is_what_it_is_anyway() -> None:
    assert BACKBONES.build(dict(type="timm/resnet18", pretrained=False)).num_features == 512
