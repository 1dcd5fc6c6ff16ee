"""`data pack`, and a run that reads what it made."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from PIL import Image


@pytest.fixture
def config(tiny, working_directory):
    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 8)):
        for number in range(count):
            file = working_directory / f"photos/{split}/{'abcd'[number % 4]}/{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(file)
    floats = [dict(type="ToImage"), dict(type="ToDtype", dtype="float32", scale=True)]
    tiny["train"] |= dict(
        dataset=dict(type="ImageFolder", root="photos", split="train"),
        transforms=[dict(type="RandomResizedCrop", size=28), *floats],
    )
    tiny["evaluation"]["val"] |= dict(
        dataset=dict(type="ImageFolder", root="photos", split="val"),
        transforms=[dict(type="Resize", size=32), dict(type="CenterCrop", size=28), *floats],
    )
    tiny["model"]["backbone"] |= dict(in_channels=3)
    (working_directory / "mine.yaml").write_text(yaml.safe_dump(tiny | dict(duration=4)))
    return working_directory


def test_pack_prints_the_overrides_by_which_a_run_reads_the_files(tool, config):
    done = tool("data", "pack", "mine.yaml", "--size", "40")
    assert done.returncode == 0, done.stderr
    assert "train: 16 images (folder photos), 0 MB, in data/packed/mine_train.pack" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last == (
        "to read them: train.packed=data/packed/mine_train.pack evaluation.val.packed=data/packed/mine_val.pack"
    )
    trained = tool("train", "mine.yaml", *last.removeprefix("to read them: ").split())
    assert trained.returncode == 0, trained.stderr
    assert "val: loss" in trained.stdout


def test_a_size_that_cannot_be_is_refused(tool, config):
    done = tool("data", "pack", "mine.yaml", "--size", "0")
    assert done.returncode == 2
    assert "--size: expected at least 1" in done.stderr
