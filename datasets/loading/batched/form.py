"""What a transform of torchvision is here when it works on a whole batch: a form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from torch import Tensor
from torchvision.transforms import v2

from ..pictures import Picture, as_tensor, collect, each

FORMS: dict[type[v2.Transform], type[Form]] = {}
Kind = TypeVar("Kind", bound="type[Form]")


class Unfit(Exception):
    """A transform has a setting that its form does not know: it then works image by image."""


class Form(ABC):
    """A transform of torchvision, with its settings, for all images of a batch at once.

    What is random comes as numbers between 0 and 1, some for each image; the distribution is torchvision's.

    Attributes:
        draws: how many random numbers an image takes.
        makes_floats: whether bytes become floats here.
        anywhere: whether it works on any device.
        changes_size: whether images of several sizes may become images of one.

    Raises:
        Unfit: a setting that this form does not know.
    """

    draws: ClassVar[int] = 0
    makes_floats: bool = False
    anywhere: ClassVar[bool] = True
    changes_size: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, transform: Any) -> None: ...

    @abstractmethod
    def on_stack(self, images: Tensor, numbers: np.ndarray) -> Tensor:
        """Images (N, C, H, W), on any device, which may be changed in place; and their random numbers (N, draws)."""

    def on_pictures(self, pictures: Sequence[Picture], numbers: np.ndarray) -> list[Tensor] | Tensor:
        """Images of several sizes."""

        def alone(picture: Picture, own: np.ndarray) -> Tensor:
            # A copy, for a form may change what it is given, and the data set goes on with its own.
            return self.on_stack(as_tensor(picture)[None].clone(), own[None])[0]

        return collect(each(alone, pictures, numbers), len(pictures))

    def on_cpu(self, images: Tensor) -> bool:
        """Whether numpy can work on them."""
        return images.device.type == "cpu"

    def absorb(self, following: Form) -> bool:
        """Take over the work of the form that follows, if both at once cost less."""
        return False


def register_form(transform: type[v2.Transform]) -> Callable[[Kind], Kind]:
    """Decorator: the class is the form of this transform, and of nothing derived from it."""

    def register(form: Kind) -> Kind:
        FORMS[transform] = form
        return form

    return register


def form_of(transform: Any) -> Form | None:
    """The form of a transform, if it has one that knows its settings."""
    form = FORMS.get(type(transform))
    try:
        return form(transform) if form else None
    except Unfit:
        return None
