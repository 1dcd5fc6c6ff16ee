"""Labels inside the names of the images: `ants_001.jpg`."""

from __future__ import annotations

import re
from pathlib import Path

from ...registry import DATASETS, ConfigError, UserError
from ..base import ImageFiles
from .class_numbers import class_numbers
from .image_listing import list_images


@DATASETS.register_module()
class FileNames(ImageFiles):
    """Images whose names tell their labels, by a regular expression.

    The expression must fit the whole name of every image, its ending included; its group `label` is the name of the
    class, or its number. The default reads `ants_001.jpg` and `black_ants_17.png`: all before the last underscore and
    a number. Folders below root are read too, but their names tell nothing.

    Args:
        root: the folder that holds the images.
        pattern: the expression, with `(?P<label>...)` in it.
        split: a folder below root to read instead, for `root/train/...` and `root/val/...`.
        classes: names of the classes in order; by default those in the names, in alphabetical order.
        source: in words, where the images come from; the folder by default.

    Raises:
        ConfigError: the pattern is no regular expression, or has no group `label`.
        UnavailableError: there is no such folder.
        UserError: it has no images; a name that the pattern does not fit; a label that is not among `classes`.
    """

    def __init__(
        self,
        root: str,
        pattern: str = r"(?P<label>.+)_\d+\.\w+",
        split: str | None = None,
        classes: list[str] | None = None,
        source: str | None = None,
    ) -> None:
        expression = _compile(pattern)
        folder = Path(root, split or "")
        files = [folder / file for file in list_images(folder)]
        matches = [expression.fullmatch(file.name) for file in files]
        labels = [match["label"] if match else None for match in matches]
        unread = [index for index, label in enumerate(labels) if not label]
        if unread:
            raise UserError(
                f"{files[unread[0]]}: pattern={pattern!r} does not fit this name "
                f"({len(unread)} of {len(files)} names do not fit)"
            )
        numbers, names = class_numbers([label or "" for label in labels], classes, lambda index: str(files[index]))
        super().__init__(files, numbers, names, root=folder)
        self.source = source or f"folder {root}"


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"FileNames: pattern={pattern!r} is not a regular expression: {error}") from error
    if "label" not in expression.groupindex:
        raise ConfigError(f"FileNames: pattern={pattern!r} has no group `label`: put (?P<label>...) around the label")
    return expression
