"""A split that is kept in a file: written once, and true from then on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from knoll.datasets.combining.name_table import read_names, write_names
from knoll.registry import DATASETS, UserError

NAMES = [f"{name}/{number}.png" for name in ("ant", "bee") for number in range(10)]


@pytest.fixture
def split(working_directory):
    for number, name in enumerate(NAMES):
        Path("insects", name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2), (number, 0, 0)).save(Path("insects", name))

    def build(part: str = "val", file: str = "splits/split.csv", **options) -> list[str]:
        insects = dict(type="ImageFolder", root="insects")
        parts = dict(train=0.7, val=0.3)
        built = DATASETS.build(dict(type="Split", dataset=insects, parts=parts, part=part, file=file) | options)
        return [built.name(index) for index in range(len(built))]

    return build


@pytest.mark.parametrize("file", ["splits/split.csv", "split.json"])
def test_what_the_file_says_holds_whatever_the_seed(split, file):
    val = split(file=file)
    assert len(val) == 6
    text = Path(file).read_text()
    told = json.loads(text) if file.endswith("json") else dict(list(csv.reader(text.splitlines()))[1:])
    assert told == {name: "val" if name in val else "train" for name in NAMES}
    assert split(file=file, seed=1) == val != split(file="other.csv", seed=1)
    assert sorted(split("train", file, seed=2) + val) == NAMES
    assert Path(file).read_text() == text
    assert [each.name for each in Path(file).parent.glob(".*")] == []


def test_a_split_of_ones_own(split):
    write_names(Path("own.csv"), "part", {name: "val" if "9" in name else "train" for name in NAMES})
    assert split(file="own.csv") == ["ant/9.png", "bee/9.png"]


def test_data_that_has_changed_is_not_split_in_silence(split):
    split()
    Image.new("RGB", (3, 3)).save("insects/ant/new.png")
    with pytest.raises(UserError, match=r"does not name 1 samples of the data set, \['ant/new.png'\]: it is of other"):
        split()
    Path("insects/bee/4.png").unlink()
    wanted = r"does not name 1 samples .* and names 1 that the data set does not have, \['bee/4.png'\].*split anew"
    with pytest.raises(UserError, match=wanted):
        split()
    Path("insects/ant/new.png").unlink()
    with pytest.raises(UserError, match=r"split.csv names 1 that the data set does not have, \['bee/4.png'\]"):
        split()
    Path("splits/split.csv").unlink()
    assert len(split() + split("train")) == 19


def test_two_samples_of_one_name_cannot_be_told_apart(split):
    insects = dict(type="ImageFolder", root="insects")
    with pytest.raises(UserError, match=r"2 samples are called ant/0\.png"):
        split(dataset=dict(type="ConcatDataset", datasets=[insects, insects]))


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("bad.csv", "", "bad.csv has no column `name`; its first line is `name,part`"),
        ("bad.csv", "name,group\n", "has no column `part`"),
        ("bad.csv", "name,part\nant/0.png\n", "bad.csv, line 2: expected `name,part`"),
        ("bad.csv", "name,part\nant/0.png,val\nant/0.png,val\n", "names ant/0.png twice"),
        ("bad.json", '{"ant/0.png": "val", "ant/0.png": "train"}', "names ant/0.png twice"),
        ("bad.json", "{", "bad.json is not JSON"),
        ("bad.json", "[1]", "not an object of names and parts"),
        ("bad.json", '{"a": 1}', "not an object of names and parts"),
        ("bad.csv", "name,part\n" + "".join(f"{name},dev\n" for name in NAMES), "ant/0.png is in the part dev; the co"),
    ],
)
def test_a_file_that_is_no_split(split, file, text, message):
    Path(file).write_text(text)
    with pytest.raises(UserError, match=message):
        split(file=file)


def test_a_file_that_cannot_be_written(split):
    Path("in_the_way").touch()
    with pytest.raises(UserError, match=r"in_the_way/split.csv cannot be written"):
        split(file="in_the_way/split.csv")


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_any_name_that_a_file_may_have_comes_back(working_directory, ending):
    table = dict.fromkeys(("a b", "ü 土堆", 'with "quotes", and commas', "two\nlines\r\n", "\u2028", "�"), "part, 1")
    write_names(Path(f"names.{ending}"), "part", table)
    assert read_names(Path(f"names.{ending}"), "part") == table
