"""Lists of images: CSV, TSV, JSON, JSONL."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from knoll.datasets.layouts.list_file import ListFile
from knoll.datasets.loading.loader import EvaluationLoader
from knoll.datasets.transforms import build_transforms
from knoll.registry import UnavailableError, UserError

# Names that have broken readers of lists: a space, other letters, a comma, quotes, a line break.
NAMES = ["a b.png", "蚂蚁/ü.png", 'c, "d".png', "e\nf.png"]
LABELS = ["bees", "ants", "ants", "bees"]


@pytest.fixture
def pictures(working_directory) -> Path:
    """One picture for each of NAMES, of the red of its position, in the folder `pictures`."""
    for number, name in enumerate(NAMES):
        file = working_directory / "pictures" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 4), (number, 0, 0)).save(file)
    return working_directory / "pictures"


def write_table(file: Path, rows: list[list], delimiter: str = ",") -> None:
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened, delimiter=delimiter).writerows(rows)


def write(file: Path, entries: list[dict]) -> None:
    """Entries in the format that the file's name says."""
    if file.suffix == ".json":
        file.write_text(json.dumps(entries), encoding="utf-8")
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    else:
        rows = [list(entries[0]), *(list(entry.values()) for entry in entries)]
        write_table(file, rows, "\t" if file.suffix == ".tsv" else ",")


@pytest.mark.parametrize("name", ["list.csv", "list.tsv", "list.json", "list.jsonl", "list.csv.gz"])
def test_a_list(pictures, name):
    entries = [dict(image=image, label=label) for image, label in zip(NAMES, LABELS, strict=True)]
    write(pictures / name.removesuffix(".gz"), entries)
    if name.endswith(".gz"):
        (pictures / name).write_bytes(gzip.compress((pictures / "list.csv").read_bytes()))
    listed = ListFile(f"pictures/{name}")
    assert listed.classes == ["ants", "bees"]
    assert listed.labels == [1, 0, 0, 1]
    assert [listed.name(index) for index in range(4)] == NAMES
    assert [listed[index][0].getpixel((0, 0))[0] for index in range(4)] == [0, 1, 2, 3]
    assert listed.source == name


def test_columns_by_name_and_a_root(pictures, working_directory):
    rows = [["class", "file", "part"], [1, NAMES[0], "train"], [0, NAMES[1], "val"], [2, NAMES[2], "train"]]
    write_table(working_directory / "list.csv", rows)
    options = dict(root="pictures", image="file", label="class", split_column="part")
    listed = ListFile("list.csv", split="train", **options)
    assert ([listed.name(index) for index in range(2)], listed.labels) == ([NAMES[0], NAMES[2]], [1, 2])
    assert listed.classes == ["0", "1", "2"]
    assert ListFile("list.csv", split="val", classes=["x", "y", "z"], **options).classes == ["x", "y", "z"]
    with pytest.raises(UserError, match=r"list.csv has no entry with part='test'. There is `train`, `val`"):
        ListFile("list.csv", split="test", **options)


def test_the_mark_that_excel_puts_first_is_no_part_of_a_column(pictures):
    (pictures / "list.csv").write_bytes("\ufeffimage,label\r\na b.png,bees\r\n\r\n".encode())
    assert ListFile("pictures/list.csv").labels == [0]


def test_labels_in_several_columns(pictures):
    write_table(pictures / "list.csv", [["image", "red", "round"], [NAMES[0], 1, 0], [NAMES[1], 1, 1]])
    several = ListFile("pictures/list.csv", label=["round", "red"])
    assert several.classes == ["round", "red"]
    assert several.labels.tolist() == [[0, 1], [1, 1]]
    assert several.labels.dtype == np.int64
    write(pictures / "list.json", [dict(image=NAMES[0], age=3, size=0.5), dict(image=NAMES[1], age=7, size=2)])
    measured = ListFile("pictures/list.json", label=["age", "size"])
    assert (measured.labels.tolist(), measured.labels.dtype) == ([[3.0, 0.5], [7.0, 2.0]], np.float32)


