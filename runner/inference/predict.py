"""Predictions of a trained model for pictures in files, or for those of its evaluation set."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from ...datasets.base import name_of
from ...datasets.loading.decoding import endings
from ...registry import UserError
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


def find_images(places: Iterable[str | Path]) -> tuple[list[Path], list[Path]]:
    """Files as they are named, and the image files below folders, sorted; each once.

    Returns:
        those, and the files below folders whose names do not end as those of images; hidden ones are in neither.

    Raises:
        UserError: there is no such file or folder, or a folder without images.
    """
    files: dict[Path, None] = {}
    passed_over: list[Path] = []
    for place in map(Path, places):
        if place.is_dir():
            visible = (file for file in sorted(place.rglob("*")) if _is_visible(file.relative_to(place)))
            below = [file for file in visible if file.is_file()]
            images = [file for file in below if file.suffix.lower() in endings()]
            if not images:
                raise UserError(f"no images in the folder {place}: their names end in {', '.join(endings())}")
            files.update(dict.fromkeys(images))
            passed_over += [file for file in below if file.suffix.lower() not in endings()]
        elif place.exists():
            files[place] = None
        else:
            raise UserError(f"there is no file or folder {place}")
    return list(files), passed_over


def _is_visible(path: Path) -> bool:
    return not any(part.startswith(".") for part in path.parts)


def count_endings(files: Iterable[Path]) -> str:
    """Such files in words: "3 .txt, 1 .jp2, 1 without an ending"."""
    counts = Counter(file.suffix.lower() or "without an ending" for file in files)
    return ", ".join(f"{count} {ending}" for ending, count in counts.most_common())


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


def from_dataset(dataset: Any, indices: Iterable[int], prepare: Preprocessing, failures: list[str]) -> Iterator[Sample]:
    """Samples of an evaluation set, as evaluation prepares them.

    Args:
        failures: what cannot be read is told here, and passed over.
    """
    for index in indices:
        try:
            picture, label = dataset[index]
            image = prepare(picture)
        except UserError as error:
            failures.append(f"{name_of(dataset, index)}: {error}")
            continue
        shown = picture if isinstance(picture, Image.Image) else to_pil_image(picture)
        yield Sample(name_of(dataset, index), shown, image, _classes_of(label))


def _classes_of(label: Any) -> list[int]:
    """The classes of a label: its number, or the places of the ones among zeros (num_classes,)."""
    values = np.asarray(label)
    return [int(values)] if values.ndim == 0 else np.flatnonzero(values > 0.5).tolist()


@torch.no_grad()
def predict(
    trained: Trained, samples: Iterable[Sample], failures: list[str], batch_size: int = 32
) -> Iterator[Prediction]:
    """Predictions in the order of the samples, which are read as they are needed.

    Args:
        failures: images that the model does not take are told here, and passed over.
    """
    several = trained.multi_label
    samples = iter(samples)
    while batch := list(islice(samples, batch_size)):
        for sample, logits in zip(batch, _logits(trained, batch, failures), strict=True):
            if logits is None:
                continue
            probabilities = trained.probabilities(logits[None])[0]
            chosen = (probabilities > 0.5).nonzero()[:, 0] if several else probabilities.argmax(0, keepdim=True)
            yield Prediction(sample, probabilities.tolist(), chosen.tolist())


def _logits(trained: Trained, batch: list[Sample], failures: list[str]) -> list[Tensor | None]:
    """(classes,) on the CPU for each image. Those of different shapes, which some models take, go through apart."""
    by_shape: dict[torch.Size, list[int]] = defaultdict(list)
    for position, sample in enumerate(batch):
        by_shape[sample.image.shape].append(position)
    logits: list[Tensor | None] = [None] * len(batch)
    for positions in by_shape.values():
        images = torch.stack([batch[position].image for position in positions])
        try:
            found = trained.forward(images.to(trained.device)).cpu()
        except Exception as error:  # a model's forward can raise anything
            if len(batch) > 1:  # one image may be to blame, or their number
                found = [_logits(trained, [batch[position]], failures)[0] for position in positions]
            else:
                told = f"the model fails on an image of the shape {tuple(batch[0].image.shape)}"
                failures.append(f"{batch[0].name}: {told}: {type(error).__name__}: {error}")
                continue
        for position, row in zip(positions, found, strict=True):
            logits[position] = row
    return logits
