"""The same weights give the same numbers here and in torchvision: logits, losses, gradients, running statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from knoll.models.classifier import ImageClassifier
from knoll.models.outputs import Outputs
from knoll.models.weights import load_weights

RESNETS = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
VGGS = ["vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"]
NAMES = ["alexnet", *VGGS, "googlenet", *RESNETS]
COLUMNS = {"vgg11": "A", "vgg13": "B", "vgg16": "D", "vgg19": "E"}


def ours(name: str, hidden: Sequence[int] = (4096, 4096)) -> ImageClassifier:
    """Knoll's model for a name of torchvision's, for ImageNet's 1000 classes; `hidden` is for AlexNet's and VGG's."""
    linear: dict[str, Any] = dict(type="LinearHead", num_classes=1000)
    mlp: dict[str, Any] = dict(type="MLPHead", num_classes=1000, hidden=hidden)
    if name.startswith("resnet"):
        return ImageClassifier(dict(type="ResNet", depth=int(name.removeprefix("resnet"))), linear)
    if name == "googlenet":
        auxiliary = dict(type="GoogLeNetAuxiliaryHead", num_classes=1000)
        return ImageClassifier(dict(type="GoogLeNet"), linear | dict(dropout=0.2), auxiliary)
    if name == "alexnet":
        return ImageClassifier(dict(type="AlexNet"), mlp | dict(pool=6, dropout_first=True))
    backbone = dict(type="VGG", column=COLUMNS[name.removesuffix("_bn")], batch_norm=name.endswith("_bn"))
    return ImageClassifier(backbone, mlp)


def torchvisions(name: str) -> nn.Module:
    options = dict(aux_logits=True, init_weights=False) if name == "googlenet" else {}
    return getattr(torchvision.models, name)(**options)


def own_key(key: str) -> str:
    """A name in torchvision's state dict for one in ours."""
    return key.removeprefix("backbone.").removeprefix("head.").removeprefix("auxiliary.")


def pair(name: str) -> tuple[ImageClassifier, nn.Module]:
    """Our model and torchvision's, with the same random weights."""
    torch.manual_seed(0)
    with torch.device("meta"):
        model, theirs = ours(name, hidden=(64, 64)), torchvisions(name)
    # Narrow layers in place of two of 4096, which have up to 120 million weights: test_state_dict compares those.
    if hasattr(theirs, "classifier"):
        first, second, last = [at for at, layer in enumerate(theirs.classifier) if isinstance(layer, nn.Linear)]
        theirs.classifier[first] = nn.Linear(theirs.classifier[first].in_features, 64)
        theirs.classifier[second] = nn.Linear(64, 64)
        theirs.classifier[last] = nn.Linear(64, 1000)
    theirs.to_empty(device="cpu")
    normalizations = [module for module in theirs.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for key, parameter in theirs.named_parameters():
            if parameter.ndim > 1:
                nn.init.kaiming_uniform_(parameter, nonlinearity="relu")
            else:
                parameter.uniform_(-0.5, 0.5).add_(1 if key.endswith("weight") else 0)
        # Statistics that fit the weights: with others, signals would die or explode on the way in evaluation.
        for each in normalizations:
            each.reset_running_stats()
            each.momentum = None
        theirs.train()(images_for(name))
        for each in normalizations:
            each.momentum = 0.1
    model.to_empty(device="cpu")
    load_weights(model, theirs.state_dict())
    return model, theirs


def images_for(name: str, dtype: torch.dtype = torch.float32) -> Tensor:
    """Two, as small as leaves a batch normalisation at least eight numbers."""
    size = 32 if name.startswith("vgg") else 64
    return torch.randn(2, 3, size, size, dtype=dtype)


def run(model: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
    """The logits; in training those of the auxiliary heads behind them."""
    torch.manual_seed(1)  # for dropout
    outputs = model(images)
    if isinstance(outputs, Outputs):
        return outputs.logits, *outputs.auxiliary
    if isinstance(outputs, tuple):  # torchvision's GoogLeNet: the second auxiliary head comes before the first
        return outputs.logits, outputs.aux_logits1, outputs.aux_logits2
    return (outputs,)


@pytest.mark.parametrize("name", NAMES)
def test_logits(name: str) -> None:
    model, theirs = pair(name)
    images = images_for(name)
    with torch.no_grad():
        for training in (False, True):
            logits, expected = run(model.train(training), images), run(theirs.train(training), images)
            assert len(logits) == (3 if name == "googlenet" and training else 1)
            for each, other in zip(logits, expected, strict=True):
                assert each.shape == (2, 1000)
                assert 0.1 < (other[0] - other[1]).abs().max() < 100
                torch.testing.assert_close(each, other, atol=1e-5, rtol=0)
    # The forward pass in training mode has moved the running statistics of both.
    buffers = dict(theirs.named_buffers())
    for key, value in model.named_buffers():
        torch.testing.assert_close(value, buffers[own_key(key)])


@pytest.mark.parametrize("name", NAMES)
def test_losses_and_gradients(name: str) -> None:
    """In double precision: what differs then differs by more than the order of adding up."""
    model, theirs = pair(name)
    images, labels = images_for(name, torch.float64), torch.tensor([3, 141])
    losses = []
    for each in (model, theirs):
        logits, *auxiliary = run(each.double().train(), images)
        loss = nn.functional.cross_entropy(logits, labels)
        loss = loss + 0.3 * sum(nn.functional.cross_entropy(other, labels) for other in auxiliary)
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    expected = {key: parameter.grad for key, parameter in theirs.named_parameters()}
    for key, parameter in model.named_parameters():
        grad = expected.pop(own_key(key))
        assert grad is not None
        torch.testing.assert_close(parameter.grad, grad, atol=1e-10 * grad.abs().max().item(), rtol=1e-9)
    assert expected == {}


@pytest.mark.parametrize("name", ["alexnet", "googlenet", "resnet18"])
def test_at_full_size(name: str) -> None:
    model, theirs = pair(name)
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images), theirs.eval()(images), atol=1e-5, rtol=0)


def test_transform_input() -> None:
    model, theirs = pair("googlenet")
    images = images_for("googlenet")
    with torch.no_grad():
        plain = model.eval()(images)
        model.backbone.transform_input = theirs.transform_input = True
        torch.testing.assert_close(model(images), theirs.eval()(images), atol=1e-5, rtol=0)
        assert (model(images) - plain).abs().max() > 0.5


@pytest.mark.parametrize("name", NAMES)
def test_state_dict(name: str) -> None:
    with torch.device("meta"):
        model, theirs = ours(name), torchvisions(name)
    shapes = {own_key(key): value.shape for key, value in model.state_dict().items()}
    assert shapes == {key: value.shape for key, value in theirs.state_dict().items()}
