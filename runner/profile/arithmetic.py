"""How much a run computes, and how much its device could."""

from __future__ import annotations

import re
from time import perf_counter, process_time

import torch
from torch import Tensor, nn

from ...models.summary import flop_counter
from ..evaluate import evaluation_mode
from ..step.forward import DTYPES

# Dense TFLOP/s (without sparsity, which their sheets often quote: twice as much), by the words of a GPU's name.
# NVIDIA's data sheets "V100", "T4", "A100 Tensor Core GPU", "A10", "L4", "L40S", "H100 Tensor Core GPU", "H200 Tensor
# Core GPU". Not every figure was held against its sheet again: a share of a peak is a hint, not a measurement.
PEAKS = {
    "V100 SXM2": dict(fp32=15.7, fp16=125.0),
    "T4": dict(fp32=8.1, fp16=65.0),
    "A100": dict(fp32=19.5, tf32=156.0, bf16=312.0, fp16=312.0),
    "A10": dict(fp32=31.2, tf32=62.5, bf16=125.0, fp16=125.0),
    "L4": dict(fp32=30.3, tf32=60.0, bf16=121.0, fp16=121.0),
    "L40S": dict(fp32=91.6, tf32=183.0, bf16=362.0, fp16=362.0),
    "H100 HBM3": dict(fp32=67.0, tf32=494.5, bf16=989.5, fp16=989.5),
    "H100 PCIe": dict(fp32=51.0, tf32=378.0, bf16=756.5, fp16=756.5),
    "H100 NVL": dict(fp32=60.0, tf32=417.5, bf16=835.5, fp16=835.5),
    "H200": dict(fp32=67.0, tf32=494.5, bf16=989.5, fp16=989.5),
    "H200 NVL": dict(fp32=60.0, tf32=417.5, bf16=835.5, fp16=835.5),
}

_TRIES = 4  # the first is slow: memory is allocated, and a kernel chosen


def training_flops(model: nn.Module, images: Tensor) -> int:
    """The FLOPs of forward and backward, for a batch (N, C, H, W), really computed.

    As FlopCounterMode counts: two for a multiply-add; convolutions, matrix products and attention only. Backward is
    counted for what is trained at present: three times the forward pass if that is all, less if parts are frozen.

    In evaluation mode, so that nothing of the model moves, no gradient either. Auxiliary heads, which work in training
    alone, are therefore left out.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with evaluation_mode(model), torch.enable_grad(), flop_counter() as counter:
        logits = model(images)
        if trained:
            torch.autograd.grad(logits.float().sum(), trained, allow_unused=True)
    return counter.get_total_flops()


def published_peak(name: str, precision: str, tf32: bool) -> float | None:
    """The FLOP/s that a GPU's maker states for a precision; None if the table does not have it.

    Args:
        name: as torch.cuda.get_device_name says.
        tf32: whether fp32 may be computed in TF32, by a GPU that has units for it.
    """
    words = set(re.split(r"[\s-]+", name))
    known = [key for key in PEAKS if set(key.split()) <= words]
    stated = PEAKS[max(known, key=len)] if known else {}
    kind = "tf32" if precision == "fp32" and tf32 and "tf32" in stated else precision
    return stated[kind] * 1e12 if kind in stated else None


def measured_peak(device: torch.device, precision: str) -> float:
    """The FLOP/s of a large matrix product on a device, in the best of a few tries.

    On the CPU by the time that this process computed, so that other programs do not make its peak a smaller one.
    """
    on_cpu = device.type == "cpu"
    clock, threads = (process_time, torch.get_num_threads()) if on_cpu else (perf_counter, 1)
    size = 1024 if on_cpu else 8192
    factor = torch.ones(size, size, dtype=DTYPES[precision], device=device)
    tries = []
    for _ in range(_TRIES):
        began = clock()
        product = factor @ factor
        product[0, 0].item()  # waits for the device
        tries.append(clock() - began)
    return 2 * size**3 * threads / min(tries)


def peak(device: torch.device, precision: str, tf32: bool) -> tuple[float, str]:
    """A device's peak in FLOP/s, and what it is: a stated one if its maker's is known, else what it does here."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        if stated := published_peak(name, precision, tf32):
            return stated, f"{name}'s peak"
    return measured_peak(device, precision), "a matrix product's here"
