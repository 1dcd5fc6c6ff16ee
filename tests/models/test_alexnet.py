"""AlexNet as in the paper of 2012. The other variant is compared with torchvision's in test_parity.py."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from knoll.models.backbones.alexnet import AlexNet
from knoll.models.classifier import ImageClassifier


def test_the_maps_have_the_sizes_of_figure_2() -> None:
    with torch.device("meta"):
        backbone = AlexNet(paper=2012)
        x, neurons = torch.zeros(1, 3, 224, 224), []
        for layer in backbone.features:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                neurons.append(x.numel())
    # The figure prints 253,440 for the first, which 96 maps cannot make up; 55 x 55 leads to those behind it.
    assert neurons == [96 * 55 * 55, 186_624, 64_896, 64_896, 43_264]
    assert x.shape == (1, 256, 6, 6)


def test_parameters_of_2012() -> None:
    """Section 3.5: the second convolution has kernels of 5x5x48, the fourth and fifth of 3x3x192."""
    convolutions = [(96, 11 * 11 * 3), (256, 5 * 5 * 48), (384, 3 * 3 * 256), (384, 3 * 3 * 192), (256, 3 * 3 * 192)]
    layers = [*convolutions, (4096, 6 * 6 * 256), (4096, 4096), (1000, 4096)]
    with torch.device("meta"):
        model = ImageClassifier(dict(type="AlexNet", paper=2012), dict(type="MLPHead", num_classes=1000, pool=6))
    assert sum(parameter.numel() for parameter in model.parameters()) == sum(n * (inputs + 1) for n, inputs in layers)


def test_maps_of_one_card_do_not_see_those_of_the_other() -> None:
    torch.manual_seed(0)
    second, third, fourth, fifth = [layer for layer in AlexNet(paper=2012).features if isinstance(layer, nn.Conv2d)][1:]
    for convolution, divided in ((second, True), (third, False), (fourth, True), (fifth, True)):
        x = torch.randn(1, convolution.in_channels, 9, 9)
        changed = x.clone()
        changed[:, convolution.in_channels // 2 :] += 1
        difference = (convolution(changed) - convolution(x)).abs().amax(dim=(0, 2, 3))
        half = convolution.out_channels // 2
        assert (difference[half:] > 0).all()
        assert (difference[:half] == 0).all() == divided


def response_normalization(a: Tensor) -> Tensor:
    """The formula of section 3.3, map by map."""
    k, n, alpha, beta = 2, 5, 1e-4, 0.75
    maps = a.shape[1]
    b = torch.empty_like(a)
    for i in range(maps):
        neighbours = a[:, max(0, i - n // 2) : min(maps - 1, i + n // 2) + 1]
        b[:, i] = a[:, i] / (k + alpha * neighbours.square().sum(dim=1)) ** beta
    return b


def test_response_normalization() -> None:
    layers = list(AlexNet(paper=2012).features)
    places = [index for index, layer in enumerate(layers) if isinstance(layer, nn.LocalResponseNorm)]
    assert [type(layers[index - 1]) for index in places] == [nn.ReLU, nn.ReLU]
    assert [type(layers[index + 1]) for index in places] == [nn.MaxPool2d, nn.MaxPool2d]
    a = torch.rand(2, 96, 3, 3) * 100  # so large that the sum of squares counts
    for index in places:
        torch.testing.assert_close(layers[index](a), response_normalization(a))


def test_initialisation_of_2012() -> None:
    """Section 5."""
    torch.manual_seed(0)
    convolutions = [layer for layer in AlexNet(paper=2012).features if isinstance(layer, nn.Conv2d)]
    for convolution, bias in zip(convolutions, [0, 1, 0, 1, 1], strict=True):
        assert convolution.weight.std().item() == pytest.approx(0.01, rel=0.02)
        assert convolution.bias is not None
        assert (convolution.bias == bias).all()
