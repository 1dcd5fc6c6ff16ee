"""The same weights give the same numbers here and in torchvision; and the published numbers of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from knoll.models.classifier import ImageClassifier
from knoll.models.weights import load_weights

RESNETS = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
VGGS = ["vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg16_bn"]


def ours(name: str, hidden: Sequence[int] = (4096, 4096)) -> ImageClassifier:
    """Knoll's model for a name of torchvision's, for ImageNet's 1000 classes; `hidden` is for VGG's head."""
    if name.startswith("resnet"):
        backbone: dict[str, Any] = dict(type="ResNet", depth=int(name.removeprefix("resnet")))
        return ImageClassifier(backbone, dict(type="LinearHead", num_classes=1000))
    depth = int(name.removeprefix("vgg").removesuffix("_bn"))
    backbone = dict(type="VGG", depth=depth, batch_norm=name.endswith("_bn"))
    return ImageClassifier(backbone, dict(type="MLPHead", num_classes=1000, hidden=hidden))


def pair(name: str) -> tuple[ImageClassifier, nn.Module]:
    """Our model and torchvision's, with the same random weights."""
    torch.manual_seed(0)
    with torch.device("meta"):
        model = ours(name, hidden=(64, 64))
        theirs = getattr(torchvision.models, name)()
    if name.startswith("vgg"):
        # Narrow layers in place of its two of 4096, which have 120 million weights: test_state_dict compares those.
        theirs.classifier[0] = nn.Linear(512 * 7 * 7, 64)
        theirs.classifier[3] = nn.Linear(64, 64)
        theirs.classifier[6] = nn.Linear(64, 1000)
    theirs.to_empty(device="cpu")
    with torch.no_grad():
        for key, value in theirs.state_dict().items():
            if key.endswith("num_batches_tracked"):
                value.zero_()
            elif value.ndim > 1:
                nn.init.kaiming_uniform_(value, nonlinearity="relu")
            else:  # biases, scales, running means and variances
                value.uniform_(0.5, 1.5)
    model.to_empty(device="cpu")
    load_weights(model, theirs.state_dict())
    return model, theirs


def run(model: nn.Module, images: Tensor) -> Tensor:
    torch.manual_seed(1)  # for dropout
    return model(images)


@pytest.mark.parametrize("name", RESNETS + VGGS)
def test_logits(name: str) -> None:
    model, theirs = pair(name)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        for training in (False, True):
            logits = run(model.train(training), images)
            assert logits.shape == (2, 1000)
            assert logits.std() > 0
            torch.testing.assert_close(logits, run(theirs.train(training), images), atol=1e-5, rtol=1e-5)
    # The forward pass in training mode has moved the running statistics of both.
    buffers = dict(theirs.named_buffers())
    for key, value in model.named_buffers():
        torch.testing.assert_close(value, buffers[key.removeprefix("backbone.")])


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn"])
def test_gradients(name: str) -> None:
    model, theirs = pair(name)
    images, labels = torch.randn(2, 3, 64, 64), torch.tensor([3, 141])
    for each in (model, theirs):
        nn.functional.cross_entropy(run(each.train(), images), labels).backward()
    expected = {key: parameter.grad for key, parameter in theirs.named_parameters()}
    for key, parameter in model.named_parameters():
        grad = expected.pop(key.removeprefix("backbone.").removeprefix("head."))
        torch.testing.assert_close(parameter.grad, grad, atol=1e-5, rtol=1e-4)
    assert expected == {}


def test_resnet_at_full_size() -> None:
    model, theirs = pair("resnet18")
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images), theirs.eval()(images), atol=1e-5, rtol=1e-5)


# From the table of weights in torchvision's documentation.
PUBLISHED = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "vgg11": 132_863_336,
    "vgg11_bn": 132_868_840,
    "vgg13": 133_047_848,
    "vgg13_bn": 133_053_736,
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "vgg19": 143_667_240,
    "vgg19_bn": 143_678_248,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_state_dict(name: str) -> None:
    with torch.device("meta"):
        model, theirs = ours(name), getattr(torchvision.models, name)()
    shapes = {key.removeprefix("backbone.").removeprefix("head."): v.shape for key, v in model.state_dict().items()}
    assert shapes == {key: value.shape for key, value in theirs.state_dict().items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        model = ours(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED[name]
    [weights] = [entry for entry in torchvision.models.get_model_weights(name) if entry.name == "IMAGENET1K_V1"]
    assert weights.meta["num_params"] == PUBLISHED[name]
