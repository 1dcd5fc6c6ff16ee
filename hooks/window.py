"""What a recording hook wants to know of the steps since it last looked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ..runner import Runner
    from ..runner.metrics import MetricSet


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
        self.images += sum(len(batch.labels) for batch in runner.batches)
        if self.metrics is not None:
            labels = [batch.labels for batch in runner.batches]
            self.outputs += zip(runner.logits, labels, strict=True)

    def read(self) -> dict[str, float]:
        """Mean loss, metrics and images per second since the last call."""
        values = {"loss": float(torch.stack(self.losses).mean())} if self.losses else {}
        if self.metrics is not None and self.outputs:
            self.metrics.reset()
            logits, labels = zip(*self.outputs, strict=True)
            self.metrics.update(torch.cat(logits), torch.cat(labels))
            values |= self.metrics.compute()
        now = time.perf_counter()
        values["images_per_second"] = self.images / (now - self.start)
        self.losses, self.outputs, self.images, self.start = [], [], 0, now
        return values
