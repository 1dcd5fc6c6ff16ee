"""TensorFlow's flower_photos: 3670 photographs of five kinds of flowers."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Literal

from ...registry import DATASETS
from ...registry.download import download, sha256_of
from ..base import ImageFiles
from ..combining.identical import first_identical
from ..combining.partition import hash_order
from ..layouts.image_folder import list_class_folders
from .archives import unpack

URL = "http://download.tensorflow.org/example_images/flower_photos.tgz"
SHA256 = "4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c"
SIZE = 228_813_984  # bytes


@DATASETS.register_module()
class FlowerPhotos(ImageFiles):
    """Photographs of daisy, dandelion, roses, sunflowers and tulips, split by a seed into training and validation.

    The split is stratified, depends on names and bytes alone, and keeps identical pictures together: no picture is
    in both parts. The photographs are CC BY 2.0, each by its own author (LICENSE.txt in the archive).

    Args:
        root: the folder with the five class folders.
        split: "train" or "val".
        val_fraction: share of each class that validates.
        seed: of the split.
        download: fetch the archive (229 MB, checked by its SHA-256) if the folder is not there.

    Raises:
        UnavailableError: no folder, and no download wanted or possible.
    """

    source = "flower photos"

    def __init__(
        self,
        root: str = "data/flower_photos",
        split: Literal["train", "val"] = "train",
        val_fraction: float = 0.1,
        seed: int = 0,
        download: bool = False,
    ) -> None:
        folder = Path(root)
        if download and not folder.is_dir():
            fetch(folder)
        files, labels, classes = list_class_folders(folder)
        validates = _validation_part(ImageFiles(files, labels, classes, root=folder), val_fraction, seed)
        chosen = [index for index in range(len(files)) if validates[index] == (split == "val")]
        super().__init__([files[i] for i in chosen], [labels[i] for i in chosen], classes, root=folder)


def _validation_part(photos: ImageFiles, fraction: float, seed: int) -> list[bool]:
    """For every file, whether it validates: of each class the first pictures in the order of a seeded hash."""
    groups: dict[tuple[int, str], list[int]] = defaultdict(list)
    for index, first in enumerate(first_identical(photos)):
        groups[photos.labels[index], photos.name(first)].append(index)
    validates = [False] * len(photos)
    for label, count in Counter(photos.labels).items():
        wanted, taken = round(fraction * count), 0
        for picture in hash_order((name for own, name in groups if own == label), seed):
            if taken >= wanted:
                break
            for index in groups[label, picture]:
                validates[index] = True
            taken += len(groups[label, picture])
    return validates


def fetch(folder: Path) -> None:
    """Download and unpack the archive so that `folder` holds the class folders; one that lies beside it is taken.

    Raises:
        UnavailableError: no connection, or a file with another SHA-256.
    """
    archive = folder.parent / "flower_photos.tgz"
    there = archive.is_file() and sha256_of(archive) == SHA256
    if not there:
        download(URL, archive, SHA256)
    unpack(archive, folder, top="flower_photos", most=2 * SIZE)
    if not there:
        archive.unlink()
