from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from knoll.models.backbones.lenet import LeNet5
from knoll.models.summary import Row, summarize


def by_name(model: nn.Module, *shape: int) -> dict[str, Row]:
    return {row.name: row for row in summarize(model, torch.zeros(*shape))}


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "vit_b_16"])
def test_totals_are_the_published_ones(name: str) -> None:
    """torchvision publishes multiply-adds in units of a thousand million, for the size its weights were trained at."""
    published = next(iter(torchvision.models.get_model_weights(name))).meta
    whole = summarize(getattr(torchvision.models, name)(), torch.zeros(1, 3, 224, 224))[0]
    assert whole.parameters == published["num_params"]
    assert whole.flops / 2e9 == pytest.approx(published["_ops"], abs=0.0005)


def test_resnet18_as_torchvision_prints_it() -> None:
    whole = summarize(torchvision.models.resnet18(), torch.zeros(1, 3, 224, 224))[0]
    assert whole.parameters == 11_689_512
    assert round(whole.flops / 2e9, 3) == 1.814


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "swin_tiny_patch4_window7_224"])
def test_totals_of_timm_models(name: str) -> None:
    model = timm.create_model(name).eval()
    images = torch.zeros(2, 3, 224, 224)
    rows = summarize(model, images)
    assert rows[0].parameters == sum(each.numel() for each in model.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    assert rows[0].flops == counter.get_total_flops()
    assert [row.name for row in rows] == [name for name, _ in model.named_modules()]


def test_a_vision_transformer_by_formula() -> None:
    tokens, width, blocks, patch = 196 + 1, 192, 12, 16
    of_tokens = 12 * width * width * tokens  # q, k, v and the projection: 4; the two layers of the MLP: 4 each
    attention = 2 * tokens * tokens * width  # q times k, and the weights times v
    multiply_adds = blocks * (of_tokens + attention) + 196 * 3 * patch * patch * width + width * 1000
    rows = by_name(timm.create_model("vit_tiny_patch16_224"), 1, 3, 224, 224)
    assert rows[""].flops == 2 * multiply_adds
    assert rows["blocks.0"].flops == 2 * (of_tokens + attention)
    assert rows["blocks.0"].shape == "(1, 197, 192)"


def test_rows_of_lenet_by_formula() -> None:
    rows = by_name(LeNet5(), 3, 1, 28, 28)
    expected = {  # parameters, multiply-adds for one image, shape
        "c1": ((25 + 1) * 6, 28 * 28 * 6 * 25, "(3, 6, 28, 28)"),
        "s2": (0, 0, "(3, 6, 14, 14)"),
        "c3": ((6 * 25 + 1) * 16, 10 * 10 * 16 * 6 * 25, "(3, 16, 10, 10)"),
        "c5": ((16 * 25 + 1) * 120, 120 * 16 * 25, "(3, 120, 1, 1)"),
        "f6": ((120 + 1) * 84, 120 * 84, "(3, 84)"),
    }
    for name, (parameters, multiply_adds, shape) in expected.items():
        assert (rows[name].parameters, rows[name].flops, rows[name].shape) == (parameters, 3 * 2 * multiply_adds, shape)
    assert rows[""].parameters == sum(each[0] for each in expected.values())
    assert rows[""].flops == 6 * sum(each[1] for each in expected.values())


def test_activations_are_what_the_backward_pass_needs() -> None:
    # Each Linear keeps its input; the ReLU keeps its output, which is the second one's input.
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    rows = by_name(model, 5, 4)
    assert rows[""].activations == 4 * (5 * 4 + 5 * 8)
    assert rows["0"].activations == 4 * 5 * 4
    assert rows["1"].activations == 4 * 5 * 8
    assert rows["2"].activations == 0


def test_activations_of_what_is_changed_in_place() -> None:
    # BatchNorm keeps its input, the ReLU its output; in place or not, BatchNorm's own output is not kept as well.
    for inplace in (False, True):
        model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=inplace))
        assert by_name(model, 2, 3, 6, 6)[""].activations == 4 * 2 * 6 * 6 * (3 + 8 + 8)


def test_what_does_not_need_a_gradient_is_not_kept() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)).requires_grad_(False)
    assert by_name(model, 5, 4)[""].activations == 0


class Odd(nn.Module):
    """A layer used twice, a weight shared by two layers, a layer never used, a product between layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)
        self.first_tied = nn.Linear(4, 4, bias=False)
        self.first_tied.weight = self.first.weight
        self.unused = nn.Linear(4, 3)
        self.listed = nn.ModuleList([nn.Linear(4, 4, bias=False)])
        self.matrix = nn.Parameter(torch.zeros(4, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.listed[0](self.first_tied(self.first(self.first(x)))) @ self.matrix


def test_odd_models() -> None:
    rows = by_name(Odd(), 1, 4)
    flops = {name: row.flops for name, row in rows.items()}
    once = 2 * 4 * 4
    assert flops == {
        "first": 2 * once,
        "first_tied": once,
        "unused": 0,
        "listed": once,
        "listed.0": once,
        "": 4 * once + 2 * 4 * 2,
    }
    parameters = {name: row.parameters for name, row in rows.items()}
    assert parameters == {
        "first": 16,
        "first_tied": 0,
        "unused": 15,
        "listed": 16,
        "listed.0": 16,
        "": 16 + 15 + 16 + 8,
    }
    assert rows["unused"].shape == rows["listed"].shape == ""


def test_several_outputs() -> None:
    assert by_name(nn.LSTM(3, 5), 7, 2, 3)[""].shape == "(7, 2, 5) + (1, 2, 5) + (1, 2, 5)"


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.Dropout(0.5)))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    summarize(model, torch.randn(2, 3, 4, 4))
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert all(parameter.grad is None for parameter in model.parameters())
