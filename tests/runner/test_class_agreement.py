"""Training, evaluation, head, a resumed run and a test mean the same by a label, whatever data sets are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from knoll.registry import UserError
from knoll.runner import Runner, Trained

HALVES = dict(a=0.5, b=0.5)
WRAPPERS = dict(
    subset=lambda whole: dict(type="Subset", dataset=whole, size=16),
    repeat=lambda whole: dict(type="Repeat", dataset=whole, times=2),
    concatenation=lambda whole: dict(type="ConcatDataset", datasets=[whole, whole]),
    split=lambda whole: dict(type="Split", dataset=whole, parts=HALVES, part="a"),
    folds=lambda whole: dict(type="KFold", dataset=whole, folds=3, part="train"),
    first=lambda whole: dict(type="FirstAvailable", datasets=[whole]),
    nested=lambda whole: WRAPPERS["repeat"](WRAPPERS["concatenation"](WRAPPERS["split"](WRAPPERS["first"](whole)))),
)


@pytest.fixture
def experiment(tiny, arrays, working_directory):
    """The tiny experiment on class folders, `ant` to `dog`."""
    with np.load(arrays) as data:
        for split in ("train", "val"):
            for number, (image, label) in enumerate(zip(data[f"{split}_images"], data[f"{split}_labels"], strict=True)):
                file = Path("insects", split, ["ant", "bee", "cow", "dog"][label], f"{number}.png")
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(file)
    for part, split in ((tiny["train"], "train"), (tiny["evaluation"]["val"], "val")):
        part["dataset"] = dict(type="ImageFolder", root="insects", split=split)
        part["transforms"] = [dict(type="Grayscale"), *part["transforms"]]
    return tiny | dict(duration=1)


def rename(split: str) -> None:
    """The same pictures under other names, so that every label is another number: cow 0, dog 1, xan 2, ybe 3."""
    Path("insects", split, "ant").rename(Path("insects", split, "xan"))
    Path("insects", split, "bee").rename(Path("insects", split, "ybe"))


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_classes_agree_through_every_wrapper(experiment, wrapper):
    for part in (experiment["train"], experiment["evaluation"]["val"]):
        part["dataset"] = WRAPPERS[wrapper](part["dataset"])
    Runner(experiment, "run").train()
    last = "run/checkpoints/last.pt"
    assert Trained(last).classes == ["ant", "bee", "cow", "dog"]

    rename("val")
    wanted = r"val has other classes than train.*: only train has \['ant', 'bee'\], only val has \['xan', 'ybe'\]"
    with pytest.raises(UserError, match=wanted):
        Runner(experiment, "again")
    with pytest.raises(UserError, match=r"val has the classes \['cow', 'dog', .*; the model knows \['ant', 'bee',"):
        Trained(last).evaluation_loaders()

    rename("train")
    with pytest.raises(UserError, match=r"checkpoint's classes are \['ant', .* the data's are \['cow', 'dog', 'x"):
        Runner(experiment, "run", resume=last)

    experiment["model"]["head"]["num_classes"] = 5
    with pytest.raises(UserError, match=r"num_classes is 5, but the training data has 4 classes \(cow, dog, "):
        Runner(experiment, "again")


def test_classes_in_another_order_are_told_from_other_classes(experiment):
    val = experiment["evaluation"]["val"]
    val["dataset"] = dict(type="Subset", dataset=val["dataset"], classes=["dog", "cow", "bee", "ant"])
    with pytest.raises(UserError, match=r"train's order is \['ant', 'bee', .*, val's is \['dog', 'cow', 'b"):
        Runner(experiment, "run")


def test_two_classes_of_four(experiment):
    for part in (experiment["train"], experiment["evaluation"]["val"]):
        part["dataset"] = dict(type="Subset", dataset=part["dataset"], classes=["dog", "ant"])
    with pytest.raises(UserError, match=r"num_classes is 4, but the training data has 2 classes \(dog, ant\)"):
        Runner(experiment, "run")
    experiment["model"]["head"]["num_classes"] = 2
    experiment["metrics"] = dict(top1=dict(type="Accuracy"))
    experiment["train"]["sampler"] = dict(type="ClassBalanced")
    runner = Runner(experiment, "run")
    assert runner.classes == ["dog", "ant"]
    assert 0 <= runner.train()["val/top1"] <= 1
