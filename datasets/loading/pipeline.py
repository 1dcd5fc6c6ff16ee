"""A list of transforms, applied to batches: at once where that can be, image by image where it cannot.

The same images come out for any number of workers and in any order of batches: every random number follows from the
seed of the run, the epoch, the image, and the place of the transform in the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from .batched.form import Form, form_of
from .philox import uniform
from .pictures import LazyPicture, as_pil, as_tensor, collect, each, stacked
from .randomness import own_randomness, seed_sample

Images: TypeAlias = Tensor | list[Any]
Transform: TypeAlias = Callable[[Any], Any]
# What random numbers are for: each of these has its own.
READING, TRANSFORMS = range(2)


class Keys(NamedTuple):
    """Which samples a batch has.

    Args:
        indices: their positions in the data set (N,).
        copies: how often each has been drawn in this epoch before (N,).
    """

    epoch: int
    indices: np.ndarray
    copies: np.ndarray

    @classmethod
    def once(cls, indices: Sequence[int], epoch: int = 0) -> Keys:
        """Keys of samples of which each is drawn once."""
        return cls(epoch, np.asarray(indices), np.zeros(len(indices), np.int64))

    def where(self, kept: Sequence[bool]) -> Keys:
        """Those samples of the batch that are marked."""
        mask = np.asarray(kept)
        return Keys(self.epoch, self.indices[mask], self.copies[mask])

    def uniform(self, count: int, seed: int, purpose: int) -> np.ndarray:
        """Random numbers between 0 and 1 for each sample (N, count)."""
        return uniform(self.epoch, self.indices, self.copies, count, (seed, purpose))


def to_seeds(numbers: np.ndarray) -> list[int]:
    """Seeds of 32 bits, for ordinary generators, from random numbers (N, 1)."""
    return (numbers[:, 0] * 2.0**32).astype(np.int64).tolist()


class Pipeline:
    """Transforms from images as a data set gives them to what a model takes.

    A transform of torchvision works on the whole batch if it has a form for that (batched/). Any other is called with
    one image after another: one of Pillow's before ToImage in the list, a tensor after it or if the data set, or a
    transform without such a form, gave a tensor.

    Args:
        transforms: callables from an image to an image, in order; none leaves tensors as they are.
        seed: of the run.
    """

    def __init__(self, transforms: Sequence[Transform], seed: int = 0) -> None:
        self.seed = seed
        self._here = _steps(transforms)
        # From where bytes become floats to the end, if all of that can be done at once on any device: floats are four
        # times as much to move from a worker to the training process, and from there to an accelerator. What brings
        # images to one size cannot wait until they are one batch.
        self._on_device: list[Form] = []
        while self._here and isinstance(form := self._here[-1], Form) and not form.changes_size:
            self._on_device.insert(0, form)
            self._here.pop()
            if form.makes_floats:
                break
        else:
            self._here += self._on_device
            self._on_device = []

    @property
    def runs_anywhere(self) -> bool:
        """Whether all of it can run on the device, on batches that lie there from the beginning."""
        return all(isinstance(step, Form) and step.anywhere for step in [*self._here, *self._on_device])

    def seeds(self, keys: Keys) -> list[int]:
        """A seed for each sample, for data sets that draw random numbers themselves."""
        return to_seeds(keys.uniform(1, self.seed, READING))

    def prepare(self, images: Images, keys: Keys) -> Images:
        """All that a worker does; a tensor (N, C, H, W) unless the images differ in shape.

        Raises:
            SampleError: an image cannot be read, or a transform fails on it.
        """
        if not self._here and isinstance(images, Tensor):
            return images
        # Of each image, whether it is a tensor to whom it belongs; bytes in a stack are pictures.
        if isinstance(images, list):
            are_tensors = [isinstance(image, Tensor) for image in images]
            images = stacked(images)
        else:
            are_tensors = [images.dtype != torch.uint8] * len(images)
        for step, numbers in self._with_numbers(self._here, keys):
            if isinstance(step, _ImageByImage):
                with own_randomness():
                    made = list(each(step, list(images), are_tensors, to_seeds(numbers)))
                are_tensors = [isinstance(image, Tensor) for image in made]
                images = stacked(made)
            else:
                images = (
                    step.on_stack(images, numbers) if isinstance(images, Tensor) else step.on_pictures(images, numbers)
                )
        if isinstance(images, list) and isinstance(images[0], (LazyPicture, Image.Image)):
            images = collect(each(as_tensor, images), len(images))
        return images

    def finish(self, images: Tensor, keys: Keys) -> Tensor:
        """All that is left, on the device that the images are on."""
        if not self._on_device:
            return images
        for step, numbers in self._with_numbers(self._on_device, keys, after=self._here):
            images = step.on_stack(images, numbers)
        return images

    def _with_numbers(
        self, steps: Sequence[AnyStep], keys: Keys, after: Sequence[Step] = ()
    ) -> Iterator[tuple[AnyStep, np.ndarray]]:
        """Each step, and its columns of random numbers: drawing all at once takes no longer than drawing one."""
        if not steps:
            return
        count, before = sum(step.draws for step in steps), sum(step.draws for step in after)
        numbers = keys.uniform(before + count, self.seed, TRANSFORMS) if count else np.empty((len(keys.indices), 0))
        numbers = numbers[:, before:] if count else numbers
        for step in steps:
            yield step, numbers[:, : step.draws]
            numbers = numbers[:, step.draws :]

    def __call__(self, image: Any) -> Any:
        """One image through everything, as the first of a data set in evaluation.

        Raises:
            SampleError: as `prepare`.
        """
        keys = Keys.once([0])
        images = self.prepare([image], keys)
        return self.finish(images, keys)[0] if isinstance(images, Tensor) else images[0]


class _ImageByImage:
    """Transforms that have no form for batches.

    Args:
        after_to_image: whether ToImage stands before them in the list.
    """

    draws = 1  # the seed of what they draw themselves

    def __init__(self, after_to_image: bool) -> None:
        self.transforms: list[Transform] = []
        self.after_to_image = after_to_image

    def __call__(self, image: Any, is_tensor: bool, seed: int) -> Any:
        """All of them for one image; what they draw follows from a seed."""
        if self.after_to_image:
            image = tv_tensors.Image(as_tensor(image))
        elif not is_tensor:
            image = as_pil(image)
        seed_sample(seed)
        for transform in self.transforms:
            image = transform(image)
        return image


Step: TypeAlias = Form | _ImageByImage
AnyStep = TypeVar("AnyStep", bound=Step)


def _steps(transforms: Sequence[Transform]) -> list[Step]:
    """The forms of those transforms that have one, joined where one does the work of two; and the others."""
    steps: list[Step] = []
    after_to_image = False
    for transform in transforms:
        form, before = form_of(transform), steps[-1] if steps else None
        after_to_image |= isinstance(transform, v2.ToImage)
        if form is None:
            if not isinstance(before, _ImageByImage):
                before = _ImageByImage(after_to_image)
                steps.append(before)
            before.transforms.append(transform)
        elif not (isinstance(before, Form) and before.absorb(form)):
            steps.append(form)
    return steps
