"""Files that say what is in images, spoilt in all ways: the labels as they are, or a refusal; never other labels."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from knoll.datasets.combining.name_table import read_names
from knoll.datasets.layouts.file_names import FileNames
from knoll.datasets.layouts.label_files import LabelFiles
from knoll.datasets.layouts.list_file import ListFile
from knoll.datasets.layouts.table import Table
from knoll.datasets.layouts.tar_shards import TarShards

CLASSES = ["ants", "bees", "cats"]
ROWS = [(f"{label}/{number}.png", label) for number in range(4) for label in CLASSES]


def csv(delimiter: str = ",") -> bytes:
    rows = [("image", "label"), *ROWS]
    return "".join(f"{name}{delimiter}{label}\n" for name, label in rows).encode()


def entries() -> list[dict]:
    return [dict(image=name, label=label) for name, label in ROWS]


LISTS = {
    "list.csv": csv(),
    "list.tsv": csv("\t"),
    "list.json": json.dumps(entries()).encode(),
    "list.jsonl": "".join(json.dumps(entry) + "\n" for entry in entries()).encode(),
}


def untouched(text: bytes) -> dict[str, str]:
    """Of the rows that are in a spoilt file as they were, and once, the labels by image."""
    whole = {}
    lines = text.replace(b"\r", b"\n").split(b"\n")
    for name, label in ROWS:
        kept = [f"{name}{sign}{label}".encode() for sign in ",\t"]
        kept.append(json.dumps(dict(image=name, label=label)).encode())
        if sum(lines.count(line) for line in kept) == 1 and text.count(name.encode()) == 1:
            whole[name] = label
    return whole


@pytest.mark.row(29)
@pytest.mark.parametrize("name", LISTS)
def test_a_spoilt_list_keeps_the_labels_of_the_rows_that_are_whole(fuzz, spoilt, attempt, figure, name):
    def read(data: bytes) -> None:
        Path(name).write_bytes(data)
        listed = ListFile(name)
        assert len(listed.labels) == len(listed.files)
        told = {listed.name(index): listed.classes[label] for index, label in enumerate(listed.labels)}
        if b'"' in data and name.endswith("sv"):
            return  # a quotation mark may join rows, as RFC 4180 has it
        for image, label in untouched(data).items():
            assert told[image] == label, image

    seen = fuzz(500, spoilt([LISTS[name]]), lambda data: attempt(read, data))
    figure(f"{seen.total():,} spoilt {name}: {seen['refused']:,} refused; whole rows of the rest have their own labels")
    assert seen["refused"] > 100
    assert seen["taken"] > 20


TABLE = b"".join(b"%d.5,-2,%de-3,%s\n" % (n, n, label.encode()) for n, (_, label) in enumerate(ROWS))


@pytest.mark.row(29)
def test_a_spoilt_table_keeps_the_numbers_and_labels_of_the_rows_that_are_whole(fuzz, spoilt, attempt, figure):
    def read(data: bytes) -> None:
        Path("table.csv").write_bytes(data)
        table = Table("table.csv")
        assert np.isfinite(table.images).all()
        told = {
            (tuple(row), table.classes[label]) for row, label in zip(table.images.tolist(), table.labels, strict=True)
        }
        if b'"' in data:
            return
        for line in TABLE.splitlines():
            if data.replace(b"\r", b"\n").split(b"\n").count(line):
                *numbers, label = line.decode().split(",")
                assert (tuple(np.float32(numbers).tolist()), label) in told, line

    seen = fuzz(1000, spoilt([TABLE]), lambda data: attempt(read, data))
    figure(f"{seen.total():,} spoilt tables: {seen['refused']:,} refused; whole rows of the rest are as they were")
    assert seen["refused"] > 200


@pytest.mark.row(29)
@pytest.mark.parametrize("name", ["parts.csv", "parts.json"])
def test_a_spoilt_file_of_parts(fuzz, spoilt, attempt, figure, name):
    pairs = {image: "train" if number % 3 else "val" for number, (image, _) in enumerate(ROWS)}
    text = (
        json.dumps(pairs, indent=1)
        if name.endswith("json")
        else "name,part\n" + "".join(map("{},{}\n".format, pairs, pairs.values()))
    )

    def read(data: bytes) -> None:
        Path(name).write_bytes(data)
        told = read_names(Path(name), "part")
        assert all(isinstance(each, str) for pair in told.items() for each in pair)

    seen = fuzz(700, spoilt([text.encode()]), lambda data: attempt(read, data))
    figure(f"{seen.total():,} spoilt {name}: {seen['refused']:,} refused, 0 tracebacks")
    assert seen["refused"] > 100


def picture(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (5, 4), (number, 0, 0)).save(file, "PNG")
    return file.getvalue()


def shard(format: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as tar:
        for number, (_, label) in enumerate(ROWS[:6]):
            for name, data in ((f"{number:04d}.png", picture(number)), (f"{number:04d}.cls", label.encode())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


@pytest.mark.row(35)
def test_a_spoilt_shard(fuzz, spoilt, attempt, figure):
    shards = [shard(each) for each in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]

    def read(data: bytes) -> None:
        Path("x.tar").write_bytes(data)
        found = TarShards("x.tar")
        assert len(found.labels) == len(found)
        for index in range(len(found)):
            found.name(index), found.encoded(index)

    seen = fuzz(1000, spoilt(shards), lambda data: attempt(read, data))
    figure(f"{seen.total():,} spoilt shards: {seen['refused']:,} refused, 0 tracebacks, nothing written")
    assert [file.name for file in Path().iterdir()] == ["x.tar"]
    assert seen["refused"] > 200


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=()), max_size=12)


@pytest.mark.row(33)
def test_files_of_any_name(fuzz, attempt, figure, tmp_path):
    numbers = iter(range(10**9))

    def outcome(case: tuple[str, str, bytes]) -> str:
        folder, name, label = case
        root = tmp_path / str(next(numbers))
        try:
            place = root / f"{folder}_image"
            place.mkdir(parents=True)
            (place / f"{name}_1.png").write_bytes(b"")
            (root / f"{folder}_label").mkdir()
            (root / f"{folder}_label" / f"{name}_1.txt").write_bytes(label)
        except (OSError, ValueError):  # the file system has no such name
            return "impossible"
        by_file = attempt(lambda: LabelFiles(str(root)).labels)
        by_name = attempt(lambda: FileNames(str(root), r"(?P<label>.*)_1\.png").labels)
        return f"{by_file}, {by_name}"

    labels = st.sampled_from([b"ants", b"", b" \n", b"a\nb", b"\xff", b"-1", b"99999999999", b"9" * 5000]) | st.binary()
    seen = fuzz(300, st.tuples(NAMES, NAMES, labels), outcome)
    figure(f"{seen.total() - seen['impossible']:,} odd names of files and contents of label files: 0 tracebacks")
    assert seen["taken, taken"] > 10
