"""What fuzzing found: labels and files of labels that no data set has, and broken ones do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from knoll.datasets.combining.name_table import read_names
from knoll.datasets.layouts.array_file import ArrayFile
from knoll.datasets.layouts.label_files import LabelFiles
from knoll.datasets.layouts.list_file import ListFile
from knoll.datasets.layouts.packed import HEADER, Packed, pack
from knoll.registry import UserError


@pytest.mark.row(29)
@pytest.mark.parametrize("label", ["99999999999", "4000000000000000000"])
def test_an_identifier_in_the_place_of_a_class_number(label):
    """A name for each number up to it would fill any memory."""
    Path("list.csv").write_text(f"image,label\n1.png,0\n2.png,{label}\n")
    with pytest.raises(UserError, match=rf"list\.csv, line 3: the label {label} would make"):
        ListFile("list.csv")
    Path("a_image").mkdir()
    Path("a_label").mkdir()
    Path("a_image/1.png").write_bytes(b"")
    Path("a_label/1.txt").write_text(label)
    with pytest.raises(UserError, match=rf"the label {label} would make"):
        LabelFiles(".")
    np.savez("x.npz", train_images=np.zeros((2, 4, 4), np.uint8), train_labels=np.array([0, int(label)]))
    with pytest.raises(UserError, match=rf"x\.npz: the label {label} would make"):
        ArrayFile("x.npz")


def test_a_label_of_five_thousand_digits_is_a_name():
    Path("list.csv").write_text(f"image,label\n1.png,{'9' * 5000}\n")
    assert ListFile("list.csv").classes == ["9" * 5000]


@pytest.mark.parametrize(("name", "text"), [("x.csv", "name,part\n" + "x" * 200_000), ("x.json", '{"a":' * 3000)])
def test_a_file_of_parts_that_cannot_be_parsed(name, text):
    Path(name).write_text(text)
    with pytest.raises(UserError, match=rf"^{name}"):
        read_names(Path(name), "part")


@pytest.fixture
def packed() -> bytes:
    rows = ["image,label"]
    for number in range(4):
        Image.new("RGB", (5, 4), (number, 0, 0)).save(f"{number}.png")
        rows.append(f"{number}.png,{number % 2}")
    Path("list.csv").write_text("\n".join(rows))
    pack(ListFile("list.csv"), Path("x.pack"), 4, "squares")
    return Path("x.pack").read_bytes()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (dict(labels=[0, 1, 0]), "not as many labels"),
        (dict(places=[[32, 4, 5]] * 3 + [[32, 400, 5]]), "lies outside of the images"),
        (dict(places=[[32, 4, 5]] * 3 + [[32, -4, -5]]), "lies outside of the images"),
        (dict(names="abcd"), "a list"),
        (dict(version=None), "is of version None"),
    ],
)
def test_a_packed_file_whose_table_is_wrong(packed, change, reason):
    magic, start, length, _ = HEADER.unpack(packed[: HEADER.size])
    table = json.dumps(json.loads(packed[start : start + length]) | change).encode()
    Path("odd.pack").write_bytes(HEADER.pack(magic, start, len(table), bytes(8)) + packed[HEADER.size : start] + table)
    with pytest.raises(UserError, match=reason):
        Packed("odd.pack")


@pytest.mark.row(29)
def test_a_label_that_was_changed_in_a_packed_file_is_noticed(packed, figure):
    _, start, length, _ = HEADER.unpack(packed[: HEADER.size])
    refused = 0
    for bit in range(8 * length):
        spoilt = bytearray(packed)
        spoilt[start + bit // 8] ^= 1 << bit % 8
        Path("flipped.pack").write_bytes(spoilt)
        with pytest.raises(UserError):
            Packed("flipped.pack")
        refused += 1
    figure(f"{refused} of {8 * length} flipped bits in the table of a packed file: refused")
