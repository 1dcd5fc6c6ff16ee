"""Test-time augmentation: a model's mean answer for several views of the same images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torchvision.tv_tensors import Image

from ..datasets.loading.loader import EvaluationLoader
from ..datasets.loading.randomness import derive_seed, seed_sample, untouched_random_state
from ..registry import TRANSFORMS, EvaluationData, UserError
from .labels import Meaning, all_labels, is_multi_label, meaning_of


class Views:
    """Shows a model several views of a batch, and gives the logits of its mean probabilities.

    Every image is seen as often as there are views, and counted once. What a view draws at random follows from its
    number alone: it is the same for all images and in every pass.

    Args:
        configs: from TRANSFORMS, one for each view; applied to a finished batch (N, C, H, W). One that returns several
            batches, as FiveCrop and TenCrop do, makes as many views.
        meaning: what the labels mean, and so what a mean is of: for "class" of the softmax, for "labels" of the sigmoid
            of each class, for "values" of the outputs themselves.
        where: the config's key, for errors.

    Raises:
        UserError: when called, if a transform or the model does not take the images.
    """

    def __init__(self, configs: Sequence[dict], meaning: Meaning, where: str) -> None:
        noisy = next((config["type"] for config in configs if "Noise" in config["type"]), None)
        if noisy:
            raise UserError(
                f"{where}: {noisy} draws for each image, so that what is measured would depend on its batch"
            )
        self.transforms = [TRANSFORMS.build(config) for config in configs]
        self.names = [f"{where}.{number} ({config['type']})" for number, config in enumerate(configs)]
        self.mean = {"class": _of_classes, "labels": _of_labels, "values": _of_values}[meaning]

    def __call__(self, model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """Logits (N, classes) of a batch (N, C, H, W), one forward pass for each view."""
        answers = []
        for name, view in self._of(images):
            try:
                answers.append(model(view).float())
            except (ValueError, TypeError, RuntimeError, AssertionError) as error:
                raise UserError(
                    f"the model fails on the view {name}, of the shape {tuple(view.shape)}: "
                    f"{type(error).__name__}: {error}"
                ) from error
        return self.mean(torch.stack(answers)) if len(answers) > 1 else answers[0]

    def _of(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        for number, (name, transform) in enumerate(zip(self.names, self.transforms, strict=True)):
            try:
                with untouched_random_state():
                    seed_sample(derive_seed("view", number))
                    # Of several plain tensors, such as five crops, torchvision would go on with the first alone.
                    views = transform(Image(images))
            except (ValueError, TypeError, RuntimeError) as error:
                raise UserError(f"{name} fails on images of the shape {tuple(images.shape)}: {error}") from error
            for view in views if isinstance(views, (tuple, list)) else [views]:
                yield name, view.as_subclass(Tensor)


def build_views(
    configs: Mapping[str, EvaluationData],
    loaders: Mapping[str, EvaluationLoader],
    model: nn.Module,
    loss: nn.Module,
) -> dict[str, Views]:
    """The views of those sets that have any, by name."""
    multi_label = is_multi_label(model, loss)
    return {
        name: Views(configs[name].views, meaning_of(all_labels(loader), multi_label), f"evaluation.{name}.views")
        for name, loader in loaders.items()
        if configs[name].views
    }


# Each takes the outputs (views, N, classes). In logarithms throughout: a probability that rounds to 0 or 1 would make
# the loss infinite.


def _of_classes(outputs: Tensor) -> Tensor:
    return _log_mean(outputs.log_softmax(2))


def _of_labels(outputs: Tensor) -> Tensor:
    """The logit of p is log p - log(1 - p), and 1 - p is the mean of what each view leaves."""
    return _log_mean(nn.functional.logsigmoid(outputs)) - _log_mean(nn.functional.logsigmoid(-outputs))


def _of_values(outputs: Tensor) -> Tensor:
    return outputs.mean(0)


def _log_mean(logarithms: Tensor) -> Tensor:
    return logarithms.logsumexp(0) - math.log(len(logarithms))
