"""The same pictures in every layout: one model gets the same answer for each of them, and the same accuracy."""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from knoll.datasets.loading.loader import EvaluationLoader
from knoll.datasets.transforms import build_transforms
from knoll.registry import DATASETS

DATA = Path(os.environ.get("KNOLL_DATA", Path(__file__).parents[4] / "shared/data"))
SIZE = 64


class Picture(NamedTuple):
    name: str
    label: str
    pixels: np.ndarray  # uint8 (SIZE, SIZE, 3)
    png: bytes


def picture(name: str, label: str, image: Image.Image) -> Picture:
    image = image.convert("RGB").resize((SIZE, SIZE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")  # loses nothing, so that files and arrays hold the same pixels
    return Picture(name, label, np.asarray(image), buffer.getvalue())


def made_up() -> list[Picture]:
    """Two classes that differ in brightness, with so much noise that no model tells all of them apart."""
    rng = np.random.default_rng(0)
    pictures = []
    for number in range(30):
        label, bright = (("ants", 100), ("bees", 130))[number % 2]
        pixels = rng.normal(bright + rng.normal(0, 20), 30, (SIZE, SIZE, 3)).clip(0, 255).astype(np.uint8)
        pictures.append(picture(f"{number:03d}", label, Image.fromarray(pixels)))
    return pictures


def ants_and_bees() -> list[Picture]:
    folder = DATA / "hymenoptera/val"
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}: set KNOLL_DATA to the folder that holds hymenoptera")
    files = [*sorted((folder / "ants").iterdir()), *sorted((folder / "bees").iterdir())]
    return [picture(f"{n:03d}", file.parent.name, Image.open(file)) for n, file in enumerate(files)]


# --- writers: each puts the pictures down in one layout and says how a config reads it --------------------------------


def put(path: str, content: bytes | str) -> None:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())


def class_folders(pictures: list[Picture]) -> dict:
    for each in pictures:
        put(f"folders/{each.label}/{each.name}.png", each.png)
    return dict(type="ImageFolder", root="folders")


def label_files(pictures: list[Picture]) -> dict:
    for each in pictures:
        put(f"pairs/{each.label}_image/{each.name}.png", each.png)
        put(f"pairs/{each.label}_label/{each.name}.txt", each.label)
    return dict(type="LabelFiles", root="pairs")


def file_names(pictures: list[Picture]) -> dict:
    for each in pictures:
        put(f"names/{each.label}_{each.name}.png", each.png)
    return dict(type="FileNames", root="names", pattern=r"(?P<label>[a-z]+)_\d+\.png")


def table_list(pictures: list[Picture]) -> dict:
    for each in pictures:
        put(f"flat/{each.name}.png", each.png)
    with open("flat.csv", "w", newline="") as file:
        csv.writer(file).writerows([("image", "label"), *((f"{each.name}.png", each.label) for each in pictures)])
    return dict(type="ListFile", path="flat.csv", root="flat")


def json_list(pictures: list[Picture]) -> dict:
    for each in pictures:
        put(f"flat/{each.name}.png", each.png)
    put("flat/list.json", json.dumps([dict(file=f"{each.name}.png", kind=each.label) for each in pictures]))
    return dict(type="ListFile", path="flat/list.json", image="file", label="kind")


def arrays(pictures: list[Picture]) -> dict[str, np.ndarray]:
    labels = np.array([["ants", "bees"].index(each.label) for each in pictures])
    return dict(val_images=np.stack([each.pixels for each in pictures]), val_labels=labels)


def one_file_of_arrays(pictures: list[Picture]) -> dict:
    np.savez("arrays.npz", **arrays(pictures))
    return dict(type="ArrayFile", path="arrays.npz", split="val", classes=["ants", "bees"])


def mapped_arrays(pictures: list[Picture]) -> dict:
    Path("arrays").mkdir()
    for name, array in arrays(pictures).items():
        np.save(f"arrays/{name}.npy", array)
    return dict(type="ArrayFile", path="arrays", split="val", classes=["ants", "bees"])


def tar_shards(pictures: list[Picture]) -> dict:
    for number in range(2):
        with tarfile.open(f"shard-{number}.tar", "w") as tar:
            for each in pictures[number::2]:
                for part, data in (("png", each.png), ("cls", str(["ants", "bees"].index(each.label)).encode())):
                    header = tarfile.TarInfo(f"{each.name}.{part}")
                    header.size = len(data)
                    tar.addfile(header, io.BytesIO(data))
    return dict(type="TarShards", shards="shard-{0..1}.tar", classes=["ants", "bees"])


def hugging_face(pictures: list[Picture]) -> dict:
    hf = pytest.importorskip("datasets", exc_type=ImportError)
    columns = dict(
        image=[dict(bytes=each.png, path=None) for each in pictures], label=[each.label for each in pictures]
    )
    features = hf.Features(image=hf.Image(), label=hf.ClassLabel(names=["ants", "bees"]))
    hf.Dataset.from_dict(columns, features=features).save_to_disk("saved")
    return dict(type="HuggingFace", path="saved", split=None)


LAYOUTS: list[Callable[[list[Picture]], dict]] = [
    *(class_folders, label_files, file_names, table_list, json_list),
    *(one_file_of_arrays, mapped_arrays, tar_shards, hugging_face),
]

# --- the model --------------------------------------------------------------------------------------------------------


def make_model(pictures: list[Picture]) -> nn.Module:
    """Random convolutions, with a bias that puts half of the pictures on either side: right for some, not for all."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=4), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2),
    ).eval()  # fmt: skip
    images = torch.from_numpy(np.stack([each.pixels for each in pictures])).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        logits = model(images)
        model[-1].bias[1] -= (logits[:, 1] - logits[:, 0]).median()
    return model


def answers(config: dict, model: nn.Module) -> tuple[dict[bytes, tuple[list[float], str]], float]:
    """For each picture, known by its pixels, the logits and the name of its class; and the top-1 accuracy."""
    dataset = DATASETS.build(config)
    transform = build_transforms([dict(type="ToImage"), dict(type="ToDtype", dtype="float32", scale=True)])
    told, right = {}, 0
    with torch.no_grad():
        # One by one, for how a batch is put together may change the last digit of a sum.
        for batch in EvaluationLoader(dataset, transform, batch_size=1, num_workers=0, seed=0):
            logits, label = model(batch.images)[0], int(batch.labels)
            pixels = (batch.images[0].permute(1, 2, 0) * 255).round().byte().numpy().tobytes()
            told[pixels] = (logits.tolist(), dataset.classes[label])
            right += int(logits.argmax()) == label
    return told, right / len(dataset)


@pytest.mark.parametrize("pictures", [made_up, ants_and_bees])
def test_one_model_gets_the_same_answers_from_every_layout(pictures, working_directory):
    given = pictures()
    model = make_model(given)
    expected, accuracy = answers(class_folders(given), model)
    assert {pixels: label for pixels, (_, label) in expected.items()} == {
        each.pixels.tobytes(): each.label for each in given
    }
    assert 0.2 < accuracy < 0.95
    for layout in LAYOUTS:
        assert answers(layout(given), model) == (expected, accuracy), layout.__name__
