"""AirBench: what the paper says of its layers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from knoll.models.backbones.airbench import AirBench
from knoll.registry import ConfigError


def test_a_block_begins_as_the_identity_on_the_channels_that_it_has():
    block = AirBench().block2
    x = torch.randn(2, 64, 8, 8)
    torch.testing.assert_close(block.conv1(x)[:, :64], x)
    assert float(block.conv1.weight[64:].detach().std()) > 0.01
    y = torch.randn(2, 256, 4, 4)
    torch.testing.assert_close(block.conv2(y), y)


def test_shapes_and_what_is_trained():
    model = AirBench()
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 256, 1, 1)
    fixed = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    scales = [f"block{block}.norm{number}.weight" for block in (1, 2, 3) for number in (1, 2)]
    assert fixed == ["whiten.weight", *scales]


def test_as_the_layers_of_the_paper():
    """In evaluation mode, with running statistics that are not 0 and 1, written out by functions."""
    torch.manual_seed(0)
    model = AirBench(widths=[8, 16, 12]).eval()
    images = torch.randn(2, 3, 32, 32)
    state = model.state_dict()
    for name, value in state.items():
        if "running" in name or name.endswith(".bias"):
            value.uniform_(0.5, 1.5)
    x = F.gelu(F.conv2d(images, state["whiten.weight"], state["whiten.bias"]))
    assert x.shape == (2, 24, 31, 31)
    for block in ("block1", "block2", "block3"):
        for number in (1, 2):
            x = F.conv2d(x, state[f"{block}.conv{number}.weight"], padding=1)
            x = F.max_pool2d(x, 2) if number == 1 else x
            norm = f"{block}.norm{number}"
            mean, variance = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
            shift = state[f"{norm}.bias"]
            x = F.gelu((x - mean[:, None, None]) / variance[:, None, None].sqrt() + shift[:, None, None])
    torch.testing.assert_close(model(images), F.max_pool2d(x, 3) / 9, rtol=1e-4, atol=1e-5)


def test_mistakes():
    with pytest.raises(ConfigError, match="three widths"):
        AirBench(widths=[64, 256])
