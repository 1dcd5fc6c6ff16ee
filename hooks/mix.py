"""Mixup and cutmix: images of a batch, and their labels, mixed in pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from torch.nn.functional import one_hot
from torchvision.transforms import v2

from ..datasets.loading.randomness import derive_seed, seed_sample, untouched_random_state
from ..registry import HOOKS, ConfigError, Duration, UserError
from ..registry.fit import AtLeast, AtMost
from .hook import Hook

if TYPE_CHECKING:
    from ..datasets.loading.loader import Batch
    from ..runner import Runner

Probability = Annotated[float, AtLeast(0), AtMost(1)]


@HOOKS.register_module()
class Mix(Hook):
    """Mixes every image of a batch, and its label, with another of the same batch: torchvision's MixUp and CutMix.

    Mixup adds two images, the one times lambda, the other times 1 - lambda (Zhang et al. 2018, section 2); cutmix lays
    a piece of the one, of the share 1 - lambda of the area, into the other (Yun et al. 2019, section 3.1). Lambda is
    drawn from Beta(alpha, alpha), once for each batch. Which images meet is drawn too, so that neither a sampler's
    order nor its repetitions decide it.

    Labels become shares of the classes, float rows (N, classes), in every batch of the run: also in those that are not
    mixed, so that a loss and the metrics of training always count the same way. What follows from that:

    * The loss must take rows; one that does not is refused before the run. The metrics of training count the class with
      the largest share, so its accuracy is lower than that of the same network on images as they are.
    * Rows that are labels already, multi-hot or shares, are mixed as they are. Measured values are refused.
    * `label_smoothing` of CrossEntropyLoss smooths what is mixed, which is the same as mixing what is smoothed. Its
      `weight` then divides by the number of images, not by the sum of their weights.

    What is drawn follows from the run's seed, the step, and the batch's place in it, among those of all processes.

    Args:
        mixup: alpha of mixup; 0 for none.
        cutmix: alpha of cutmix; 0 for none.
        prob: how probable it is that a batch is mixed.
        switch_prob: how probable it is that a batch to be mixed is cut, if there is mixup too.
        until: from when on nothing is mixed.

    Raises:
        ConfigError: neither mixup nor cutmix.
    """

    mixes_labels = True

    def __init__(
        self,
        mixup: Annotated[float, AtLeast(0)] = 0.2,
        cutmix: Annotated[float, AtLeast(0)] = 1.0,
        prob: Probability = 1.0,
        switch_prob: Probability = 0.5,
        until: Duration = "100%",
    ) -> None:
        if mixup == 0 and cutmix == 0:
            raise ConfigError("Mix: mixup and cutmix are both 0, so nothing would be mixed: leave the hook out")
        self.mixup = mixup
        self.cutmix = cutmix
        self.prob = prob
        self.switch_prob = switch_prob
        self.until = until

    def setup(self, runner: Runner) -> None:
        self.seed = runner.experiment.seed
        self.stop = runner.to_steps(self.until)

    def before_run(self, runner: Runner) -> None:
        self.classes = runner.num_classes
        alphas = {v2.MixUp: self.mixup, v2.CutMix: self.cutmix}
        shares = {v2.MixUp: 1 - self.switch_prob, v2.CutMix: self.switch_prob}
        kinds = [kind for kind, alpha in alphas.items() if alpha > 0]
        either = v2.RandomChoice(
            [kind(alpha=float(alphas[kind]), num_classes=self.classes) for kind in kinds],
            p=[shares[kind] for kind in kinds] if len(kinds) == 2 else None,
        )
        self.transform = v2.RandomApply([either], p=self.prob)

    def before_iter(self, runner: Runner) -> None:
        rank, size = runner.world.part
        runner.batches = [
            self._mixed(batch, derive_seed(self.seed, "mix", runner.step, place * size + rank))
            if runner.step < self.stop
            else self._in_rows(batch)
            for place, batch in enumerate(runner.batches)
        ]

    def _mixed(self, batch: Batch, seed: int) -> Batch:
        with untouched_random_state():
            seed_sample(seed)
            # torchvision mixes each image with the one before it.
            order = torch.randperm(len(batch.labels)).to(batch.labels.device)
            images, labels, indices = (each[order] for each in batch)
            try:
                images, labels = self.transform(images, labels)
            except ValueError as error:
                raise UserError(f"Mix does not take a batch of the shape {tuple(images.shape)}: {error}") from error
        return self._in_rows(type(batch)(images, labels, indices))

    def _in_rows(self, batch: Batch) -> Batch:
        if batch.labels.ndim == 2:
            return batch
        return batch._replace(labels=one_hot(batch.labels, self.classes).float())
