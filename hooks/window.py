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
    """Gathers losses, and logits if metrics are wanted, by reference: nothing is computed until `read`.

    Several hooks that look at the same steps may share one: what it comes to is computed once.
    """

    def __init__(self, metrics: MetricSet | None = None) -> None:
        self.metrics = metrics
        self.losses: list[Tensor] = []
        self.outputs: list[tuple[Tensor, Tensor]] = []
        self.images = 0
        self.start = time.perf_counter()
        self.added: int | None = None  # the newest step in it
        self.read_at: int | None = None
        self.values: dict[str, float] = {}

    def add(self, runner: Runner) -> None:
        if self.added == runner.step:
            return
        self.added = runner.step
        self.losses.append(runner.loss)
        self.images += runner.update.images
        if self.metrics is not None:
            labels = [batch.labels for batch in runner.batches]
            self.outputs += zip(runner.logits, labels, strict=True)
            if len(self.outputs) >= MOST_OUTPUTS:
                self._fold()

    def read(self, step: int) -> dict[str, float]:
        """Mean loss, metrics and images per second up to a step, since what was read before; nothing if there was no
        step. At the same step it gives the same again."""
        if self.read_at == step:
            return self.values
        if not self.losses:
            return {}
        values = {"loss": float(torch.stack(self.losses).mean())}
        if self.metrics is not None:
            self._fold()
            values |= self.metrics.compute()
            self.metrics.reset()
        now = time.perf_counter()
        if self.images:  # else all of it was gathered before the run was continued
            values["images_per_second"] = self.images / (now - self.start)
        self.losses, self.images, self.start = [], 0, now
        self.read_at, self.values = step, values
        return values

    def state_dict(self, recorded: int) -> dict[str, Any]:
        """What was gathered since the last `read`, and what that gave if it was later than the step `recorded`, but for
        times: those of one process say nothing in another."""
        state: dict[str, Any] = {}
        if self.losses:
            self._fold()
            metrics = self.metrics.state_dict() if self.metrics else {}
            state |= {"losses": torch.stack(self.losses), "metrics": metrics}
        if self.read_at is not None and self.read_at > recorded:
            values = {name: value for name, value in self.values.items() if name != "images_per_second"}
            state |= {"read_at": self.read_at, "values": values}
        return state

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        if "losses" in state:
            self.losses = list(state["losses"].to(device))
            if self.metrics is not None:
                self.metrics.load_state_dict(state["metrics"])
        if "values" in state:
            self.read_at, self.values = state["read_at"], state["values"]

    def _fold(self) -> None:
        """Add the gathered outputs to the metrics, and let go of them."""
        if self.metrics is not None and self.outputs:
            logits, labels = zip(*self.outputs, strict=True)
            self.metrics.update(torch.cat(logits), torch.cat(labels))
            self.outputs = []
