"""Splits and folds: who is in which part follows from names, seed and bytes, and from nothing else."""

from __future__ import annotations

import math
import os
import random
from collections import Counter
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from knoll.datasets.combining.identical import first_identical
from knoll.datasets.combining.partition import partition
from knoll.datasets.flowers.flower_photos import FlowerPhotos
from knoll.registry import DATASETS, ConfigError, UserError

THREE = dict(train=0.8, val=0.1, test=0.1)
COUNTS = dict(cat=30, dog=21, emu=13)
GOLDEN = dict(
    test="cat/p6_19.png cat/p7_22.png cat/p8_25.png dog/p3_10.png dog/p3_9.png emu/p1_5.png",
    val="cat/p0_2.png cat/p2_6.png cat/p4_12.png dog/p2_8.png dog/p5_15.png emu/p0_1.png emu/p0_2.png",
)


@pytest.fixture
def pets(working_directory):
    """Three classes, every picture another one; the patient is in the name."""
    build(working_directory / "pets", [(name, number) for name, count in COUNTS.items() for number in range(count)])
    return dict(type="ImageFolder", root="pets")


def build(root: Path, pictures: list[tuple[str, int]]) -> None:
    for name, number in pictures:
        file = root / name / f"p{number // 3}_{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2), (len(name) + ord(name[0]), number, 0)).save(file)


def members(dataset: dict, **options) -> list[str]:
    split = DATASETS.build(dict(dict(type="Split", parts=THREE), dataset=dataset, **options))
    return [split.name(index) for index in range(len(split))]


def hashed(*parts: int | str) -> int:
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=4).digest(), "little")


def expected(seed: int) -> dict[str, list[str]]:
    """The rule once more: by class in the order of the hash, cut at the shares, rounded up or down by another hash."""
    parts: dict[str, list[str]] = {part: [] for part in THREE}
    for name, count in COUNTS.items():
        files = [f"{name}/p{number // 3}_{number}.png" for number in range(count)]
        files.sort(key=lambda file: hashed(seed, file))
        up = hashed(seed, "border", name) / 2**32
        first, second = math.floor(0.1 * count + up), math.floor(0.9 * count + up)
        parts["test"] += files[:first]
        parts["train"] += files[first:second]
        parts["val"] += files[second:]
    return {part: sorted(files) for part, files in parts.items()}


def test_the_members_are_those_of_the_rule(pets):
    for seed in (0, 1):
        assert {part: sorted(members(pets, part=part, seed=seed)) for part in THREE} == expected(seed)
    assert members(pets, part="test") != members(pets, part="test", seed=1)
    # Written down once: a version that splits otherwise would test on what another version trained on.
    assert {part: sorted(members(pets, part=part)) for part in GOLDEN} == {k: v.split() for k, v in GOLDEN.items()}


@pytest.mark.parametrize("order", range(3))
def test_the_order_in_which_the_file_system_lists_does_not_matter(working_directory, monkeypatch, order):
    pictures = [(name, number) for name, count in COUNTS.items() for number in range(count)]
    shuffle = random.Random(order).shuffle
    shuffle(pictures)
    build(working_directory / "pets", pictures)
    listed, walked = Path.iterdir, os.walk

    def iterdir(self):
        entries = list(listed(self))
        shuffle(entries)
        return iter(entries)

    def walk(*arguments, **options):
        for folder, folders, files in walked(*arguments, **options):
            shuffle(folders)
            shuffle(files)
            yield folder, folders, files

    monkeypatch.setattr(Path, "iterdir", iterdir)
    monkeypatch.setattr(os, "walk", walk)
    pets = dict(type="ImageFolder", root="pets")
    assert {part: sorted(members(pets, part=part)) for part in THREE} == expected(seed=0)
    assert members(pets, part="val", parts=dict(reversed(THREE.items()))) == members(pets, part="val")


def test_flower_photos_keep_the_split_they_always_had(working_directory):
    """The first tenth of each class in the order of the hash: published figures go by it."""
    build(working_directory / "data/flower_photos", [(name, n) for name in ("daisy", "roses") for n in range(20)])
    wanted = []
    for name in ("daisy", "roses"):
        files = [f"{name}/p{number // 3}_{number}.png" for number in range(20)]
        wanted += sorted(files, key=lambda file: hashed(3, file))[:2]
    val = FlowerPhotos(split="val", seed=3)
    assert sorted(val.name(index) for index in range(len(val))) == sorted(wanted)


shares = st.sampled_from(
    [THREE, dict(a=0.5, b=0.5), {f"fold {n}": 0.2 for n in range(5)}, dict(a=0.97, b=0.02, c=0.01)]
)