@pytest.mark.parametrize(("name", "line"), [("list.csv", "line 5"), ("list.jsonl", "line 4"), ("list.json", "entry 4")])
def test_a_missing_image_is_named_with_its_line(pictures, name, line):
    # In the CSV the third entry takes two lines, for its name does.
    order = [0, 1, 3]
    entries = [dict(image=NAMES[index], label=LABELS[index]) for index in order] + [dict(image="g.png", label="ants")]
    if name == "list.csv":
        line = "line 6"
    write(pictures / name, entries)
    listed = ListFile(f"pictures/{name}")
    with pytest.raises(UserError, match=rf"pictures/g.png \(pictures/{name}, {line}\) cannot be read: No such file"):
        listed[3]
    transform = build_transforms([dict(type="ToImage"), dict(type="ToDtype", dtype="float32")])
    loader = EvaluationLoader(listed, transform, batch_size=4, num_workers=0, seed=0)
    with pytest.raises(UserError, match=f"{name}, {line}"):
        list(loader)


def test_a_damaged_image_is_named_with_its_line(pictures):
    write_table(pictures / "list.csv", [["image", "label"], [NAMES[0], "bees"]])
    (pictures / NAMES[0]).write_bytes(b"")
    with pytest.raises(UserError, match=r"a b.png \(pictures/list.csv, line 2\) cannot be read as an image"):
        ListFile("pictures/list.csv")[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            "file,label\nx,ants\n",
            r"a.csv has no column 'image'; it has 'file', 'label': name the right",
        ),
        ("a.csv", "image,labels\nx,ants\n", r"a.csv has no column 'label'; it has 'image', 'labels'"),
        ("a.csv", "x.png,ants\ny.png,bees\n", r"no column 'image'; it has 'x.png', 'ants'"),
        ("a.csv", "image,label\nx,ants\ny,\n", r"a.csv, line 3: 'label' is empty"),
        ("a.csv", "image,label\nx,ants,\n", r"a.csv, line 2 has 3 fields; the first line names 2"),
        ("a.csv", "image,label,label\nx,ants,1\n", r"a.csv has the column 'label' twice"),
        ("a.csv", "image,label\n", r"a.csv lists no images"),
        ("a.csv", "", r"a.csv lists no images"),
        ("a.csv", b"image,label\n\xff\xfe,ants\n", r"a.csv is not text in UTF-8"),
        ("a.csv.gz", b"image,label\n", r"a.csv.gz cannot be read: Not a gzipped file"),
        ("a.json", "{", r"a.json is not JSON"),
        ("a.json", '{"image": "x"}', r"a.json holds a dict; expected a list of objects"),
        ("a.json", '[{"image": "x", "label": null}]', r"a.json, entry 1: 'label' is empty"),
        (
            "a.json",
            '[{"image": "x", "label": 0.5}]',
            r"a.json, entry 1: 'label' is 0.5; expected text",
        ),
        ("a.jsonl", '{"image": "x", "label": "a"}\n["x"]\n', r"a.jsonl, line 2 is not an object"),
        ("a.jsonl", '{"image": "x", "label": "a"}\nx\n', r"a.jsonl, line 2 is not JSON"),
        ("a.jsonl", '{"image": "x", "label": "a"}\n{"image": "x"}\n', r"a.jsonl, line 2 has no column 'label'"),
    ],
)
def test_lists_that_cannot_be_read(working_directory, name, content, message):
    (working_directory / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        ListFile(name)


def test_a_list_that_is_not_there():
    with pytest.raises(UnavailableError, match=r"there is no file gone.csv"):
        ListFile("gone.csv")


def test_a_label_of_another_class_is_named_with_its_line(pictures):
    write_table(pictures / "list.csv", [["image", "label"], [NAMES[0], "bees"], [NAMES[1], "wasp"]])
    with pytest.raises(UserError, match=r"list.csv, line 3: the label 'wasp' is not among the 2 `classes`"):
        ListFile("pictures/list.csv", classes=["ants", "bees"])


def test_a_number_among_several_columns_that_is_none(pictures):
    write_table(pictures / "list.csv", [["image", "red", "round"], [NAMES[0], 1, "nan"]])
    with pytest.raises(UserError, match=r"list.csv, line 2: 'round' is 'nan'; expected a number"):
        ListFile("pictures/list.csv", label=["red", "round"])
