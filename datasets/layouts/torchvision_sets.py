"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100, over torchvision."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from torchvision import datasets

from ...registry import DATASETS, UnavailableError
from ..base import ArrayImages

Split = Literal["train", "test"]


class _Torchvision(ArrayImages):
    """One of torchvision's data sets, downloaded into `root` where it is not there yet.

    Args:
        root: the folder torchvision keeps it in.
        split: "train" or "test".
        download: fetch it if it is missing.

    Raises:
        UnavailableError: it is not there and was not or could not be fetched.
    """

    data_set: ClassVar[Any]

    def __init__(self, root: str = "data", split: Split = "train", download: bool = True) -> None:
        kept_in = Path(root, self.data_set.__name__)
        made = [each for each in (kept_in / "raw", kept_in, Path(root)) if not each.exists()]
        try:
            data = self.data_set(root, train=split == "train", download=download)
        except (OSError, RuntimeError) as error:
            for folder in made:  # torchvision makes them before it fetches: empty, they would pass for data
                with suppress(OSError):
                    folder.rmdir()
            raise UnavailableError(
                f"{self.source} is not in {root} and was not fetched ({error}). "
                f"Put torchvision's files there, or name the folder that holds them as `root`."
            ) from error
        self._split = split
        self.images = np.asarray(data.data)
        self.classes = list(data.classes)
        self.labels: Sequence[int] = np.asarray(data.targets).tolist()

    def name(self, index: int) -> str:
        return f"{self._split}/{index:05d}"


@DATASETS.register_module()
class MNIST(_Torchvision):
    """Handwritten digits: 60,000 and 10,000 grey images of 28x28 (LeCun et al. 1998)."""

    source = "MNIST"
    data_set = datasets.MNIST


@DATASETS.register_module()
class FashionMNIST(_Torchvision):
    """Ten kinds of clothing: 60,000 and 10,000 grey images of 28x28 (Xiao et al. 2017)."""

    source = "Fashion-MNIST"
    data_set = datasets.FashionMNIST


@DATASETS.register_module()
class CIFAR10(_Torchvision):
    """Ten kinds of animals and vehicles: 50,000 and 10,000 colour images of 32x32 (Krizhevsky 2009)."""

    source = "CIFAR-10"
    data_set = datasets.CIFAR10


@DATASETS.register_module()
class CIFAR100(_Torchvision):
    """A hundred classes: 50,000 and 10,000 colour images of 32x32 (Krizhevsky 2009)."""

    source = "CIFAR-100"
    data_set = datasets.CIFAR100
