"""A first layer that whitens: made from the training images, and not trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..registry import HOOKS, ConfigError
from ..registry.fit import AtLeast
from .hook import Hook

if TYPE_CHECKING:
    from ..runner import Runner


@HOOKS.register_module()
class Whitening(Hook):
    """Makes a convolution's weights of the patches that it will see: the directions in which they vary, each divided by
    its deviation, and their negatives (Page: How to Train Your ResNet, 2018; Jordan 2024, section 3.2).

    The outputs for a direction and for its negative, through an activation function, keep what it tells. Done once,
    when a run begins that brings no weights; the result is in the checkpoint as any weights are.

    One deviation from both: the patches are of images as the training sees them, the first batches of the first epoch,
    and not of the images as they are.

    Args:
        layer: the dotted name of the convolution, which has two outputs for each number of a patch.
        images: at least so many are looked at, or all there are.
        eps: is added to each variance, so that what hardly varies does not become noise.

    Raises:
        ConfigError: when the run begins, if the model has no such convolution.
    """

    takes_whole_weights = True

    def __init__(
        self, layer: str = "backbone.whiten", images: Annotated[int, AtLeast(1)] = 5000, eps: float = 5e-4
    ) -> None:
        self.layer = layer
        self.images = images
        self.eps = eps

    def setup(self, runner: Runner) -> None:
        self.convolution = _find(runner.model, self.layer)

    def before_run(self, runner: Runner) -> None:
        if runner.step > 0 or runner.experiment.weights is not None:
            return
        loader = runner.train_loader
        count = -(-self.images // (loader.batch_size * runner.world.size))
        size = self.convolution.kernel_size
        sums, patches = torch.zeros((), device=runner.device), 0
        for batch in loader.batches(0, min(count, loader.batches_per_epoch)):
            columns = F.unfold(batch.images.float(), (size[0], size[1]))  # (N, numbers of a patch, patches)
            sums = sums + torch.einsum("npq,nrq->pr", columns, columns)
            patches += len(columns) * columns.shape[2]
        covariance = runner.world.mean(sums / patches)
        with torch.no_grad():
            self.convolution.weight.copy_(whitening(covariance, self.eps).view_as(self.convolution.weight))


def whitening(covariance: Tensor, eps: float) -> Tensor:
    """Rows that turn what has a covariance (p, p) into numbers without correlation, of variance one, the directions of
    the largest variance first; then their negatives: (2p, p)."""
    variances, directions = torch.linalg.eigh(covariance.double().cpu())
    rows = (directions / (variances + eps).sqrt()).T.flip(0)
    return torch.cat([rows, -rows])


def _find(model: nn.Module, name: str) -> nn.Conv2d:
    found = dict(model.named_modules()).get(name)
    if not isinstance(found, nn.Conv2d):
        there = [each for each, module in model.named_modules() if isinstance(module, nn.Conv2d)]
        raise ConfigError(f"Whitening: {name!r} is no convolution of the model; the first is {(there or ['none'])[0]}")
    numbers = found.in_channels // found.groups * found.kernel_size[0] * found.kernel_size[1]
    if found.groups > 1 or found.out_channels != 2 * numbers:
        raise ConfigError(
            f"Whitening: {name} has {found.out_channels} outputs in {found.groups} groups; for patches of {numbers} "
            f"numbers it needs {2 * numbers} in one"
        )
    return found
