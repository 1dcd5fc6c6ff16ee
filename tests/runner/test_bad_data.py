"""Data that cannot be trained on: said before a model is built, or at the first batch that shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from knoll.registry import BACKBONES, DATASETS, UserError
from knoll.runner import Runner

GREY = [
    dict(type="Grayscale"),
    dict(type="Resize", size=[28, 28]),
    dict(type="ToImage"),
    dict(type="ToDtype", dtype="float32", scale=True),
]


@pytest.fixture
def unbuilt(monkeypatch) -> None:
    """A model that must not be built."""

    def build(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("the model was built before the data was known to be right")

    monkeypatch.setitem(BACKBONES.module_dict, "LeNet5", build)


def refusal(config: dict) -> str:
    with pytest.raises(UserError) as error:
        Runner(config, "run")
    assert not Path("run").exists()
    assert len(str(error.value).splitlines()) < 10
    return str(error.value)


def folders(root: str, **counts: int) -> dict:
    """Class folders with so many pictures each, and the config that reads them."""
    for name, count in counts.items():
        Path(root, name).mkdir(parents=True)
        for number in range(count):
            Image.new("L", (28, 28), 20 * number).save(Path(root, name, f"{number}.png"))
    return dict(type="ImageFolder", root=root)


def rewrite(**changes: Any) -> None:
    """Other arrays in `arrays.npz`."""
    np.savez("arrays.npz", **{**np.load("arrays.npz"), **changes})


@pytest.mark.row(27)
@pytest.mark.usefixtures("unbuilt")
@pytest.mark.parametrize("where", ["train", "val"])
def test_an_empty_class_folder(tiny, where):
    data = tiny["train"] if where == "train" else tiny["evaluation"]["val"]
    data["dataset"] = folders("pets", ant=3, bee=0, cat=3, dog=0)
    assert (
        refusal(tiny) == "pets: no images in bee, dog: fill the folder, remove it, or name the classes: classes=[...]"
    )


@pytest.mark.row(27)
@pytest.mark.usefixtures("unbuilt")
@pytest.mark.parametrize("where", ["train", "evaluation.val"])
def test_an_empty_data_set(tiny, where, figure):
    data = tiny["train"] if where == "train" else tiny["evaluation"]["val"]
    data["dataset"] = dict(type="Subset", dataset=data["dataset"], indices=[])
    said = refusal(tiny)
    figure(f"{where} is empty: refused in {len(said.splitlines())} line, before a model was built")
    assert said == f"{where}: the data set is empty"


@pytest.mark.row(27)
@pytest.mark.usefixtures("unbuilt")
def test_fewer_samples_than_a_batch(tiny):
    tiny["train"]["batch_size"] = 43
    assert refusal(tiny) == (
        "train: 42 images do not fill one batch of 43: make train.batch_size smaller, or set train.drop_last=False"
    )


@pytest.mark.row(27)
def test_a_batch_that_is_just_full_and_one_that_need_not_be(tiny):
    tiny |= dict(duration=1, accumulate=1)
    for number, options in enumerate([dict(batch_size=42), dict(batch_size=43, drop_last=False)]):
        tiny["train"] |= options
        assert Runner(tiny, f"run{number}").train()["val/loss"] > 0


@pytest.mark.row(28)
@pytest.mark.usefixtures("unbuilt")
@pytest.mark.parametrize(
    ("others", "told"),
    [
        (dict(ant=1, bee=1, cow=1), ("dog", "cat", "cow")),
        (dict(ant=1, bee=1, cat=1, dog=1, emu=1), ("emu",)),
        (dict(ant=1), ("bee", "cat", "dog")),
    ],
)
@pytest.mark.parametrize("name", ["val", "test"])
def test_class_maps_that_differ(tiny, name, others, told, figure):
    tiny["train"]["dataset"] = folders("train", ant=1, bee=1, cat=1, dog=1)
    good = dict(tiny["evaluation"]["val"], dataset=dict(type="ImageFolder", root="train"))
    tiny["evaluation"] = dict(val=good, test=good) | {name: dict(good, dataset=folders("other", **others))}
    tiny["train"]["batch_size"] = 2
    said = refusal(tiny)
    assert said.startswith(f"evaluation.{name} has other classes than train, so its labels mean something else: ")
    figure(f"train and {name} differ: {sum(repr(each) in said for each in told)} of {len(told)} classes named")
    assert all(f"'{each}'" in said for each in told)
    assert not any(f"'{each}'" in said for each in set(others) & {"ant", "bee"})


WRONG = [4, 255, -1, -100]


@pytest.mark.row(29)
@pytest.mark.usefixtures("unbuilt")
@pytest.mark.parametrize("label", WRONG)
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_label_out_of_range(tiny, split, label, figure):
    """Of the 30th image: all labels are looked at, not the first batch alone."""
    count, where = (42, "train") if split == "train" else (18, "evaluation.val")
    labels = np.arange(count) % 4
    labels[[count - 5, count - 2]] = label
    rewrite(**{f"{split}_labels": labels})
    for data in (tiny["train"], tiny["evaluation"]["val"]):
        data["dataset"]["classes"] = list("abcd")
    said = refusal(tiny)
    figure(
        f"{where}, a label of {label}: refused, {sum(map(said.count, (where, str(label), '0 to 3')))} of 3 facts told"
    )
    assert said == (
        f"{where}: the label of {split}/{count - 5:05d} is {label}; with 4 classes labels are 0 to 3 "
        f"(2 of {count} labels are not)"
    )


class Bare(torch.utils.data.Dataset):
    """A data set of one's own: images and labels, no classes, and no list of labels unless it is asked for one.

    Args:
        label: of sample 33.
    """

    def __init__(self, label: int = 1, tells: bool = False, extra: int = 0) -> None:
        self.given = [index % 4 for index in range(42)]
        self.given[33] = label
        if tells:
            self.labels = self.given + [0] * extra

    def __len__(self) -> int:
        return 42

    def __getitem__(self, index: int) -> Any:
        return Image.new("L", (28, 28), 3 * index), self.given[index]

    def name(self, index: int) -> str:
        return f"mine/{index}.png"


@pytest.fixture
def bare(tiny) -> Iterator[dict[str, Any]]:
    DATASETS.register_module(module=Bare)
    tiny["hooks"] = dict(evaluation=dict(type="Evaluation", every="1ep"))
    tiny |= dict(accumulate=1, duration="1ep")
    for data in (tiny["train"], tiny["evaluation"]["val"]):
        data["dataset"] = dict(type="Bare")
    tiny["train"] |= dict(num_workers=0, drop_last=False)
    yield tiny
    del DATASETS.module_dict["Bare"]


@pytest.mark.row(29)
@pytest.mark.parametrize("label", WRONG)
def test_a_label_outside_the_head_where_the_classes_are_not_told(bare, label):
    bare["train"]["dataset"] |= dict(label=label, tells=True)
    assert refusal(bare) == (
        f"train: the label of sample mine/33.png is {label}; the model tells the classes 0 to 3 apart "
        "(1 of 42 labels here are none of them)"
    )


@pytest.mark.row(29)
@pytest.mark.parametrize("label", WRONG)
@pytest.mark.parametrize("where", ["train", "evaluation.val"])
def test_a_label_outside_the_head_where_not_even_labels_are_told(bare, where, label):
    """It cannot be known before its batch comes; CrossEntropyLoss would leave out -100, and say nothing."""
    data = bare["train"] if where == "train" else bare["evaluation"]["val"]
    data["dataset"]["label"] = label
    with pytest.raises(UserError) as error:
        Runner(bare, "run").train()
    assert str(error.value).startswith(f"{where}: the label of sample mine/33.png is {label}; the model tells the")


@pytest.mark.row(29)
def test_a_set_that_tells_nothing_and_is_right_trains(bare):
    assert Runner(bare, "run").train()["val/loss"] > 0


@pytest.mark.row(29)
@pytest.mark.usefixtures("unbuilt")
def test_more_labels_than_samples(bare):
    """As when a part of a data set tells the labels of the whole."""
    bare["train"]["dataset"] |= dict(tells=True, extra=3)
    assert refusal(bare) == "train: the data set has 42 samples, but tells 45 labels"


@pytest.mark.row(30)
@pytest.mark.usefixtures("unbuilt")
@pytest.mark.parametrize("count", [3, 5, 1000])
def test_a_head_of_another_width(tiny, count, figure):
    tiny["model"]["head"]["num_classes"] = count
    said = refusal(tiny)
    numbers = sum(each in said.split() for each in ("4", f"{count},"))
    figure(f"a head of {count} for 4 classes: refused, {numbers} of 2 numbers told")
    assert said == (f"model.head.num_classes is {count}, but the training data has 4 classes (0, 1, 2, 3): set it to 4")


@pytest.mark.row(30)
def test_a_head_that_is_too_narrow_for_labels_without_classes(bare):
    bare["train"]["dataset"]["tells"] = True
    bare["model"]["head"]["num_classes"] = 3
    assert "the label of sample mine/3.png is 3; the model tells the classes 0 to 2 apart (10 of 42" in refusal(bare)


@pytest.mark.row(23)
@pytest.mark.parametrize("content", [b"", b"this is text", b"<html>"])
def test_the_tool_ends_cleanly_with_the_path(tiny, tool, content):
    tiny["train"] |= dict(dataset=folders("pets", a=2, b=2, c=2, d=2), transforms=GREY)
    tiny["evaluation"]["val"] |= dict(dataset=dict(type="ImageFolder", root="pets"), transforms=GREY)
    Path("pets/a/0.png").write_bytes(content)
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny))
    before = sorted(Path().rglob("*"))
    done = tool("train", "tiny.yaml", "--work-dir", "run")
    assert done.returncode == 2
    assert done.stderr.startswith("error: pets/a/0.png cannot be read as an image: ")
    assert len(done.stderr.splitlines()) == 1
    assert sorted(Path().rglob("*")) == before
