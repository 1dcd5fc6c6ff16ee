"""A first look, before a run, for images that are trained on and measured too; `data stats` looks closer.

Such an image makes a figure better than it is. Only equal bytes are found: of files, or of the pixels of arrays.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from ..datasets.base import ArrayImages, CombinedImages, EncodedImages, ImageFiles, name_of
from ..registry import UserError
from ..registry.errors import one_line

SECONDS = 1.0  # a note is worth no more; what takes longer is not finished, and that is said
SHOWN = 3

logger = logging.getLogger("knoll")

Alike = dict[Hashable, list[int]]  # the samples that something tells nothing apart of, by what it tells


def note_duplicates(train: Any, evaluation: Mapping[str, Any]) -> None:
    """Log a line for each evaluation set that shares images with the training set, and one if time ran out."""
    deadline = time.monotonic() + SECONDS
    left = list(evaluation)
    try:
        sketches = _group(train, range(len(train)), _sketch, deadline)
        for name, dataset in evaluation.items():
            shared = _shared(train, sketches, dataset, deadline)
            left.remove(name)
            if shared:
                pairs = [
                    one_line(f"{name_of(dataset, own)} = {name_of(train, other)}") for own, other in shared.items()
                ]
                are = "is" if len(shared) == 1 else "are"
                logger.info(
                    f"note: {len(shared)} of the {len(dataset)} images of {name} {are} in train too: "
                    f"{', '.join(pairs[:SHOWN])}{', ...' if len(pairs) > SHOWN else ''}; "
                    "python tools/data.py stats <config> names all"
                )
    except TimeoutError:
        logger.info(
            f"note: whether images of {', '.join(left)} are in train too was not found out in {SECONDS:g} s; "
            "python tools/data.py stats <config> looks at all"
        )


def _shared(train: Any, sketches: Alike, dataset: Any, deadline: float) -> dict[int, int]:
    """Of each sample that is in the training set too, its position and that of the first one there."""
    own = _group(dataset, range(len(dataset)), _sketch, deadline)
    common = own.keys() & sketches.keys()
    alike = _group(train, sorted(index for key in common for index in sketches[key]), _digest, deadline)
    suspects = _group(dataset, sorted(index for key in common for index in own[key]), _digest, deadline)
    pairs = ((index, alike[key][0]) for key, indices in suspects.items() if key in alike for index in indices)
    return dict(sorted(pairs))


def _group(dataset: Any, indices: Iterable[int], tell: Callable[[Any, int], Hashable], deadline: float) -> Alike:
    """Positions by what is told of the samples there; those of which nothing is told are left out.

    Raises:
        TimeoutError: the deadline has passed.
    """
    alike: Alike = defaultdict(list)
    for index in indices:
        if time.monotonic() > deadline:
            raise TimeoutError
        own, place = dataset, index
        while isinstance(own, CombinedImages):
            own, place = own.locate(place)
        try:
            told = tell(own, place)
        except (UserError, OSError):  # the run will say so when it needs the sample
            continue
        if told is not None:
            alike[told].append(index)
    return alike


def _sketch(dataset: Any, index: int) -> Hashable:
    """What tells nearly all samples apart at little cost: the size of a file, a line through the middle of an array.

    None for the rows of a table, where many may well be equal, and for data sets of other kinds.
    """
    if isinstance(dataset, ImageFiles):
        return dataset.files[index].stat().st_size
    if isinstance(dataset, EncodedImages):
        return len(dataset.encoded(index))
    if isinstance(dataset, ArrayImages) and dataset.images.ndim > 2:
        image = dataset.images[index]
        return image.shape, image[len(image) // 2].tobytes()
    return None


def _digest(dataset: Any, index: int) -> bytes:
    data = dataset.encoded(index) if isinstance(dataset, EncodedImages) else dataset.images[index].tobytes()
    return hashlib.blake2b(data, digest_size=16).digest()
