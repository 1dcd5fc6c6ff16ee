"""Names of files with spaces, in any language, with line breaks, and such that are no text at all."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from knoll.datasets.layouts.image_folder import ImageFolder
from knoll.registry import UserError
from knoll.runner import Runner

pytestmark = pytest.mark.row(33)

CLASSES = ["a b", "new\nline", "ü", "雏菊"]
NAMES = ["with space.png", "蒲公英 ü.png", "two\nlines.png", "tab\tand 'quotes\", commas.png", "\x1b[31mred.png"]
NOT_TEXT = os.fsdecode(b"gbk \xb3\xfb\xbe\xd5.png")  # as an archive from a Chinese Windows has it
AS_TENSOR = [
    dict(type="Grayscale"),
    dict(type="ToImage"),
    dict(type="ToDtype", dtype="float32", scale=True),
]


@pytest.fixture
def photos(working_directory) -> Path:
    root = working_directory / "my photos 照片"
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for number, file in enumerate([*NAMES, NOT_TEXT]):
            pixels = np.full((28, 28), 60 * label + 5 * number, np.uint8)
            try:
                Image.fromarray(pixels).save(root / name / file)
            except OSError:
                pytest.skip("this file system takes only names that are text")
    return root


@pytest.fixture
def config(tiny, photos) -> dict[str, Any]:
    for data in (tiny["train"], tiny["evaluation"]["val"]):
        data |= dict(dataset=dict(type="ImageFolder", root=photos.name), transforms=AS_TENSOR)
    return tiny | dict(accumulate=1, duration="1ep")


def test_class_folders(photos, figure):
    found = ImageFolder(str(photos))
    assert found.classes == sorted(CLASSES)
    assert len(found) == 4 * 6
    names = {found.name(index) for index in range(24)}
    assert names == {f"{kind}/{name}" for kind in CLASSES for name in [*NAMES, NOT_TEXT]}
    for index in range(24):
        image, label = found[index]
        kind, _, name = found.name(index).partition("/")
        expected = 60 * CLASSES.index(kind) + 5 * [*NAMES, NOT_TEXT].index(name)
        assert image.getpixel((0, 0)) == (expected,) * 3
        assert found.classes[label] == kind
    figure(
        f"{len(found)} images with spaces, line breaks and other letters in their names: each its own pixels and label"
    )


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_from_training_to_files_of_predictions(config, photos, tool, monkeypatch, encoding):
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    Path("tiny.yaml").write_text(yaml.safe_dump(config))
    checkpoint = "run/checkpoints/last.pt"
    for arguments in (
        ("train", "tiny.yaml", "--work-dir", "run"),
        ("test", checkpoint, "--out", "tested.csv", "--device", "cpu"),
        ("predict", checkpoint, photos.name, "--out", "p.csv", "--device", "cpu"),
        ("predict", checkpoint, photos.name, "--out", "p.json", "--show", "sheet.png", "--device", "cpu"),
    ):
        done = tool(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments
        assert "\x1b" not in done.stdout
    assert sum(line.startswith("my photos ") for line in done.stdout.splitlines()) == 24

    def as_written(name: str) -> str:
        return name.encode("utf-8", "backslashreplace").decode()

    expected = {as_written(f"{kind}/{name}") for kind in CLASSES for name in [*NAMES, NOT_TEXT]}
    for file, prefix in (("tested.csv", ""), ("p.csv", f"{photos.name}/")):
        with open(file, newline="", encoding="utf-8") as opened:
            rows = list(csv.DictReader(opened))
        assert {row["name"] for row in rows} == {prefix + each for each in expected}
        assert {row["label"] for row in rows} == set(CLASSES)
    # JSON has an escape of its own for such bytes, so the name comes back as it was.
    rows = json.loads(Path("p.json").read_text(encoding="utf-8"))
    assert {os.fsencode(row["name"]) for row in rows} == {
        os.fsencode(file.relative_to(Path.cwd())) for file in files(photos)
    }


def files(root: Path) -> list[Path]:
    return [file for file in root.rglob("*") if file.is_file()]


@pytest.mark.parametrize("name", [*NAMES, NOT_TEXT])
def test_a_bad_image_is_named(photos, name):
    (photos / "雏菊" / name).write_bytes(b"")
    found = ImageFolder(str(photos))
    index = [found.name(each) for each in range(24)].index(f"雏菊/{name}")
    with pytest.raises(UserError) as error:
        found[index]
    assert str(error.value) == f"{photos}/雏菊/{name} cannot be read as an image: the file is empty. Mend or remove it."


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_goes_missing_in_a_run_is_named(config, photos, workers):
    config["train"]["num_workers"] = workers
    config["hooks"] = {}
    runner = Runner(config, "run")
    (photos / "ü" / NAMES[1]).unlink()
    with pytest.raises(UserError) as error:
        runner.train()
    assert str(error.value) == f"{photos.name}/ü/{NAMES[1]} cannot be read: No such file or directory"
