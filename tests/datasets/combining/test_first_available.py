"""The first data set that is there, and the same one throughout a run."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from knoll.datasets.combining.combine import declared_source
from knoll.datasets.combining.first_available import same_choices
from knoll.registry import DATASETS, UnavailableError, UserError
from knoll.runner import Runner, Trained
from knoll.runner.logs import start_logging


@pytest.fixture
def candidates(arrays):
    return [
        dict(type="ArrayFile", path="gone.npz", source="digits"),
        dict(type="ArrayFile", path="arrays.npz", source="squares"),
        dict(type="ArrayFile", path="arrays.npz", source="copies"),
    ]


def test_the_first_available_is_taken_and_said(candidates, capsys):
    start_logging()
    taken = DATASETS.build(dict(type="FirstAvailable", datasets=candidates, split="val"))
    assert (taken.source, len(taken)) == ("squares", 18)
    assert capsys.readouterr().out == "val data: squares (not available: ArrayFile: there is no file gone.npz)\n"


def test_only_the_source_that_is_insisted_on_is_taken(candidates):
    config = dict(type="FirstAvailable", datasets=candidates, split="val")
    assert DATASETS.build(config | dict(insist="copies")).source == "copies"
    with pytest.raises(UnavailableError, match="only digits will do"):
        DATASETS.build(config | dict(insist="digits"))


def test_a_source_may_be_known_without_building():
    assert declared_source(dict(type="FlowerPhotos")) == "flower photos"
    assert declared_source(dict(type="ArrayFile", path="x", source="mine")) == "mine"
    assert declared_source(dict(type="ArrayFile", path="x")) is None


def test_a_source_that_only_the_data_set_itself_knows_is_insisted_on_too(working_directory):
    (working_directory / "pets/cat").mkdir(parents=True)
    Image.new("RGB", (5, 4)).save("pets/cat/0.png")
    config = dict(type="FirstAvailable", datasets=[dict(type="ImageFolder", root="pets")])
    assert DATASETS.build(config | dict(insist="folder pets")).source == "folder pets"
    with pytest.raises(UnavailableError, match="only photos will do"):
        DATASETS.build(config | dict(insist="photos"))


def nested(candidates, split):
    """Inside a concatenation of a part and a part that comes twice."""
    either = dict(type="FirstAvailable", datasets=candidates, split=split)
    half = dict(type="Split", dataset=either, parts=dict(a=0.5, b=0.5), part="a")
    always = dict(type="ArrayFile", path="arrays.npz", split=split, source="others")
    return dict(type="ConcatDataset", datasets=[dict(type="Repeat", dataset=half, times=2), always])


def test_the_same_is_taken_wherever_it_stands(candidates, arrays, working_directory):
    choices = {}
    with same_choices(choices):
        assert DATASETS.build(nested(candidates, "train")).source == "squares and others"
    np.savez(working_directory / "gone.npz", **np.load(arrays))
    assert DATASETS.build(nested(candidates, "val")).source == "digits and others"
    with same_choices(choices):
        assert DATASETS.build(nested(candidates, "val")).source == "squares and others"
        assert (
            DATASETS.build(dict(type="Subset", size=4, dataset=nested(candidates, "val"))).source
            == "squares and others"
        )
    with same_choices({}):
        assert DATASETS.build(nested(candidates, "val")).source == "digits and others"


def test_training_evaluation_and_what_continues_take_the_same_inside_of_others(
    tiny, candidates, arrays, working_directory
):
    tiny["train"]["dataset"] = nested(candidates, "train")
    tiny["evaluation"]["val"]["dataset"] = dict(
        type="Subset", size=8, dataset=dict(type="FirstAvailable", datasets=candidates, split="val")
    )
    tiny["duration"] = 1
    Runner(tiny, "run").train()

    # On another day the first one is there too.
    np.savez(working_directory / "gone.npz", **np.load(arrays))
    last = working_directory / "run/checkpoints/last.pt"
    wanted = dict(train="squares and others", val="squares")
    assert Runner(tiny, "run", resume=last).sources == wanted
    trained = Trained(last)
    trained.evaluation_loaders()
    assert trained.sources == wanted
    assert Runner(tiny, "new").sources == dict(train="digits and others", val="digits")

    arrays.rename(working_directory / "elsewhere.npz")
    with pytest.raises(UserError, match="only squares will do"):
        Trained(last).evaluation_loaders()
