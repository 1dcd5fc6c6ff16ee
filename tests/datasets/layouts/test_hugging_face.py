"""Data sets in HuggingFace's format, made on the spot: nothing is fetched."""

from __future__ import annotations

import importlib.util
import io
import multiprocessing
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from knoll.datasets.layouts.hugging_face import HuggingFace
from knoll.registry import UnavailableError, UserError

# `python -m pytest` in the checkout finds the checkout's own folder of that name, which cannot be imported so.
hf = pytest.importorskip("datasets", exc_type=ImportError)

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr(hf.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hf.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), number, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def make(labels: list, feature, image=None):
    """A data set whose image n is of the grey n."""
    columns = dict(image=[dict(bytes=png(n), path=None) for n in range(len(labels))], label=labels)
    if image is not None:
        columns["image"] = [png(n) for n in range(len(labels))]
    features = hf.Features(image=image or hf.Image(), label=feature)
    return hf.Dataset.from_dict(columns, features=features)


def greys(dataset: HuggingFace) -> list[int]:
    return [dataset[index][0].getpixel((0, 0))[0] for index in range(len(dataset))]


@pytest.fixture
def saved(working_directory) -> str:
    kinds = hf.ClassLabel(names=["bees", "ants"])
    splits = dict(train=make([0, 1, 1], kinds), val=make([1, 0], kinds))
    hf.DatasetDict(splits).save_to_disk("saved")
    return "saved"


def test_a_folder_that_save_to_disk_wrote(saved):
    train = HuggingFace(saved)
    assert (greys(train), train.labels, train.classes) == ([0, 1, 2], [0, 1, 1], ["bees", "ants"])
    assert train.encoded(2) == png(2)
    assert (train.name(2), train.place(2)) == ("train/00002", "saved, split train, row 2")
    assert HuggingFace(saved, split="val").labels == [1, 0]
    assert HuggingFace(saved, split="val", classes=["ants", "bees", "wasps"]).labels == [0, 1]


def test_one_data_set_without_splits(working_directory):
    make(["b", "a"], hf.Value("string")).save_to_disk("one")
    one = HuggingFace("one", split=None)
    assert (greys(one), one.labels, one.classes) == ([0, 1], [1, 0], ["a", "b"])
    with pytest.raises(UserError, match="one has no splits: set split=None, and not 'train'"):
        HuggingFace("one")


def test_parquet_files_with_plain_bytes_and_numbers(working_directory):
    make([2, 0], hf.Value("int64"), hf.Value("binary")).to_parquet("some.parquet")
    some = HuggingFace("parquet", data_files="some.parquet")
    assert (greys(some), some.labels, some.classes) == ([0, 1], [2, 0], ["0", "1", "2"])
    assert HuggingFace("parquet", data_files="some.parquet", split="train[1:]").labels == [0]


def test_a_folder_of_images(working_directory):
    for number, kind in enumerate(["cat", "dog"]):
        file = working_directory / "pets/train" / kind / "1.png"
        file.parent.mkdir(parents=True)
        file.write_bytes(png(number))
    pets = HuggingFace("imagefolder", data_dir="pets")
    assert (greys(pets), pets.labels, pets.classes) == ([0, 1], [0, 1], ["cat", "dog"])
    file.unlink()
    with pytest.raises(UserError, match=r"imagefolder, split train, row 1: .*/dog/1.png cannot be read: No such file"):
        pets[1]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_another_process_reads_the_same(saved, method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply_async(HuggingFace(saved).encoded, (1,)).get(120) == png(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(split="test"), "saved has no split 'test'. There is `train`, `val`"),
        (dict(image="img"), "saved has no column 'img': set `image`. Did you mean `image`"),
        (dict(label="labels"), "saved has no column 'labels': set `label`. Did you mean `label`"),
        (dict(image="label", label="image"), "the column 'label' holds ClassLabel.*; expected images"),
        (dict(label="image"), "saved, split train, row 0: 'image' is .*; expected the name of a class"),
        (dict(classes=["ants"]), "row 0: the label 'bees' is not among the 1 `classes`"),
    ],
)
def test_columns_that_are_not_there(saved, options, message):
    with pytest.raises(UserError, match=message):
        HuggingFace(saved, **options)


def test_rows_without_a_label_or_an_image(working_directory):
    make([0, -1], hf.ClassLabel(names=["a", "b"])).save_to_disk("one")
    with pytest.raises(UserError, match="one, split none, row 1: the label is -1; classes are 0 to 1"):
        HuggingFace("one", split=None)
    columns = dict(image=[None, dict(bytes=b"text", path=None)], label=["a"] * 2)
    features = hf.Features(image=hf.Image(decode=False), label=hf.Value("string"))
    hf.Dataset.from_dict(columns, features=features).save_to_disk("two")
    two = HuggingFace("two", split=None)
    for index, message in enumerate(["has no image", "cannot be read as an image"]):
        with pytest.raises(UserError, match=f"two, split none, row {index} {message}"):
            two[index]


def test_a_data_set_that_is_not_there():
    with pytest.raises(UnavailableError, match="the data set nobody/nothing could not be loaded"):
        HuggingFace("nobody/nothing")


def test_without_the_package(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "datasets" else find(name))
    with pytest.raises(UnavailableError, match=r'need the package `datasets`: pip install "knoll\[hf\]"'):
        HuggingFace("mnist")


def test_in_a_folder_that_hides_the_package():
    """`python -c` puts the working directory first; in a checkout that holds a folder `datasets`."""
    code = "from knoll.datasets.layouts.hugging_face import HuggingFace; HuggingFace('mnist')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "whose folder `datasets` hides the package of that name" in done.stderr


def test_pickles_are_refused_before_anything_is_read():
    Path("data.pkl").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    with pytest.raises(UserError, match="pickles"):
        HuggingFace("pandas", data_files="data.pkl")
    assert not Path("ran").exists()
