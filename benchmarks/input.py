"""How fast training batches come, against torchvision's own way, in the same run.

    python -m benchmarks input
    python -m benchmarks input --photos data/flower_photos --pairs 7 --workers 0 1 2

Each row: batches of one kind by torchvision (Pillow, transforms v1, torch's DataLoader) and by Knoll, in turn; the
median of the pairs' ratios with its 95 % interval. Both end with the same: a batch of normalised floats on the CPU.

* jpeg: photographs in class folders; random resized crops of 224 pixels, flipped, batches of 64.
* packed: the same photographs from a packed file (tools/data.py pack) of 256 pixels.
* cifar: 32x32 colour arrays in memory; crops from a border of 4, flipped, batches of 128.
* mnist: 28x28 grey arrays in memory, batches of 128.

Without photographs, or without arrays in data/, made-up ones of the same sizes take their place, and the table says so.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset
from torchvision import datasets as torchvision_sets
from torchvision import transforms as v1

from knoll.datasets.base import ArrayImages
from knoll.datasets.layouts.packed import Packed, pack
from knoll.datasets.loading.loader import TrainLoader
from knoll.datasets.samplers import Shuffled
from knoll.datasets.transforms import build_transforms
from knoll.registry import DATASETS

from .options import parser
from .report import Table
from .stages import shares
from .timing import Estimate, in_turn, ratio

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
TARGETS = {"jpeg": 1.8, "packed": 9.0, "cifar": 25.0, "mnist": 60.0}


class Case(NamedTuple):
    """Something to read: what torchvision reads with its transforms, what Knoll reads with its own.

    Args:
        images: of one timing; more than the data set has are read in several epochs.
    """

    theirs: Any
    ours: Any
    transforms: list[dict]
    batch_size: int
    images: int


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    options = parser("input").parse_args(argv)
    torch.set_num_threads(1)  # a worker has one; so the rows without workers compare one core with one
    table = Table(
        case="<6", workers=">7d", torchvision=">11.1f", knoll=">8.2f", ratio=">23.2f", target=">6g", data="<0"
    )
    print("microseconds an image; ratio: how many times faster")
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.cases:
            case, note = CASES[name](options.photos, Path(scratch))
            case = case._replace(images=max(case.batch_size, int(case.images * options.scale)))
            for workers in options.workers if name in ("jpeg", "packed") else [0]:
                measured = compare(case, workers, options.pairs)
                table.add(case=name, workers=workers, **measured, target=TARGETS[name], data=note)
            if options.profile:
                parts = shares(_our_batches(case, workers=0), case.images // case.batch_size)
                table.rows[-1]["profile"] = parts
                print("        " + ", ".join(f"{stage} {share:.0%}" for stage, share in parts.items() if share >= 0.01))
    return table.rows


def compare(case: Case, workers: int, pairs: int) -> dict[str, float | Estimate]:
    """Microseconds of each in turn, as medians; and how many times faster ours is."""
    timings = {
        "torchvision": lambda: _time(lambda: _their_batches(case, workers), case),
        "knoll": lambda: _time(lambda: _our_batches(case, workers), case),
    }
    taken = in_turn(timings, pairs)
    medians = {name: statistics.median(values) * 1e6 for name, values in taken.items()}
    return medians | {"ratio": ratio(taken["torchvision"], taken["knoll"])}


def _time(batches: Callable[[], Iterable[Any]], case: Case) -> float:
    """Seconds for one image. The start of workers is not counted: a run starts them once."""
    iterator = iter(batches())
    next(iterator)
    seen, start = 0, time.perf_counter()
    for batch in iterator:
        seen += len(batch[1])
        if seen >= case.images:
            break
    return (time.perf_counter() - start) / seen


def _their_batches(case: Case, workers: int) -> Iterable[Any]:
    repeated = ConcatDataset([case.theirs] * _epochs(case))
    return DataLoader(repeated, case.batch_size, shuffle=True, num_workers=workers, drop_last=True)


def _our_batches(case: Case, workers: int) -> Iterable[Any]:
    loader = TrainLoader(
        case.ours,
        build_transforms(case.transforms),
        Shuffled(case.ours, seed=0),
        batch_size=case.batch_size,
        drop_last=True,
        num_workers=workers,
        seed=0,
    )
    return loader.batches(0, _epochs(case) * loader.batches_per_epoch)


def _epochs(case: Case) -> int:
    return 2 + case.images // len(case.ours)


AS_FLOATS = [dict(type="ToImage"), dict(type="ToDtype", dtype="float32", scale=True)]
PHOTO_TRANSFORMS = [
    dict(type="RandomResizedCrop", size=224),
    dict(type="RandomHorizontalFlip"),
    *AS_FLOATS,
    dict(type="Normalize", mean=MEAN, std=STD),
]


def _photos(folder: Path, scratch: Path) -> tuple[Case, str]:
    note = f"{folder}"
    if not folder.is_dir():
        folder, note = _made_up_photos(scratch), "made-up photographs"
    steps = v1.Compose([v1.RandomResizedCrop(224), v1.RandomHorizontalFlip(), v1.ToTensor(), v1.Normalize(MEAN, STD)])
    theirs = torchvision_sets.ImageFolder(str(folder), steps)
    ours = DATASETS.build(dict(type="ImageFolder", root=str(folder)))
    return Case(theirs, ours, PHOTO_TRANSFORMS, batch_size=64, images=960), f"{len(ours)} photographs, {note}"


def _packed(folder: Path, scratch: Path) -> tuple[Case, str]:
    case, note = _photos(folder, scratch)
    file = scratch / "photos.pack"
    pack(case.ours, file, size=256, source="photographs")
    return case._replace(ours=Packed(str(file))), note


def _made_up_photos(scratch: Path) -> Path:
    """Smooth pictures of 350 x 280 pixels with some noise, which is about what a photograph is to a JPEG."""
    generator = np.random.default_rng(0)
    for number in range(100):
        small = Image.fromarray(generator.integers(0, 256, (14, 18, 3), dtype=np.uint8))
        pixels = np.asarray(small.resize((350, 280), Image.Resampling.BICUBIC)).astype(int)
        noisy = (pixels + generator.normal(0, 12, pixels.shape)).clip(0, 255).astype(np.uint8)
        file = scratch / "photos" / f"class_{number % 5}" / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy).save(file, quality=90)
    return scratch / "photos"


class _Arrays(ArrayImages):
    def __init__(self, images: np.ndarray, labels: list[int]) -> None:
        self.images, self.labels = images, labels
        self.classes = [str(number) for number in range(10)]


class _TheirArrays(Dataset):
    """As torchvision's own MNIST and CIFAR10 read a sample from their arrays."""

    def __init__(self, images: np.ndarray, labels: list[int], transform: Callable) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def _cifar(folder: Path, scratch: Path) -> tuple[Case, str]:
    images, labels = _arrays((50_000, 32, 32, 3))
    steps = v1.Compose(
        [v1.RandomCrop(32, padding=4), v1.RandomHorizontalFlip(), v1.ToTensor(), v1.Normalize(MEAN, STD)]
    )
    transforms = [dict(type="RandomCrop", size=32, padding=4), *PHOTO_TRANSFORMS[1:]]
    case = Case(_TheirArrays(images, labels, steps), _Arrays(images, labels), transforms, batch_size=128, images=20_000)
    return case, "arrays of CIFAR-10's size"


def _mnist(folder: Path, scratch: Path) -> tuple[Case, str]:
    images, labels = _arrays((60_000, 28, 28))
    steps = v1.Compose([v1.ToTensor(), v1.Normalize([0.1307], [0.3081])])
    transforms = [*AS_FLOATS, dict(type="Normalize", mean=[0.1307], std=[0.3081])]
    case = Case(_TheirArrays(images, labels, steps), _Arrays(images, labels), transforms, batch_size=128, images=40_000)
    return case, "arrays of MNIST's size"


def _arrays(shape: tuple[int, ...]) -> tuple[np.ndarray, list[int]]:
    # What the pixels are makes no difference to arrays.
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, shape, dtype=np.uint8), generator.integers(0, 10, shape[0]).tolist()


CASES: dict[str, Callable[[Path, Path], tuple[Case, str]]] = {
    "jpeg": _photos,
    "packed": _packed,
    "cifar": _cifar,
    "mnist": _mnist,
}
