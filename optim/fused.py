"""Optimizers that take a step in one kernel instead of several for each parameter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from .wrappers import innermost

# Those that torch has a fused form of both on CUDA and on CPUs.
FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)


def fuse(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Have torch's own optimizers use their fused form, unless the config decides (`fused`, `foreach`).

    It rounds otherwise than the plain form. A run that resumes goes on in the form that its checkpoint has, for that is
    among the settings of the optimizer's groups.

    What torch's fused forms take for granted is seen to, also where a config asks for them (torch 2.6 to 2.15):

    * All parameters get their first gradient in the same step, and fp16's scaler does not leave that step out. SGD with
      momentum fails otherwise, as when something thaws, or goes on with whatever was in memory.
    * The optimizer's state lies in memory as its parameters do. On a CPU the result is wrong otherwise, without a word.
    """
    optimizer = innermost(optimizer)
    defaults = optimizer.defaults
    if type(optimizer) not in FUSED:
        return
    is_open = defaults["fused"] is None and defaults["foreach"] is None and not defaults["differentiable"]
    # A first gradient that comes later would be damped, where the plain form takes it whole.
    if is_open and device.type in ("cpu", "cuda") and not defaults.get("dampening"):
        for settings in (defaults, *optimizer.param_groups):
            settings["fused"] = True
        # As the constructor does: fp16's scaler need then not ask the device whether to take a step.
        optimizer._step_supports_amp_scaling = True  # pyright: ignore[reportAttributeAccessIssue]
    optimizer.register_load_state_dict_post_hook(_lay_out)
    if defaults.get("momentum"):
        _Begin(optimizer)


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        if group["fused"]:
            yield from group["params"]


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Give each tensor of the state the memory order of its parameter."""
    for parameter in _parameters(optimizer):
        state = optimizer.state.get(parameter, {})
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


class _Begin:
    """Before each step, momentum to begin with for parameters that get their first gradient: zero, which comes to the
    same. Until all have it."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.handle = optimizer.register_step_pre_hook(self)

    def __call__(self, optimizer: torch.optim.Optimizer, _arguments: Any, _options: Any) -> None:
        waiting = [each for each in _parameters(optimizer) if "momentum_buffer" not in optimizer.state.get(each, {})]
        for parameter in waiting:
            if parameter.grad is not None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        if not waiting:
            self.handle.remove()
