"""Data sets made of others."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from knoll.datasets.base import place_of
from knoll.datasets.combining.combine import differing_classes
from knoll.registry import DATASETS, ConfigError, UserError

PETS = dict(type="ImageFolder", root="pets")


def test_concatenation_and_subset(pets_folder):
    pets = dict(type="ImageFolder", root="pets")
    both = DATASETS.build(
        dict(type="ConcatDataset", datasets=[pets, dict(type="Subset", dataset=pets, indices=[11, 0])])
    )
    assert len(both) == 14
    assert both.labels[12:] == [2, 0]
    assert [both[i][1] for i in (0, 11, 12, 13)] == [0, 2, 2, 0]
    assert both.name(12) == "emu/5 ü.png"
    assert both.classes == ["cat", "dog", "emu"]


def test_a_subset_by_size_keeps_every_class_share(pets_folder):
    half = DATASETS.build(dict(type="Subset", dataset=dict(type="ImageFolder", root="pets"), size=6, seed=1))
    assert [half.labels.count(label) for label in range(3)] == [1, 2, 3]
    again = DATASETS.build(dict(type="Subset", dataset=dict(type="ImageFolder", root="pets"), size=6, seed=1))
    other = DATASETS.build(dict(type="Subset", dataset=dict(type="ImageFolder", root="pets"), size=6, seed=2))
    assert half.indices == again.indices != other.indices


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either"),
        (dict(indices=[0], size=1), "either"),
        (dict(indices=[0], classes=["cat"]), "either"),
        (dict(indices=[12]), "outside"),
        (dict(indices=[-1]), "outside"),
        (dict(size=13), "size is 13"),
        (dict(size=7, classes=["emu"]), "size is 7; the data set has 6 samples"),
        (dict(classes=["cat", "Dog"]), "the data set has no class `Dog`. Did you mean `dog`?"),
        (dict(classes=["cat", "emu", "cat"]), "the class `cat` is named twice"),
    ],
)
def test_a_subset_that_cannot_be(pets_folder, options, message):
    with pytest.raises(ConfigError, match=message):
        DATASETS.build(dict(type="Subset", dataset=dict(type="ImageFolder", root="pets"), **options))


def test_a_set_that_tells_too_little_is_not_combined(pets_folder):
    @DATASETS.register_module()
    class Mute:
        def __len__(self):
            return 1

    with pytest.raises(ConfigError, match="Mute has no attribute `classes`"):
        DATASETS.build(dict(type="ConcatDataset", datasets=[dict(type="Mute")]))
    del DATASETS.module_dict["Mute"]


def test_some_classes_are_numbered_as_they_are_named(pets_folder):
    two = DATASETS.build(dict(type="Subset", dataset=PETS, classes=["emu", "cat"]))
    assert two.classes == ["emu", "cat"]
    assert two.labels == [1] * 2 + [0] * 6
    assert [two[index][0].getpixel((0, 0))[:2] for index in (1, 2)] == [(0, 1), (2, 0)]
    assert [two.name(index) for index in (1, 2)] == ["cat/1 ü.png", "emu/0 ü.png"]
    half = DATASETS.build(dict(type="Subset", dataset=PETS, classes=["emu", "cat"], size=4))
    assert sorted(half.labels) == [0, 0, 0, 1]
    assert {half.name(index).split("/")[0] for index in range(4) if half.labels[index] == 0} == {"emu"}


def test_classes_in_the_order_of_another_set_can_be_put_beside_it(pets_folder):
    for name in ("emu", "cat"):
        (pets_folder.parent / "more" / f"{len(name)}{name[0]}").mkdir(parents=True)
        Image.new("RGB", (5, 4)).save(pets_folder.parent / "more" / f"{len(name)}{name[0]}" / "x.png")
    more = dict(type="ImageFolder", root="more")
    assert DATASETS.build(more).classes == ["3c", "3e"]
    swapped = dict(type="Subset", dataset=more, classes=["3e", "3c"])
    with pytest.raises(
        ConfigError,
        match=r"part 1 has other classes than part 0.*: part 0's order is \['3e', '3c'\], part 1's is \['3c'",
    ):
        DATASETS.build(dict(type="ConcatDataset", datasets=[swapped, more]))
    again = dict(type="Subset", dataset=swapped, classes=["3c", "3e"])
    assert DATASETS.build(dict(type="ConcatDataset", datasets=[more, again])).labels == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (PETS, dict(type="Subset", dataset=PETS, classes=["cat", "emu"]), r": only part 0 has \['dog'\]\. A part's"),
        (dict(type="Subset", dataset=PETS, classes=["cat"]), PETS, r": only part 1 has \['dog', 'emu'\]\. A part's"),
        (
            PETS,
            dict(type="ArrayFile", path="arrays.npz"),
            r"\['cat', 'dog', 'emu'\], only part 1 has \['0',",
        ),
        (PETS, dict(type="ArrayFile", path="rows.npz", classes=["cat", "dog", "emu"]), r"shape \(\), of part 1 \(3,\)"),
    ],
)
def test_sets_of_other_classes_are_not_concatenated(pets_folder, arrays, first, second, message):
    np.savez("rows.npz", train_images=np.zeros((2, 4, 4), np.uint8), train_labels=np.zeros((2, 3)))
    with pytest.raises(ConfigError, match=message):
        DATASETS.build(dict(type="ConcatDataset", datasets=[first, second]))


def test_a_thousand_classes_are_not_all_listed():
    here = [f"c{number}" for number in range(1000)]
    assert differing_classes(here, here, "a", "b") == ""
    assert differing_classes(here, here[:-1], "a", "b") == "only a has ['c999']"
    assert len(differing_classes(here, here[::-1], "a", "b")) < 500


def test_classes_are_chosen_by_class_numbers_within_range(working_directory):
    images = np.zeros((3, 4, 4), np.uint8)
    np.savez("rows.npz", train_images=images, train_labels=np.eye(3))
    np.savez("wrong.npz", train_images=images, train_labels=np.array([0, 1, 2]))
    choice = dict(type="Subset", classes=["1"])
    with pytest.raises(ConfigError, match=r"Subset\(classes=...\) goes by the class .* the labels are rows"):
        DATASETS.build(choice | dict(dataset=dict(type="ArrayFile", path="rows.npz")))
    wrong = dict(type="ArrayFile", path="wrong.npz", classes=["0", "1"])
    with pytest.raises(UserError, match=r"the label of train/00002 is 2; with 2 classes .* \(1 of 3 labels are not\)"):
        DATASETS.build(choice | dict(dataset=wrong))


def test_a_set_several_times(pets_folder):
    thrice = DATASETS.build(dict(type="Repeat", dataset=PETS, times=3))
    once = DATASETS.build(PETS)
    assert len(thrice) == 36
    assert thrice.labels == once.labels * 3
    assert (thrice.classes, thrice.source) == (once.classes, once.source)
    assert [thrice.name(index) for index in (0, 11, 12, 35)] == [once.name(index) for index in (0, 11, 0, 11)]
    assert thrice[35][0].getpixel((0, 0)) == (2, 5, 0)
    with pytest.raises(ConfigError, match="at least 1"):
        DATASETS.build(dict(type="Repeat", dataset=PETS, times=0))


def test_rows_stay_rows(working_directory):
    rows = np.arange(12.0).reshape(4, 3)
    np.savez("rows.npz", train_images=np.zeros((4, 4, 4), np.uint8), train_labels=rows)
    whole = dict(type="ArrayFile", path="rows.npz")
    assert np.array_equal(DATASETS.build(dict(type="Repeat", dataset=whole, times=2)).labels, np.tile(rows, (2, 1)))
    assert np.array_equal(DATASETS.build(dict(type="Subset", dataset=whole, indices=[2, 0])).labels, rows[[2, 0]])
    both = DATASETS.build(dict(type="ConcatDataset", datasets=[whole, whole]))
    assert np.array_equal(np.asarray(both.labels), np.tile(rows, (2, 1)))


NESTED = dict(
    type="Subset",
    classes=["emu", "dog"],
    dataset=dict(
        type="ConcatDataset",
        datasets=[
            dict(type="Repeat", times=2, dataset=dict(type="Split", dataset=PETS, parts=dict(a=0.5, b=0.5), part="a")),
            dict(type="KFold", dataset=dict(type="FirstAvailable", datasets=[PETS]), folds=2, part="val"),
        ],
    ),
)


def test_what_is_combined_keeps_names_and_places_and_goes_to_a_spawned_worker(pets_folder):
    nested = DATASETS.build(NESTED)
    assert nested.source == "folder pets"
    for index in range(len(nested)):
        image, label = nested[index]
        was, number, _ = image.getpixel((0, 0))
        name = f"{['cat', 'dog', 'emu'][was]}/{number} ü.png"
        assert (nested.name(index), place_of(nested, index)) == (name, f"pets/{name}")
        assert ["emu", "dog"][label] == name[:3]
    assert place_of(DATASETS.build(dict(type="DrawnFlowers", images=5, size=16)), 3) == "train/sunflowers/00003"
    loader = DataLoader(nested, batch_size=4, num_workers=1, multiprocessing_context="spawn", collate_fn=list)
    assert [sample for batch in loader for sample in batch] == [nested[index] for index in range(len(nested))]


def test_positions_from_the_end_have_the_image_of_their_label(pets_folder):
    both = DATASETS.build(dict(type="ConcatDataset", datasets=[PETS, dict(type="Subset", dataset=PETS, indices=[0])]))
    assert both[-1] == both[12]
    assert both[-2] == both[11]
    assert both.name(-1) == both.name(12)
