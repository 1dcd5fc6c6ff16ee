"""Predictions of a trained model for pictures in files, or for those of its evaluation set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms.v2.functional import to_pil_image

from ..datasets.base import name_of
from ..registry import UserError
from .preprocessing import Preprocessing
from .trained import Trained


class Sample(NamedTuple):
    """A picture to predict.

    Args:
        image: as the model takes it, (C, H, W).
        truth: the classes it is known to show; None if nothing is known.
    """

    name: str
    picture: Image.Image
    image: Tensor
    truth: list[int] | None


class Prediction(NamedTuple):
    """What a model says of a picture.

    Args:
        probabilities: of every class: softmax, or sigmoid where a picture may show several.
        classes: the most probable one; where a picture may show several, all above a half.
    """

    sample: Sample
    probabilities: list[float]
    classes: list[int]

    @property
    def correct(self) -> bool | None:
        truth = self.sample.truth
        return None if truth is None else sorted(self.classes) == sorted(truth)

    def top(self, count: int) -> list[int]:
        """The most probable classes, at least those that are predicted."""
        order = sorted(range(len(self.probabilities)), key=lambda number: -self.probabilities[number])
        return order[: max(count, len(self.classes))]


def find_images(places: Iterable[str | Path]) -> list[Path]:
    """Files as they are named, and the image files below folders, sorted; each once. Hidden ones are passed over.

    Raises:
        UserError: there is no such file or folder, or a folder without images.
    """
    files: dict[Path, None] = {}
    for place in map(Path, places):
        if place.is_dir():
            below = [file for file in sorted(place.rglob("*")) if _is_image(file.relative_to(place)) and file.is_file()]
            if not below:
                raise UserError(f"no images in the folder {place}: their names end in {', '.join(IMG_EXTENSIONS)}")
            files.update(dict.fromkeys(below))
        elif place.exists():
            files[place] = None
        else:
            raise UserError(f"there is no file or folder {place}")
    return list(files)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMG_EXTENSIONS and not any(part.startswith(".") for part in path.parts)


def from_files(
    files: Iterable[Path], prepare: Preprocessing, classes: Sequence[str], failures: list[str]
) -> Iterator[Sample]:
    """Samples from files; a folder that bears a class's name tells the truth.

    Args:
        classes: names of the classes; none if the folders tell nothing.
        failures: what cannot be read is told here, and passed over.
    """
    labels = {name: number for number, name in enumerate(classes)}
    for file in files:
        label = labels.get(file.absolute().parent.name)
        try:
            picture = prepare.open(file)
            image = prepare(prepare.fit(picture))
        except UserError as error:
            failures.append(str(error) if str(file) in str(error) else f"{file}: {error}")
            continue
        yield Sample(str(file), picture, image, None if label is None else [label])


def from_dataset(dataset: Any, indices: Iterable[int], prepare: Preprocessing) -> Iterator[Sample]:
    """Samples of an evaluation set, as evaluation prepares them.

    Raises:
        UserError: one of them cannot be read.
    """
    for index in indices:
        picture, label = dataset[index]
        image = prepare(picture)
        shown = picture if isinstance(picture, Image.Image) else to_pil_image(picture)
        yield Sample(name_of(dataset, index), shown, image, _classes_of(label))


def _classes_of(label: Any) -> list[int]:
    """The classes of a label: its number, or the places of the ones among zeros (num_classes,)."""
    values = np.asarray(label)
    return [int(values)] if values.ndim == 0 else np.flatnonzero(values > 0.5).tolist()


@torch.no_grad()
def predict(trained: Trained, samples: Iterable[Sample], batch_size: int = 32) -> Iterator[Prediction]:
    """Predictions in the order of the samples, which are read as they are needed.

    Raises:
        UserError: the model does not take a sample's image.
    """
    several = trained.multi_label
    samples = iter(samples)
    while batch := list(islice(samples, batch_size)):
        logits = _logits(trained, batch)
        for sample, probabilities in zip(batch, trained.probabilities(logits), strict=True):
            chosen = (probabilities > 0.5).nonzero()[:, 0] if several else probabilities.argmax(0, keepdim=True)
            yield Prediction(sample, probabilities.tolist(), chosen.tolist())


def _logits(trained: Trained, batch: list[Sample]) -> Tensor:
    """(N, classes) on the CPU. Images of different shapes, which some models take, go through one shape at a time."""
    by_shape: dict[torch.Size, list[int]] = defaultdict(list)
    for position, sample in enumerate(batch):
        by_shape[sample.image.shape].append(position)
    logits = torch.empty(len(batch), trained.num_classes)
    for shape, positions in by_shape.items():
        images = torch.stack([batch[position].image for position in positions])
        try:
            logits[positions] = trained.forward(images.to(trained.device)).cpu()
        except Exception as error:  # a model's forward can raise anything
            first = batch[positions[0]].name
            raise UserError(
                f"the model fails on {first}, an image of the shape {tuple(shape)}: {type(error).__name__}: {error}"
            ) from error
    return logits
