"""One update of the weights: forward and backward over its batches, unscale, clip, step."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from ..datasets.loading.loader import Batch
from .distributed import ALONE, World
from .forward import Forward, ParallelForward


class Update:
    """Forward, backward, accumulate, unscale, clip, step: one path for every precision.

    Attributes that the last `backward` left: `losses`, one scalar for each of its batches, on the device; `images`, how
    many it had, over all processes.

    Args:
        loss: logits (N, classes) and labels (N,) to their mean loss.
        clip_norm: the gradient's largest norm, or None.
        world: the processes of the run.
    """

    def __init__(
        self,
        forward: Forward,
        loss: nn.Module,
        optimizer: torch.optim.Optimizer,
        clip_norm: float | None = None,
        world: World = ALONE,
    ) -> None:
        self.forward = forward if world.size == 1 else ParallelForward(forward)
        self.loss = loss
        self.optimizer = optimizer
        self.clip_norm = clip_norm
        self.world = world
        # Only fp16 has so few exponent bits that small gradients vanish unless the loss is scaled up.
        self.scaler = torch.amp.GradScaler(forward.device.type, enabled=forward.precision == "fp16")
        self.images = 0
        self.losses: list[Tensor] = []
        self._before: list[tuple[Tensor, Tensor]] = []
        self._random: list[Tensor] = []

    def backward(self, batches: Sequence[Batch]) -> tuple[Tensor, list[Tensor]]:
        """Gradients of the mean loss over all images of the batches, those of all processes, unscaled.

        Returns:
            that loss, a scalar on the device, and the logits of each batch; both detached. Auxiliary heads count in the
            loss, and not in the logits.
        """
        self.optimizer.zero_grad(set_to_none=True)
        self.world.share_buffers(self.loss)
        self._remember()
        [self.images] = self.world.sums(sum(len(batch.labels) for batch in batches))
        self.losses, logits = [], []
        for number, batch in enumerate(batches, start=1):
            with nullcontext() if number == len(batches) else self.forward.no_sync():
                outputs = self.forward.outputs(batch.images)
                loss = self.loss(outputs.logits, batch.labels)
                for auxiliary in outputs.auxiliary:
                    loss = loss + outputs.auxiliary_weight * self.loss(auxiliary, batch.labels)
                # By its share of the images: an epoch's last batch may be smaller than the others. Times the number of
                # processes, for of their gradients the mean is taken.
                loss = loss * (len(batch.labels) * self.world.size / self.images)
                self.scaler.scale(loss).backward()
            self.losses.append(loss.detach())
            logits.append(outputs.logits.detach())
        self.world.mean_gradients(self.loss)
        self.scaler.unscale_(self.optimizer)
        self._mean_loss = self.world.mean(torch.stack(self.losses).sum())
        return self._mean_loss, logits

    def is_finite(self) -> Tensor:
        """Whether the losses of the last `backward` and the norm of its gradients are finite: a scalar on the device.

        Gradients are not looked at in fp16: if they overflow, the scaler leaves out the step and scales less.
        """
        numbers = [*self.losses, self._mean_loss]
        if not self.scaler.is_enabled():
            gradients = [each.grad for each in self._parameters() if each.grad is not None]
            # One number instead of a look at each: a tenth of the time of `isfinite` on a CPU.
            numbers.append(torch.nn.utils.get_total_norm(gradients).to(numbers[0].device))
        return torch.stack(numbers).isfinite().all()

    def _remember(self) -> None:
        """What `backward` moves besides gradients, for `take_back`."""
        buffers = (*self.forward.model.buffers(), *self.loss.buffers())
        self._before = [(buffer, buffer.clone()) for buffer in buffers]
        self._random = [torch.get_rng_state()]  # a microsecond
        if self.forward.device.type == "cuda":
            self._random.append(torch.cuda.get_rng_state(self.forward.device))

    def take_back(self) -> None:
        """Put back what the last `backward` moved: BatchNorm's running averages and other buffers of model and loss,
        and torch's generators, from which dropout draws.

        Not the generators of numpy and Python: their states take 40 us to read, in every step.
        """
        with torch.no_grad():
            for buffer, before in self._before:
                buffer.copy_(before)
        torch.set_rng_state(self._random[0])
        for state in self._random[1:]:
            torch.cuda.set_rng_state(state, self.forward.device)

    def step(self) -> None:
        """Clip the gradients and move the weights; fp16's scaler leaves out a step whose gradients overflowed."""
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._parameters(), self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
