"""What a recording hook wants to know of the steps since it last looked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ..runner import Runner
    from ..runner.metrics import MetricSet


MOST_OUTPUTS = 100  # batches whose logits are kept before they are counted


class Window:
    """Gathers losses, and logits if metrics are wanted, by reference: nothing is computed until `read`."""

    def __init__(self, metrics: MetricSet | None = None) -> None:
        self.metrics = metrics
        self.losses: list[Tensor] = []
        self.outputs: list[tuple[Tensor, Tensor]] = []
        self.images = 0
        self.start = time.perf_counter()

    def add(self, runner: Runner) -> None:
        self.losses.append(runner.loss)
        self.images += runner.update.images
        if self.metrics is not None:
            labels = [batch.labels for batch in runner.batches]
            self.outputs += zip(runner.logits, labels, strict=True)
            if len(self.outputs) >= MOST_OUTPUTS:
                self._fold()

    def read(self) -> dict[str, float]:
        """Mean loss, metrics and images per second since the last call; nothing if there was no step."""
        if not self.losses:
            return {}
        values = {"loss": float(torch.stack(self.losses).mean())}
        if self.metrics is not None:
            self._fold()
            values |= self.metrics.compute()
            self.metrics.reset()
        now = time.perf_counter()
        values["images_per_second"] = self.images / (now - self.start)
        self.losses, self.images, self.start = [], 0, now
        return values

    def state_dict(self) -> dict[str, Any]:
        """What was gathered since the last `read`, but for the time: that of one process says nothing in another."""
        if not self.losses:
            return {}
        self._fold()
        return {"losses": torch.stack(self.losses), "metrics": self.metrics.state_dict() if self.metrics else {}}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        if state:
            self.losses = list(state["losses"].to(device))
            if self.metrics is not None:
                self.metrics.load_state_dict(state["metrics"])

    def _fold(self) -> None:
        """Add the gathered outputs to the metrics, and let go of them."""
        if self.metrics is not None and self.outputs:
            logits, labels = zip(*self.outputs, strict=True)
            self.metrics.update(torch.cat(logits), torch.cat(labels))
            self.outputs = []
