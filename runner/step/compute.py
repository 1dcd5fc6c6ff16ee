"""How a run computes: precision, compilation and memory order, and what "auto" stands for on the device at hand."""

from __future__ import annotations

import logging
import platform
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .allocator import keep_freed_memory
from .forward import DTYPES, MEMORY_FORMATS, Forward

if TYPE_CHECKING:
    from ...registry import Experiment

logger = logging.getLogger("knoll")

# Compiling a network takes about a minute and saves some hundredths of a second in a step.
LEAST_STEPS = 2000
# What "auto" may have become.
_POSSIBLE = dict(precision=[*DTYPES], memory_format=[*MEMORY_FORMATS], compile=[False, True])


def build_forward(
    experiment: Experiment, model: nn.Module, device: torch.device, steps: int, before: Mapping[str, Any] | None = None
) -> Forward:
    """The forward pass that an experiment asks for, of a model on its device; what "auto" has become is told, with the
    reason.

    It also sets what holds for the whole process: TF32, and that freed memory is kept.

    Args:
        steps: of the whole run; 0 if nothing is trained.
        before: what a checkpoint was computed with. On a device of the same kind its choices hold, whatever would be
            chosen now; on another they are made anew.
    """
    if device.type == "cuda":
        _set_tf32(experiment.tf32)
    if device.type == "cpu" and experiment.keep_freed_memory:
        keep_freed_memory()
    settled: dict[str, Any] = {}
    told = []
    for name, choose in _CHOICES.items():
        settled[name] = getattr(experiment, name)
        if settled[name] == "auto":
            kept = _kept(before or {}, name, device)
            value, reason = choose(model, device, steps, settled) if kept is None else (kept, "as in the checkpoint")
            settled[name] = value
            told.append(f"{name} {value} ({reason})")
        elif name == "precision":
            _warn_if_slow(settled[name], device)
    if told:
        logger.info("auto: %s", ", ".join(told))
    return Forward(model, **settled)


def _kept(before: Mapping[str, Any], name: str, device: torch.device) -> Any:
    """What a checkpoint's run has chosen on such a device, or None."""
    same = (before.get("device") == "cpu") == (device.type == "cpu")  # accelerators are told by their names
    return before[name] if same and before.get(name) in _POSSIBLE[name] else None


# --- what is fast ----------------------------------------------------------------------------------------------------


def _choose_precision(model: nn.Module, device: torch.device, _steps: int, _settled: Mapping) -> tuple[str, str]:
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "the device computes in it"
        if torch.cuda.get_device_capability(device) >= (7, 0):
            return "fp16", "the device has units for it, and none for bf16"
        return "fp32", "the device has no units for less"
    if device.type != "cpu":
        return "fp32", f"nothing else has been measured on {device.type}"
    if not computes_in("bf16"):
        return "fp32", "this CPU has no units for bf16"
    if not _is_convolutional(model):
        return "fp32", "not a convolutional network"
    if any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in model.modules()):
        return "fp32", "grouped convolutions are slower in bf16"
    return "bf16", "this CPU has units for it"


def _choose_memory_format(
    model: nn.Module, device: torch.device, _steps: int, settled: Mapping[str, Any]
) -> tuple[str, str]:
    if not _is_convolutional(model):
        return "contiguous", "not a convolutional network"
    if device.type == "cpu":
        return "channels_last", "convolutions on a CPU"
    if device.type == "cuda" and settled["precision"] != "fp32":
        return "channels_last", f"convolutions in {settled['precision']}"
    return "contiguous", f"convolutions in {settled['precision']} on {device.type}"


def _choose_compile(
    _model: nn.Module, device: torch.device, steps: int, _settled: Mapping[str, Any]
) -> tuple[bool, str]:
    if device.type != "cuda":
        return False, f"gains nothing on {device.type}"
    if steps < LEAST_STEPS:
        return False, f"takes longer than it saves in fewer than {LEAST_STEPS:,} steps"
    if not _has_triton():
        return False, "Triton is not installed"
    return True, f"{steps:,} steps"


# In this order: a choice may depend on those before it.
_CHOICES = dict(precision=_choose_precision, memory_format=_choose_memory_format, compile=_choose_compile)


def _is_convolutional(model: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) for module in model.modules())


def _has_triton() -> bool:
    from torch.utils._triton import has_triton

    return has_triton()


def computes_in(precision: str) -> bool:
    """Whether this CPU has instructions for bf16 or fp16; without, they are imitated."""
    if precision == "fp32":
        return True
    on_x86 = platform.machine().lower() in ("x86_64", "amd64")
    if precision == "bf16" and on_x86:  # for bf16 oneDNN says yes to every AVX-512
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, name, bool)() for name in checks)
    return bool(getattr(torch.ops.mkldnn, f"_is_mkldnn_{precision}_supported")())


def _warn_if_slow(precision: str, device: torch.device) -> None:
    if device.type == "cpu" and not computes_in(precision):
        logger.warning(
            "precision=%r: this CPU has no units for it and imitates them, which made steps of ResNet-18 up to 30 "
            "times as long as in fp32; 'auto' takes what is faster",
            precision,
        )


# --- what holds for the process --------------------------------------------------------------------------------------


def _set_tf32(on: bool) -> None:
    with warnings.catch_warnings():
        # torch 2.9 and 2.10 announce other settings; once those are used, reading these is an error, and torch's own
        # code and others' does read them.
        warnings.simplefilter("ignore")
        torch.set_float32_matmul_precision("high" if on else "highest")
        torch.backends.cudnn.allow_tf32 = on
