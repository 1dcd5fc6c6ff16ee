"""One update of the weights: forward and backward over its batches, unscale, clip, step."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from ...datasets.loading.loader import Batch
from ...optim.fused import fuse
from ..processes.distributed import ALONE, World
from ..processes.parallel import is_sharded, norms
from ..profile.time_shares import BACKWARD, FORWARD, HOOKS, OPTIMIZER, Stopwatch
from .clipping import Clipping
from .finite import FiniteCheck, are_finite
from .forward import Forward, ParallelForward
from .passes import in_two_passes, passes
from .remembered import Remembered


class Update:
    """Forward, backward, accumulate, unscale, clip, step: one path for every precision.

    Attributes that the last `backward` left: `losses`, one scalar for each of its batches, on the device; `images`, how
    many it had, over all processes.

    Args:
        loss: logits (N, classes) and labels (N,) to their mean loss.
        clipping: keeps gradients small; by default they are left as they are.
        world: the processes of the run.
        stopwatch: the run's; told of forward, backward and step.
    """

    def __init__(
        self,
        forward: Forward,
        loss: nn.Module,
        optimizer: torch.optim.Optimizer,
        clipping: Clipping | None = None,
        world: World = ALONE,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self.stopwatch = stopwatch or Stopwatch()
        self.forward = forward if world.size == 1 or is_sharded(forward.model) else ParallelForward(forward)
        self.loss = loss
        self.optimizer = optimizer
        if not is_sharded(forward.model):  # torch has no fused SGD for parts of weights
            fuse(optimizer, forward.device)
        self.clipping = clipping or Clipping()
        self.world = world
        # Only fp16 has so few exponent bits that small gradients vanish unless the loss is scaled up.
        self.scaler = torch.amp.GradScaler(forward.device.type, enabled=forward.precision == "fp16")
        self.images = 0
        self.losses: list[Tensor] = []
        self._all_finite = FiniteCheck(forward.device, self._parameters())
        self._remembered = Remembered((forward.model, loss), forward.device)
        self._norm: Tensor | None = None  # of the gradients, if it is known

    def backward(self, batches: Sequence[Batch]) -> tuple[Tensor, list[Tensor]]:
        """Gradients of the mean loss over all images of the batches, those of all processes, unscaled.

        With SAM they are those of its second pass; what is returned, and `losses`, is the first one's.

        Returns:
            that loss, a scalar on the device, and the logits of each batch; both detached. Auxiliary heads count in the
            loss, and not in the logits.
        """
        self.stopwatch.switch(FORWARD)
        self.world.share_buffers(self.loss)
        self._remembered.note()
        self.images = sum(batch.labels.shape[0] for batch in batches)
        if self.world.size > 1:
            [self.images] = self.world.sums(self.images)
        self.stopwatch.count(self.images)
        if passes(self.optimizer) == 1:
            self.losses, logits = self._gradients(batches)
        else:
            parts = self.forward.model, self.loss
            self.losses, logits = in_two_passes(lambda: self._gradients(batches), self.optimizer, parts)
        self.scaler.unscale_(self.optimizer)
        self._norm = None
        self._mean_loss = self.world.mean(sum(self.losses[1:], self.losses[0].clone()))
        self.stopwatch.switch(HOOKS)
        return self._mean_loss, logits

    def _gradients(self, batches: Sequence[Batch]) -> tuple[list[Tensor], list[Tensor]]:
        """Still scaled; returns the losses and the logits of the batches."""
        for parameter in self._parameters():
            parameter.grad = None  # as zero_grad does, without a mark for torch's profiler: 15 us less
        losses, logits = [], []
        for number, batch in enumerate(batches, start=1):
            with nullcontext() if number == len(batches) else self.forward.no_sync():
                self.stopwatch.switch(FORWARD)
                outputs = self.forward.outputs(batch.images)
                loss = self.loss(outputs.logits, batch.labels)
                for auxiliary in outputs.auxiliary:
                    loss = loss + outputs.auxiliary_weight * self.loss(auxiliary, batch.labels)
                # By its share of the images: an epoch's last batch may be smaller than the others. Times the number of
                # processes, for of their gradients the mean is taken.
                share = batch.labels.shape[0] * self.world.size / self.images
                if share != 1:
                    loss = loss * share
                self.stopwatch.switch(BACKWARD)
                self.scaler.scale(loss).backward()
                if number < len(batches):
                    self.forward.own_gradients()
            losses.append(loss.detach())
            logits.append(outputs.logits.detach())
        self.world.mean_gradients(self.loss)
        return losses, logits

    def is_finite(self) -> bool:
        """Whether the loss of the last `backward`, over all processes, and its gradients are finite.

        Gradients are not looked at in fp16: if they overflow, the scaler leaves out the step and scales less.
        """
        if self.scaler.is_enabled():
            return are_finite([self._mean_loss])
        gradients = [each.grad for each in self._parameters() if each.grad is not None]
        if self.clipping.norm is None:
            return self._all_finite(self._mean_loss, gradients)
        each_norm = norms(gradients)
        if each_norm:
            self._norm = torch.linalg.vector_norm(torch.stack(each_norm))  # of the whole: for clipping, too
        return are_finite([self._mean_loss, *each_norm])

    def take_back(self) -> None:
        """Put back what the last `backward` moved besides gradients: see Remembered."""
        self._remembered.put_back()

    def step(self) -> None:
        """Clip the gradients and move the weights; fp16's scaler leaves out a step whose gradients overflowed."""
        self.stopwatch.switch(OPTIMIZER)
        if self.clipping.is_on:
            self.clipping(self._parameters(), self._norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.stopwatch.switch(HOOKS)

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
