"""Weights that others published, where they are at hand: in $KNOLL_DATA, or in shared/data beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from knoll.models.classifier import ImageClassifier
from knoll.models.weights import load_weights

DATA = Path(os.environ.get("KNOLL_DATA", Path(__file__).parents[4] / "shared/data"))
FILES = {20: "resnet20-12fca82f.th", 56: "resnet56-4bfd9763.th"}


def find(name: str) -> Path:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"there is no {path}: set KNOLL_DATA to the folder that holds {name}")
    return path


def loaded(depth: int) -> tuple[ImageClassifier, list[str]]:
    model = ImageClassifier(dict(type="CIFARResNet", depth=depth), dict(type="LinearHead", num_classes=10))
    return model, load_weights(model, find(f"weights/{FILES[depth]}")).lines


@pytest.mark.parametrize(("depth", "tensors"), [(20, 97), (56, 277)])
def test_names_of_another_code_base(depth: int, tensors: int) -> None:
    """Wrapped in `state_dict`, each with `module.` before it, and the last layer called `linear`."""
    path = find(f"weights/{FILES[depth]}")
    assert loaded(depth)[1] == [
        f"weights: {path} (SHA-256 {path.stem[-8:]}..., as its name says)",
        f"  matched {tensors} of {tensors} tensors",
        "  by its width: module.linear.weight -> head.fc.weight, module.linear.bias -> head.fc.bias",
    ]


@pytest.mark.parametrize(("depth", "top1"), [(20, 0.917), (56, 0.934)])
def test_they_tell_cifar_10_apart_as_their_author_says(depth: int, top1: float) -> None:
    images, labels = (np.load(find("cifar10.npz"))[f"test_{kind}"][:1000] for kind in ("images", "labels"))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    batch = ((torch.from_numpy(images) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        right = loaded(depth)[0].eval()(batch).argmax(1) == torch.from_numpy(labels)
    assert float(right.float().mean()) == pytest.approx(top1, abs=0.025)  # 2.9 standard errors of 1000 images
