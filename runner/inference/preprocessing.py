"""What a picture goes through before a model sees it: found out from a config's transforms and the model itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

from ...datasets.base import ImageFiles
from ...datasets.loading.pipeline import Pipeline
from ...datasets.loading.randomness import untouched_random_state
from ...datasets.transforms import build_transforms
from ...registry import Experiment, UserError

if TYPE_CHECKING:
    from .trained import Trained

Transform = Callable[[Any], Any]
Shape = tuple[int, int, int]
EXAMPLE = "from the backbone's example_shape"
ASSUMED = "assumed, for the backbone has no example_shape"


class Input(NamedTuple):
    """What a model takes.

    Args:
        shape: (C, H, W) of one image.
        source: what tells the shape, in words.
        mode: how pictures are opened: "RGB", or "L" for grey.
        size: (H, W) that a picture of another size must be brought to before the transforms; None if they see to it, or
            if the model takes any size.
    """

    shape: Shape
    source: str
    mode: str
    size: tuple[int, int] | None


class Preprocessing:
    """Pictures in, images for a trained model out: as one of its evaluation sets prepares them.

    Args:
        name: the evaluation set; the first by default.

    Raises:
        UserError: there is no such set, or the model does not take what its transforms make.
    """

    def __init__(self, trained: Trained, name: str | None = None) -> None:
        sets = trained.experiment.evaluation
        if name is not None and name not in sets:
            raise UserError(f"the checkpoint has no evaluation set `{name}`; it has {', '.join(sets) or 'none'}")
        self.name = name or next(iter(sets), "")
        self.configs: list[dict] = sets[self.name].transforms if self.name else []
        self._transform = Pipeline(build_transforms(self.configs))
        model = trained.forward.model
        self.input = find_input(
            lambda images: model(images.to(trained.device)), example_shape(model), trained.experiment, self.name
        )

    def open(self, file: Path) -> Image.Image:
        """A picture from a file, of any size, in colour or grey as the model takes it.

        Raises:
            UserError: it cannot be read as an image.
        """
        try:
            picture, _ = ImageFiles([file], [0], [], file.parent)[0]
        except Image.DecompressionBombError as error:
            raise UserError(f"{file} is not read: {error}") from error
        return picture.convert(self.input.mode)

    def fit(self, picture: Image.Image) -> Image.Image:
        """The picture in the size that the model needs, where the transforms do not see to that themselves."""
        if self.input.size is None:
            return picture
        height, width = self.input.size
        if picture.size == (width, height):
            return picture
        return picture.resize((width, height), Image.Resampling.BILINEAR)

    @property
    def note(self) -> str:
        """What is done to pictures that the evaluation set does not do to its own, in words."""
        if self.input.size is None:
            return ""
        height, width = self.input.size
        return f"; those of another size are brought to {height} x {width} first ({self.input.source})"

    def __call__(self, picture: Any) -> Tensor:
        """The transforms of the evaluation set: what the model takes, (C, H, W).

        Raises:
            UserError: they fail, or leave no float tensor.
        """
        try:
            image = self._transform(picture)
        except (ValueError, TypeError, RuntimeError) as error:
            raise UserError(f"the transforms of evaluation.{self.name} fail: {error}") from error
        if not isinstance(image, Tensor) or not image.is_floating_point():
            raise UserError(
                f"the transforms of evaluation.{self.name} leave no float tensor but a {type(image).__name__}"
            )
        return image.as_subclass(Tensor)


@torch.no_grad()
def find_input(model: Callable[[Tensor], Any], example: Shape | None, experiment: Experiment, name: str = "") -> Input:
    """What a model of an experiment takes, by trying: no data is read.

    The shape is what the transforms of the evaluation set `name` make of any picture, if that is always the same; else
    what those of the training set make; else `example`, or 224 pixels a side. Pictures are colour, or grey if the model
    does not take colour.

    Args:
        model: images to logits; is called with zeros.
        example: (C, H, W) of an image that the model takes, if it says so: see `example_shape`.

    Raises:
        UserError: the model takes no such image.
    """
    evaluation = Pipeline(build_transforms(experiment.evaluation[name].transforms)) if name else None
    train = Pipeline(build_transforms(experiment.train.transforms))
    failure: tuple[Input, Exception] | None = None
    for mode in ("L", "RGB") if example and example[0] == 1 else ("RGB", "L"):
        found = _tell(evaluation, train, example, name, mode)
        try:
            model(torch.zeros(1, *found.shape))
        except Exception as error:  # a model's forward can raise anything
            failure = failure or (found, error)
            continue
        channels, height, width = found.shape
        if found.source in (EXAMPLE, ASSUMED) and _takes(model, (channels, height + 32, width + 32)):
            return found._replace(size=None)
        return found
    assert failure is not None
    found, error = failure
    raise UserError(
        f"the model does not take images of the shape {found.shape} ({found.source}): {type(error).__name__}: {error}"
    ) from error


def example_shape(model: nn.Module) -> Shape | None:
    """(C, H, W) of an image that a model takes, if it or its backbone says so."""
    return getattr(getattr(model, "backbone", model), "example_shape", None)


def _tell(evaluation: Transform | None, train: Transform, example: Shape | None, name: str, mode: str) -> Input:
    if evaluation and (shape := _fixed_shape(evaluation, mode)):
        return Input(shape, f"from evaluation.{name}.transforms", mode, None)
    trained_at = _fixed_shape(train, mode)
    channels, height, width = trained_at or example or (3 if mode == "RGB" else 1, 224, 224)
    shape = _shape(evaluation or train, mode, (height, width)) or (channels, height, width)
    source = "from train.transforms" if trained_at else EXAMPLE if example else ASSUMED
    return Input(shape, source, mode, (height, width))


def _fixed_shape(transform: Transform, mode: str) -> Shape | None:
    """What a transform makes of every picture, or None if that depends on the picture."""
    upright, lying = _shape(transform, mode, (640, 512)), _shape(transform, mode, (512, 640))
    return upright if upright == lying else None


def _shape(transform: Transform, mode: str, size: tuple[int, int]) -> Shape | None:
    """The shape of what a transform makes of a picture of height and width `size`; None if it makes no image of it."""
    try:
        with untouched_random_state():
            image = transform(Image.new(mode, (size[1], size[0])))
    except Exception:  # transforms can be anyone's
        return None
    if not isinstance(image, Tensor) or image.ndim != 3:
        return None
    channels, height, width = image.shape
    return channels, height, width


def _takes(model: Callable[[Tensor], Any], shape: Shape) -> bool:
    try:
        model(torch.zeros(1, *shape))
    except Exception:
        return False
    return True
