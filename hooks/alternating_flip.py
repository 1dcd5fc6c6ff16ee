"""Mirrored images, every one in every second epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..datasets.loading.loader import Batch
from ..datasets.loading.randomness import derive_seed
from ..registry import HOOKS
from .hook import Hook

if TYPE_CHECKING:
    from ..runner import Runner


@HOOKS.register_module()
class AlternatingFlip(Hook):
    """Mirrors half of the training images in even epochs, and the other half in odd ones (Jordan 2024, section 3.6).

    Which half an image belongs to is drawn once, from the run's seed. So in any two epochs each image is seen both
    ways, where `RandomHorizontalFlip` shows one in two of them twice the same: put this in its place.

    A hook and no transform, for what a transform draws does not know the epoch before. Images are mirrored as finished
    batches, which comes to the same wherever the transforms treat left and right alike.
    """

    def before_run(self, runner: Runner) -> None:
        generator = torch.Generator().manual_seed(derive_seed(runner.experiment.seed, "alternating flip"))
        self.half = torch.randint(2, (len(runner.train_loader.dataset),), generator=generator).to(runner.device)

    def before_iter(self, runner: Runner) -> None:
        runner.batches = [self._flipped(batch, runner.epoch) for batch in runner.batches]

    def _flipped(self, batch: Batch, epoch: int) -> Batch:
        mirrored = (self.half[batch.indices] + epoch) % 2 == 1
        return batch._replace(images=torch.where(mirrored[:, None, None, None], batch.images.flip(3), batch.images))
