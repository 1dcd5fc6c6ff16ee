"""Tables of numbers."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from knoll.datasets.layouts.table import Table
from knoll.registry import UnavailableError, UserError

DATA = Path(os.environ.get("KNOLL_DATA", Path(__file__).parents[4] / "shared/data"))
ROWS = "0.5,-1,0\n1e-3,2.25,1\n\n3,4,1\n"


def write(name: str, content: str) -> None:
    Path(name).write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.tsv.gz", "t.data"])
def test_a_table(name):
    write(name, ROWS.replace(",", "\t") if ".tsv" in name else ROWS)
    table = Table(name, classes=["no", "yes"])
    assert table.images.dtype == np.float32
    assert table.images.tolist() == np.float32([[0.5, -1], [1e-3, 2.25], [3, 4]]).tolist()
    assert (table.labels, table.classes, table.source) == ([0, 1, 1], ["no", "yes"], name)
    row, label = table[1]
    assert (row.tolist(), row.dtype, label) == (np.float32([1e-3, 2.25]).tolist(), torch.float32, 1)
    assert table.gather([2, 0]).tolist() == [[3, 4], [0.5, -1]]
    assert table.name(2) == "line 4"


def test_it_reads_what_numpy_reads():
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(40, 5)).astype(np.float32)
    labels = rng.integers(0, 3, (40, 1))
    np.savetxt("t.csv", np.hstack([numbers, labels]), delimiter=",")  # "1.000000000000000000e+00"
    table = Table("t.csv")
    read = np.loadtxt("t.csv", delimiter=",", dtype=np.float32)
    assert np.array_equal(table.images, read[:, :-1])
    assert table.labels == read[:, -1].astype(int).tolist()
    assert table.classes == ["0", "1", "2"]


@pytest.mark.parametrize(("label", "header"), [("kind", False), ("kind", True), (0, True), (-3, True)])
def test_a_header_and_names_as_labels(label, header):
    write("t.csv", "kind,length,width\nsetosa,5.1,3.5\nvirginica,6.3,3.3\nsetosa,4.9,3\n")
    table = Table("t.csv", label, header)
    assert (table.labels, table.classes) == ([0, 1, 0], ["setosa", "virginica"])
    assert table.images.tolist() == np.float32([[5.1, 3.5], [6.3, 3.3], [4.9, 3]]).tolist()
    assert table.name(0) == "line 2"


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("1,2,0\n1,nan,1\n", {}, r"t.csv, line 2: 'nan', in column \d of the features, is not a finite number"),
        ("1,2,0\n\n1,,1\n", {}, r"t.csv, line 3: '', in column \d of the features, is not a finite number"),
        ("1,1e39,0\n", {}, r"t.csv, line 1: '1e39', in column \d of the features, is not a finite number"),
        ("1,-inf,0\n", {}, r"t.csv, line 1: '-inf', in column \d of the features, is not a finite number"),
        ("a,b,label\n1,2,0\n", {}, r"t.csv, line 1: 'a', in column 1 of the features, is not .* set header=True"),
        ("1,2,0\n1,2\n", {}, r"t.csv, line 2 has 2 fields; the first line has 3"),
        ("1,2,0\n1,2, \n", {}, r"t.csv, line 2 has no label"),
        ("1,2,0\n", dict(label=3), "t.csv has 3 columns: label=3 is none of 0 to 2"),
        ("a,b,c\n1,2,0\n", dict(label="d"), "the first line names no column 'd'. There is `a`, `b`, `c`"),
        ("a,b,c\n", dict(header=True), "t.csv has no rows"),
        ("", {}, "t.csv has no rows"),
        ("1,2,0\n1,2,2\n", dict(classes=["a", "b"]), "t.csv, line 2: the label is 2; a class number is 0 to 1"),
    ],
)
def test_tables_that_cannot_be_read(content, options, message):
    write("t.csv", content)
    with pytest.raises(UserError, match=message):
        Table("t.csv", **options)


def test_files_that_are_not_there_or_not_packed():
    with pytest.raises(UnavailableError, match=r"there is no file gone.csv"):
        Table("gone.csv")
    Path("t.csv.gz").write_bytes(gzip.compress(ROWS.encode())[:-12])
    with pytest.raises(UserError, match=r"t.csv.gz cannot be read: Compressed file ended"):
        Table("t.csv.gz")


def test_the_diabetes_table():
    file = DATA / "diabetes.csv.gz"
    if not file.is_file():
        pytest.skip(f"there is no {file}: set KNOLL_DATA to the folder that holds it")
    table = Table(str(file), classes=["diabetic", "not diabetic"])
    read = np.loadtxt(file, delimiter=",", dtype=np.float32)
    assert np.array_equal(table.images, read[:, :8])
    assert table.labels == read[:, 8].astype(int).tolist()
    assert (len(table), sum(table.labels)) == (759, 496)
