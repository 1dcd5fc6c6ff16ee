"""Where the computation happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..registry import HOOKS, ConfigError
from .hook import Hook

if TYPE_CHECKING:
    from ..runner import Runner


@HOOKS.register_module()
class DevicePlacement(Hook):
    """Puts the model, and every batch, on a device. Without this hook everything stays on the CPU.

    Args:
        device: "auto" (an accelerator if there is one), or as torch writes it: "cpu", "cuda", "cuda:1", "mps". Of
            several processes on a machine each has a CUDA device of its own, by "auto" and "cuda".

    Raises:
        ConfigError: there is no such device here, or not one for each process.
    """

    def __init__(self, device: str = "auto") -> None:
        self.device = _find(device)

    def setup(self, runner: Runner) -> None:
        self.device = runner.world.own_device(self.device)
        runner.device = self.device
        runner.model.to(self.device)
        runner.loss_function.to(self.device)
        for loader in (runner.train_loader, *runner.evaluation_loaders.values()):
            loader.to(self.device)


def _find(name: str) -> torch.device:
    if name == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return found or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"DevicePlacement: no device {name!r} here ({reason}); use 'auto' or 'cpu'") from error
    return device