@given(counts=st.lists(st.integers(5, 150), min_size=1, max_size=4), shares=shares, seed=st.integers(0, 1000))
def test_every_class_has_its_shares_and_one_picture_more_moves_few(counts, shares, seed):
    strata = [f"class {label}" for label, count in enumerate(counts) for _ in range(count)]
    names = [f"{seed}/{number}" for number in range(len(strata))]
    placed = partition(strata, names, shares, seed)
    for label, count in enumerate(counts):
        sizes = Counter(part for part, stratum in zip(placed, strata, strict=True) if stratum == f"class {label}")
        assert set(sizes) == set(shares)
        if min(shares.values()) * count >= 1:
            assert all(abs(sizes[part] - share * count) < 1 + 1e-6 for part, share in shares.items())
    more = partition([*strata, "class 0"], [*names, "new"], shares, seed)[:-1]
    assert sum(before != after for before, after in zip(placed, more, strict=True)) <= len(shares) - 1


@given(sizes=st.lists(st.integers(1, 30), min_size=3, max_size=60), seed=st.integers(0, 1000))
def test_units_stay_whole_and_the_order_of_samples_does_not_matter(sizes, seed):
    units = [f"unit {number}" for number, size in enumerate(sizes) for _ in range(size)]
    strata = [str(number * number % 2) for number in range(len(units))]
    placed = partition(strata, units, THREE, seed)
    assert len(set(zip(units, placed, strict=True))) == len(sizes)
    order = random.Random(seed).sample(range(len(units)), len(units))
    again = partition([strata[i] for i in order], [units[i] for i in order], THREE, seed)
    assert again == [placed[i] for i in order]


def test_groups_of_one_size_are_dealt_out_exactly():
    """80 patients with a picture of each of two classes: 64, 8 and 8 of them."""
    units = [f"patient {number}" for number in range(80) for _ in range(2)]
    placed = partition(["ill", "well"] * 80, units, THREE, seed=0)
    assert Counter(placed) == dict(train=128, val=16, test=16)


@pytest.mark.parametrize("seed", range(10))
def test_groups_of_many_sizes_are_balanced_and_the_last_go_where_there_is_none(seed):
    """7 to 1 can be halved exactly; of three groups each of three parts gets one, though two are a tenth."""
    halves = partition(["a"] * 28, [f"g{n}" for n in range(1, 8) for _ in range(n)], dict(a=0.5, b=0.5), seed)
    assert Counter(halves) == dict(a=14, b=14)
    units = [unit for unit, size in (("x", 10), ("y", 8), ("z", 6)) for _ in range(size)]
    assert Counter(partition(["a"] * 24, units, THREE, seed)).keys() == THREE.keys()


def test_pictures_that_are_alike_at_the_end_are_not_the_same(working_directory):
    (working_directory / "ends/a").mkdir(parents=True)
    for name, start in (("0", b"x"), ("1", b"y"), ("2", b"x"), ("3", b"xy")):
        Path("ends/a", f"{name}.png").write_bytes(start + bytes(5000))
    assert first_identical(DATASETS.build(dict(type="ImageFolder", root="ends"))) == [0, 1, 0, 3]
    images = np.zeros((3, 4, 4), np.uint8)
    images[1, 0, 0] = 1
    np.savez("ends.npz", train_images=images, train_labels=np.zeros(3, int))
    ends = dict(type="ArrayFile", path="ends.npz")
    both = dict(type="ConcatDataset", datasets=[ends, ends])
    assert first_identical(DATASETS.build(both)) == [0, 1, 0, 0, 1, 0]


def test_the_same_picture_is_in_one_part_whatever_its_class_and_name(pets, working_directory):
    root = working_directory / "pets"
    for number in range(10):  # ten of the cats are also called dogs
        (root / "dog" / f"twin{number}.png").write_bytes((root / "cat" / f"p{number // 3}_{number}.png").read_bytes())
    for part in THREE:
        own = set(members(pets, part=part))
        twins = {number for number in range(10) if f"dog/twin{number}.png" in own}
        assert twins == {number for number in range(10) if f"cat/p{number // 3}_{number}.png" in own}


def test_the_same_picture_in_arrays_and_in_a_repeated_set(arrays):
    with np.load(arrays) as old:
        images, labels = old["train_images"], old["train_labels"]
    images[30:40] = images[:10]  # with labels of their own
    np.savez(arrays, train_images=images, train_labels=labels)
    whole = dict(type="Repeat", dataset=dict(type="ArrayFile", path=str(arrays)), times=3)
    where = {}
    for part in ("a", "b"):
        split = DATASETS.build(dict(type="Split", dataset=whole, parts=dict(a=0.5, b=0.5), part=part))
        for index in range(len(split)):
            assert where.setdefault(split[index][0].tobytes(), part) == part
    assert len(where) == 32


