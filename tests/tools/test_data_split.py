"""`data split` writes what a config's splits read from then on, and counts what is in each part."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from knoll.registry import UserError
from knoll.tools.data_commands import split

pytestmark = pytest.mark.skipif(find_spec("knoll.datasets.combining.splits") is None, reason="Split is not there yet")


@pytest.fixture
def run(tiny, capsys):
    """Split the 42 images of four classes, 11, 11, 10 and 10, into train, val and, unused, test."""

    def run(*arguments: str, **changes) -> list[str]:
        common = dict(
            type="Split",
            dataset=dict(type="ArrayFile", path="arrays.npz"),
            parts=dict(train=0.6, val=0.2, test=0.2),
            file="parts.csv",
            **changes,
        )
        tiny["train"]["dataset"] = dict(type="ConcatDataset", datasets=[{**common, "part": "train"}])
        tiny["evaluation"]["val"]["dataset"] = {**common, "part": "val"}
        Path("x.yaml").write_text(yaml.safe_dump(tiny, sort_keys=False))
        assert split.main(["x.yaml", *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    return run


def test_the_file_and_the_table_agree(run):
    printed = run()
    assert printed[:3] == [
        "parts.csv: written",
        "  train.dataset.datasets.0: part train",
        "  evaluation.val.dataset: part val",
    ]
    placed = {row["name"]: row["part"] for row in csv.DictReader(Path("parts.csv").read_text().splitlines())}
    assert len(placed) == 42
    table = [line.split() for line in printed[3:]]
    assert table[0] == ["images", "of", "each", "class", "train", "val", "test"]
    for label, row in enumerate(table[1:5]):
        own = [part for name, part in placed.items() if int(name[-5:]) % 4 == label]
        assert row[0] == str(label)
        assert [int(count) for count in row[1::2]] == [own.count(part) for part in ("train", "val", "test")]
        assert 5 <= int(row[1]) <= 7
    assert table[5][0] == "images"
    assert sum(int(count) for count in table[5][1::2]) == 42


def test_a_file_that_is_there_is_kept(run):
    first = run()
    written = Path("parts.csv").read_bytes()
    second = run(seed=1)
    assert second[0] == "parts.csv: was there already"
    assert second[1:] == first[1:]
    assert Path("parts.csv").read_bytes() == written


def test_a_config_without_a_split_or_without_its_file(run, tiny):
    with pytest.raises(
        UserError, match=r"train.dataset.datasets.0: the split has no file to write: add file='splits/x"
    ):
        run("train.dataset.datasets.0.file=null")
    tiny["train"]["dataset"] = tiny["evaluation"]["val"]["dataset"] = dict(type="ArrayFile", path="arrays.npz")
    Path("x.yaml").write_text(yaml.safe_dump(tiny, sort_keys=False))
    with pytest.raises(UserError, match="the config has no split to write"):
        split.main(["x.yaml"])
