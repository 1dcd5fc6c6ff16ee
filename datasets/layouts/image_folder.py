"""Class folders: `root/daisy/1.jpg`, `root/roses/2.jpg`, ..."""

from __future__ import annotations

from pathlib import Path

from torchvision.datasets.folder import make_dataset

from ...registry import DATASETS, UnavailableError, UserError
from ..base import ImageFiles
from ..loading.decoding import endings


@DATASETS.register_module()
class ImageFolder(ImageFiles):
    """One folder per class; the classes are the folders' names in alphabetical order, or `classes` in theirs.

    Args:
        root: the folder that holds the class folders.
        split: a folder below root to read instead, for `root/train/...` and `root/val/...`.
        source: in words, where the images come from; the folder by default.
        classes: names of the folders in an order of your own; some may be missing or empty, none may be left out.

    Raises:
        UnavailableError: there is no such folder.
        UserError: it has no class folders, or one without images, or one that is not in `classes`.
    """

    def __init__(
        self,
        root: str,
        split: str | None = None,
        source: str | None = None,
        classes: list[str] | None = None,
    ) -> None:
        folder = Path(root, split or "")
        files, labels, classes = list_class_folders(folder, classes)
        super().__init__(files, labels, classes, root=folder)
        self.source = source or f"folder {root}"


def list_class_folders(root: Path, wanted: list[str] | None = None) -> tuple[list[Path], list[int], list[str]]:
    """Files, labels and class names below a folder, in sorted order whatever the file system lists first.

    Args:
        wanted: the classes, in their order, of which some may have no images.
    """
    if not root.is_dir():
        raise UnavailableError(f"there is no folder {root}")
    classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise UserError(f"{root} has no class folders: expected {root}/<class>/<image>")
    unknown = sorted(set(classes) - set(wanted)) if wanted is not None else []
    if unknown:
        raise UserError(f"{root} has the folder {unknown[0]}, which is not among classes={wanted}")
    classes = wanted if wanted is not None else classes
    labels = {name: label for label, name in enumerate(classes)}
    present = {name: label for name, label in labels.items() if (root / name).is_dir()}
    samples = make_dataset(str(root), present, endings(), allow_empty=True)
    counts = dict.fromkeys(classes, 0)
    for _, label in samples:
        counts[classes[label]] += 1
    empty = [name for name, count in counts.items() if count == 0]
    if empty and wanted is None:
        remedy = "fill the folder, remove it, or name the classes: classes=[...]"
        if any(next((root / name).glob("*.txt"), None) for name in empty):
            remedy = "there are .txt files; where these hold the labels, take LabelFiles"
        raise UserError(f"{root}: no images in {', '.join(empty)}: {remedy}")
    if not samples:
        raise UserError(f"{root} has no images")
    return [Path(file) for file, _ in samples], [label for _, label in samples], classes