@pytest.mark.parametrize("groups", [r"/(p\d+)_", "patients.csv", "patients.json"])
def test_groups_are_not_divided(pets, groups):
    names = [f"{name}/p{number // 3}_{number}.png" for name, count in COUNTS.items() for number in range(count)]
    patients = {name: name.partition("/")[2].partition("_")[0] for name in names}
    Path("patients.csv").write_text("age,name,group\n" + "".join(f"9,{n},{p}\n" for n, p in patients.items()))
    Path("patients.json").write_text(str(patients).replace("'", '"'))
    parts = {part: members(pets, part=part, parts=dict(train=0.6, val=0.4), groups=groups) for part in ("train", "val")}
    assert sorted(parts["train"] + parts["val"]) == sorted(names)
    assert {patients[name] for name in parts["train"]}.isdisjoint(patients[name] for name in parts["val"])
    assert {name.partition("/")[0] for name in parts["val"]} == set(COUNTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(parts=dict(train=0.8, val=0.1)), "the shares of train, val add up to 0.9, not 1"),
        (dict(parts=dict(train=1.2, val=-0.2)), "shares between 0 and 1, but {'train': 1.2, 'val': -0.2}"),
        (dict(part="dev"), "there is no part `dev`; parts has train, val, test"),
        (dict(groups="p[0-9]+"), "has 0 pairs of parentheses; one pair holds the group"),
        (dict(groups="(p"), "not a regular expression"),
        (dict(groups="cat/(p.*)_"), r"no group in the names of 34 samples, \['dog/p0_0.png', .* 31 more\]"),
        (dict(groups="gone.csv"), "gone.csv cannot be read: No such file"),
        (dict(groups=r"^(.)"), "the class cat has 30 samples that stay together in 1 group, and none is left for"),
        (
            dict(groups=r"(?:/p(?:[2-9]|1.)|/)(p?)"),
            "cat has 30 samples that stay together in 2 groups, and none",
        ),
        (dict(file="split.txt"), "ends in .csv or .json"),
    ],
)
def test_a_split_that_cannot_be(pets, options, message):
    with pytest.raises(UserError, match=message):
        members(pets, **{"part": "train", **options})


def test_a_class_too_small_to_be_in_every_part_is_named(pets, working_directory):
    build(working_directory / "pets", [("fox", 0), ("fox", 1)])
    with pytest.raises(ConfigError, match="Split: the class fox has 2 samples, and none is left for"):
        members(pets, part="train")
    with pytest.raises(ConfigError, match="KFold: the class fox has 2 samples"):
        DATASETS.build(dict(type="KFold", dataset=pets, part="val"))
    build(working_directory / "pets", [("fox", 2)])
    assert [sum(name.startswith("fox") for name in members(pets, part=part)) for part in THREE] == [1, 1, 1]


def test_a_part_without_a_share_is_empty(pets):
    parts = dict(train=1.0, val=0)
    assert len(members(pets, part="train", parts=parts)) == 64
    assert members(pets, part="val", parts=parts) == []


@pytest.mark.parametrize("folds", [2, 5, 13])
def test_every_sample_validates_once(pets, folds):
    whole = DATASETS.build(pets)
    seen = []
    for fold in range(folds):
        train, val = (
            DATASETS.build(dict(type="KFold", dataset=pets, folds=folds, fold=fold, part=part, groups=None))
            for part in ("train", "val")
        )
        assert sorted(train.indices + val.indices) == list(range(len(whole)))
        for label, count in enumerate(COUNTS.values()):
            assert abs(val.labels.count(label) - count / folds) < 1
        seen += val.indices
    assert sorted(seen) == list(range(len(whole)))


def test_a_fold_that_is_not_there(pets):
    with pytest.raises(ConfigError, match="fold is 5; the 5 folds are 0 to 4"):
        DATASETS.build(dict(type="KFold", dataset=pets, fold=5, part="val"))


def test_rows_are_divided_by_each_different_row(working_directory):
    """Multi-hot (1, 0) sixty times, (0, 1) twenty times, and twenty measured values that are all different."""
    multi_hot = np.array([[1, 0]] * 60 + [[0, 1]] * 20)
    images = np.random.default_rng(0).integers(0, 256, (100, 2, 2), dtype=np.uint8)
    np.savez("rows.npz", train_images=images[:80], train_labels=multi_hot)
    np.savez("values.npz", train_images=images, train_labels=np.arange(100.0)[:, None])
    split = DATASETS.build(
        dict(type="Split", dataset=dict(type="ArrayFile", path="rows.npz"), parts=THREE, part="train")
    )
    assert Counter(map(tuple, split.labels.tolist())) == {(1, 0): 48, (0, 1): 16}
    values = dict(type="ArrayFile", path="values.npz")
    assert [len(members(values, part=part)) for part in THREE] == [80, 10, 10]
