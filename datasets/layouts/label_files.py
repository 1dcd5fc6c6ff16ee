"""Images beside one label file each: `ants_image/0013035.jpg`, `ants_label/0013035.txt`."""

from __future__ import annotations

from pathlib import Path

from ...registry import DATASETS, UserError
from ..base import ImageFiles
from ..loading.decoding import endings
from .class_numbers import class_numbers
from .image_listing import list_files


@DATASETS.register_module()
class LabelFiles(ImageFiles):
    """A text file for every image, of the same name, that holds the label: the name of a class, or its number.

    Images lie in folders whose names end in `images`, their label files in folders that have `labels` there instead;
    so the endings "images" and "labels" read `images/1.jpg` with `labels/1.txt`. With two empty endings a label file
    lies beside its image.

    Args:
        root: the folder that holds these folders.
        split: a folder below root to read instead, for `root/train/...` and `root/val/...`.
        images: how the names of folders with images end.
        labels: how the names of folders with label files end.
        classes: names of the classes in order; by default those in the files, in alphabetical order.
        source: in words, where the images come from; the folder by default.

    Raises:
        UnavailableError: there is no such folder.
        UserError: it has no images; an image without a label file or the other way round; a label file that is not
            one line of text; a label that is not among `classes`.
    """

    def __init__(
        self,
        root: str,
        split: str | None = None,
        images: str = "_image",
        labels: str = "_label",
        classes: list[str] | None = None,
        source: str | None = None,
    ) -> None:
        folder = Path(root, split or "")
        listed = list_files(folder)
        files = [file for file in listed if file.suffix.lower() in endings()]
        if not files:
            raise UserError(f"{folder} has no images: expected {folder / f'<class>{images}' / '<image>'}")
        label_files = [_label_file(folder, file, images, labels) for file in files]
        _require_pairs(folder, files, label_files, listed, labels)
        texts = [_read(folder / file) for file in label_files]
        numbers, names = class_numbers(texts, classes, lambda index: str(folder / label_files[index]))
        super().__init__([folder / file for file in files], numbers, names, root=folder)
        self.source = source or f"folder {root}"


def _label_file(root: Path, image: Path, images: str, labels: str) -> Path:
    """Where the label of an image must be."""
    folders = list(image.parent.parts)
    for depth, folder in enumerate(folders):
        if folder.endswith(images):
            folders[depth] = folder.removesuffix(images) + labels
            break
    else:
        if images:
            raise UserError(f"{root / image} lies in no folder whose name ends in {images!r}, so its label is nowhere")
    return Path(*folders, image.name).with_suffix(".txt")


def _require_pairs(root: Path, files: list[Path], label_files: list[Path], listed: list[Path], labels: str) -> None:
    there = set(listed)
    bare = [index for index, file in enumerate(label_files) if file not in there]
    if bare:
        raise UserError(
            f"{root / files[bare[0]]} has no label file: expected {root / label_files[bare[0]]} "
            f"({len(bare)} of {len(files)} images have none)"
        )
    folders = {file.parent for file in label_files}
    folders |= {file.parent for file in listed if labels and file.parent.name.endswith(labels)}
    lone = {file for file in listed if file.suffix == ".txt" and file.parent in folders} - set(label_files)
    if lone:
        raise UserError(f"{root / min(lone)} is a label file without an image (there are {len(lone)} of that kind)")


def _read(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the label file {file} cannot be read: {error}") from error
    if not text or "\n" in text:
        found = "has several lines" if text else "is empty"
        raise UserError(f"the label file {file} {found}: expected the name of a class")
    return text
