"""FLOPs of training against formulas, and the peaks of devices."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from knoll.runner.profile import arithmetic
from knoll.runner.profile.arithmetic import measured_peak, published_peak, training_flops


def test_linear_layers_by_formula():
    """Forward: one product a layer. Backward: one for its weights, one for its inputs, if those need a gradient."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 5))
    images, first, second = torch.ones(4, 3, 2, 2), 2 * 4 * 12 * 7, 2 * 4 * 7 * 5
    assert training_flops(model, images) == 2 * first + 3 * second
    model[1].requires_grad_(False)
    assert training_flops(model, images) == first + 2 * second
    model[3].requires_grad_(False)
    assert training_flops(model, images) == first + second


def test_resnet18_by_what_torchvision_publishes():
    published = 2e9 * torchvision.models.ResNet18_Weights.IMAGENET1K_V1.value.meta["_ops"]
    first = 2 * 64 * 112 * 112 * 3 * 7 * 7  # of all layers the only one whose input needs no gradient
    counted = training_flops(torchvision.models.resnet18(), torch.zeros(1, 3, 224, 224))
    assert counted == pytest.approx(3 * published - first, rel=1e-3)


def test_nothing_of_the_model_moves():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(64, 2))
    model[1].eval()
    parameter = next(model.parameters())
    parameter.grad = torch.full_like(parameter, 7.0)
    before, drawn = {name: each.clone() for name, each in model.state_dict().items()}, torch.get_rng_state()
    training_flops(model, torch.ones(1, 3, 6, 6))
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert [each.training for each in model] == [True, False, True, True, True]
    assert (parameter.grad == 7).all()
    assert all(each.grad is None for each in list(model.parameters())[1:])


@pytest.mark.parametrize(
    ("name", "precision", "expected"),
    [  # from NVIDIA's data sheets, without sparsity
        ("NVIDIA A100-SXM4-80GB", "bf16", 312e12),
        ("NVIDIA A100-PCIE-40GB", "fp32", 19.5e12),
        ("NVIDIA H100 80GB HBM3", "fp16", 989.5e12),
        ("NVIDIA H100 PCIe", "bf16", 756.5e12),
        ("NVIDIA H200 NVL", "bf16", 835.5e12),
        ("NVIDIA H200", "bf16", 989.5e12),
        ("Tesla V100-SXM2-16GB", "fp16", 125e12),
        ("Tesla T4", "fp32", 8.1e12),
        ("Tesla T4", "bf16", None),  # it has no units for it
        ("NVIDIA A10G", "bf16", None),  # no A10
        ("Tesla V100-PCIE-16GB", "fp16", None),
        ("NVIDIA GeForce RTX 4090", "bf16", None),
    ],
)
def test_published_peaks_go_by_whole_words_of_the_name(name, precision, expected):
    assert published_peak(name, precision, tf32=False) == expected


def test_fp32_may_be_tf32():
    assert published_peak("NVIDIA A100-SXM4-80GB", "fp32", tf32=True) == 156e12
    assert published_peak("NVIDIA A100-SXM4-80GB", "bf16", tf32=True) == 312e12
    assert published_peak("Tesla T4", "fp32", tf32=True) == 8.1e12  # it has no units for it


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_measured_peak_is_the_best_of_several_tries(monkeypatch, precision):
    """By a clock of the test's own: of four tries the third took 0.1 seconds of three threads together."""
    ticks = iter([0.0, 0.3, 1.0, 1.2, 2.0, 2.1, 3.0, 3.4])
    monkeypatch.setattr(arithmetic, "process_time", lambda: next(ticks))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    found = measured_peak(torch.device("cpu"), precision)
    assert found == pytest.approx(2 * 1024**3 / (0.1 / 3))
    assert next(ticks, None) is None
