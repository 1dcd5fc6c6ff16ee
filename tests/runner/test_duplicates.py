"""The note before a run: images that are trained on and measured too."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from knoll.datasets.base import ArrayImages
from knoll.registry import DATASETS
from knoll.runner import Runner, duplicates
from knoll.runner.duplicates import note_duplicates
from knoll.runner.logs import start_logging


@pytest.fixture(autouse=True)
def log():
    start_logging()


@pytest.fixture
def folders():
    """pets/train and pets/val, whose files all have the same size and other pixels."""
    for number in range(12):
        split = "train" if number < 8 else "val"
        file = Path("pets", split, "cat" if number % 2 else "dog", f"{number}.bmp")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(file)
    assert len({file.stat().st_size for file in Path("pets").rglob("*.bmp")}) == 1


def build(split: str):
    return DATASETS.build(dict(type="ImageFolder", root="pets", split=split))


@pytest.mark.usefixtures("folders")
def test_nothing_is_said_if_there_is_nothing(capsys):
    note_duplicates(build("train"), dict(val=build("val")))
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("folders")
def test_files_with_the_same_bytes_are_named(capsys):
    shutil.copy("pets/train/cat/1.bmp", "pets/val/dog/other name.bmp")
    note_duplicates(build("train"), dict(val=build("val")))
    assert capsys.readouterr().out == (
        "note: 1 of the 5 images of val is in train too: dog/other name.bmp = cat/1.bmp; "
        "python tools/data.py stats <config> names all\n"
    )


@pytest.mark.usefixtures("folders")
def test_of_many_the_first_are_named(capsys):
    note_duplicates(build("train"), dict(val=build("val"), again=build("train")))
    assert capsys.readouterr().out == (
        "note: 8 of the 8 images of again are in train too: cat/1.bmp = cat/1.bmp, cat/3.bmp = cat/3.bmp, "
        "cat/5.bmp = cat/5.bmp, ...; python tools/data.py stats <config> names all\n"
    )


@pytest.mark.usefixtures("folders")
def test_a_file_that_is_not_there_is_for_the_run_to_tell(capsys):
    train = build("train")
    Path("pets/train/cat/1.bmp").unlink()
    note_duplicates(train, dict(val=build("val")))
    assert capsys.readouterr().out == ""


def test_sets_that_share_samples_of_one_data_set(arrays, capsys):
    whole = dict(type="ArrayFile", path="arrays.npz")
    train, val = (
        DATASETS.build(dict(type="Subset", dataset=whole, indices=indices)) for indices in ([0, 1, 2, 3], [3, 4, 2])
    )
    note_duplicates(train, dict(val=val))
    assert (
        "note: 2 of the 3 images of val are in train too: train/00003 = train/00003, train/00002 = tr"
        in capsys.readouterr().out
    )


def test_arrays_are_compared_as_a_whole(capsys):
    images = np.zeros((3, 4, 4), np.uint8)
    images[1, 0, 0], images[2, 3, 3] = 1, 1  # the same in the middle
    np.savez("a.npz", train_images=images[:2], train_labels=[0, 1], val_images=images[1:], val_labels=[0, 1])
    train, val = (DATASETS.build(dict(type="ArrayFile", path="a.npz", split=split)) for split in ("train", "val"))
    note_duplicates(train, dict(val=val))
    assert "note: 1 of the 2 images of val is in train too: val/00000 = train/00001;" in capsys.readouterr().out


def test_equal_rows_of_a_table_are_nothing_strange(capsys):
    class Rows(ArrayImages):
        images, labels, classes = np.zeros((5, 3), np.float32), [0] * 5, ["no"]

    note_duplicates(Rows(), dict(val=Rows()))
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("folders")
def test_when_time_runs_out_that_is_said(monkeypatch, capsys):
    monkeypatch.setattr(duplicates, "SECONDS", 0)
    note_duplicates(build("train"), dict(val=build("val")))
    assert capsys.readouterr().out == (
        "note: whether images of val are in train too was not found out in 0 s; "
        "python tools/data.py stats <config> looks at all\n"
    )


def test_a_run_says_so_before_it_begins(tiny, capsys):
    tiny["evaluation"]["val"]["dataset"]["split"] = "train"
    Runner(tiny, "run")
    assert "note: 42 of the 42 images of val are in train too: train/00000 = train/00000" in capsys.readouterr().out
