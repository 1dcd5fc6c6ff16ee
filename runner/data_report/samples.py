"""Samples as a run gets them from its loaders, and as each transform leaves them, turned back into pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from ...datasets.base import CombinedImages, name_of
from ...datasets.loading.loader import Batch, EvaluationLoader, TrainLoader
from ...datasets.transforms import build_transforms
from ...registry import Experiment, UserError
from ..data import build_train_loader
from .labels import label_in_words
from .sets import NamedSet, build_sets

AS_TENSOR = [dict(type="ToImage"), dict(type="ToDtype", dtype="float32", scale=True)]


class Shown(NamedTuple):
    """A sample to be looked at: its name, its label in words, and its image (C, H, W) after the transforms."""

    name: str
    label: str
    image: Tensor


class Samples:
    """Some samples of one set of an experiment.

    Of the training set those that an epoch begins with, with the draws of that epoch; of an evaluation set samples
    spread evenly over it, for sets are often sorted by class.

    Args:
        name: "train", or an evaluation set.
        epoch: from 0; of the training set.

    Raises:
        UserError: there is no such set, or its data is not there.
    """

    def __init__(self, experiment: Experiment, name: str, count: int, epoch: int = 0) -> None:
        if name != "train" and name not in experiment.evaluation:
            known = ", ".join(["train", *experiment.evaluation])
            raise UserError(f"--set {name}: the config has no such set; it has {known}")
        self.experiment = experiment
        self.epoch = epoch
        self.count = count
        if name == "train":
            self._loader = build_train_loader(replace(experiment.train, num_workers=0), experiment.seed)
            self.dataset: Any = self._loader.dataset
            self.transforms: list[dict] = experiment.train.transforms
        else:
            self._loader = None
            own: NamedSet = build_sets(experiment)[name]
            self.dataset, self.transforms = _Spread(own.dataset, count), own.transforms
        self.classes = [str(each) for each in getattr(self.dataset, "classes", [])]

    def final(self) -> list[Shown]:
        """The samples as the model gets them.

        Raises:
            UserError: one of them cannot be read, or the transforms fail on it.
        """
        if self._loader is None:
            return self._collect(self._evaluation(self.transforms))
        return self._collect(_epoch(self._loader, self.epoch))

    def after(self, transforms: Sequence[dict]) -> list[Shown]:
        """The samples after only the first transforms of the list. The draws of each sample are the same as in
        `final`, for they follow from the sample and not from what comes later."""
        configs = [*transforms, *AS_TENSOR]
        if self._loader is None:
            return self._collect(self._evaluation(configs))
        one_by_one = TrainLoader(
            self.dataset,
            build_transforms(configs),
            self._loader.sampler,
            batch_size=1,  # before a crop the images differ in size
            drop_last=False,
            num_workers=0,
            seed=self.experiment.seed,
        )
        return self._collect(_epoch(one_by_one, self.epoch))

    def _evaluation(self, configs: Sequence[dict]) -> Iterable[Batch]:
        transforms, seed = build_transforms(configs), self.experiment.seed
        return EvaluationLoader(self.dataset, transforms, batch_size=1, num_workers=0, seed=seed)

    def _collect(self, batches: Iterable[Batch]) -> list[Shown]:
        shown: list[Shown] = []
        for batch in batches:
            for image, label, index in zip(*batch, strict=True):
                if image.ndim != 3:
                    raise UserError("the samples are no pictures but rows of numbers: `data stats` tells about them")
                told = label_in_words(label.numpy(), self.classes)
                shown.append(Shown(name_of(self.dataset, int(index)), told, image))
            if len(shown) >= self.count:
                break
        return shown[: self.count]


def _epoch(loader: TrainLoader, epoch: int) -> Iterator[Batch]:
    first = epoch * loader.batches_per_epoch
    yield from loader.batches(first, first + loader.batches_per_epoch)


class _Spread(CombinedImages):
    """So many samples of a data set, evenly spread over it."""

    def __init__(self, dataset: Any, count: int) -> None:
        count = min(count, len(dataset))
        self.whole = dataset
        self.indices = [(2 * number + 1) * len(dataset) // (2 * count) for number in range(count)]
        self.classes = list(getattr(dataset, "classes", []))
        labels = getattr(dataset, "labels", None)
        self.labels = [dataset[index][1] if labels is None else labels[index] for index in self.indices]

    def locate(self, index: int) -> tuple[Any, int]:
        return self.whole, self.indices[index]


def as_picture(image: Tensor, transforms: Sequence[dict]) -> Image.Image:
    """An image (C, H, W) as a person sees it: Normalize is undone, and what is then outside 0..1 is cut off.

    Without a Normalize, an image that is far outside 0..1 is shown between its own smallest and largest number.

    Args:
        transforms: the configs that it went through.

    Raises:
        UserError: it has neither one nor three channels.
    """
    if len(image) not in (1, 3):
        raise UserError(f"an image of {len(image)} channels cannot be shown: 1 or 3 can")
    image = image.float() / (1 if image.is_floating_point() else 255)
    normalize = next((each for each in reversed(transforms) if each["type"] == "Normalize"), None)
    if normalize is not None:
        mean, std = (torch.tensor(normalize[key], dtype=image.dtype).reshape(-1, 1, 1) for key in ("mean", "std"))
        image = image * std + mean
    elif image.min() < -0.5 or image.max() > 1.5:
        image = (image - image.min()) / (image.max() - image.min())
    return to_pil_image((image.clamp(0, 1) * 255).round().to(torch.uint8))
