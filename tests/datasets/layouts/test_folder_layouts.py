"""Labels in a file beside each image, and labels in the names of the images."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from knoll.datasets.layouts.class_numbers import class_numbers
from knoll.datasets.layouts.file_names import FileNames
from knoll.datasets.layouts.image_folder import ImageFolder
from knoll.datasets.layouts.label_files import LabelFiles
from knoll.datasets.loading.decoding import endings
from knoll.registry import ConfigError, UnavailableError, UserError


def picture(file: Path, red: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (5, 4), (red, 0, 0)).save(file)


def text(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")


@pytest.fixture
def pairs(working_directory) -> Path:
    """`train/ants_image/*.png` with `train/ants_label/*.txt`; of bees as well. Red is 10 for an ant, 20 for a bee."""
    train = working_directory / "insects/train"
    for kind, red, count in (("bees", 20, 3), ("ants", 10, 2)):
        for number in range(count):
            picture(train / f"{kind}_image" / f"{number} ü.png", red + number)
            text(train / f"{kind}_label" / f"{number} ü.txt", kind)
    return train


def test_label_files(pairs):
    insects = LabelFiles("insects", split="train")
    assert insects.classes == ["ants", "bees"]
    assert insects.labels == [0, 0, 1, 1, 1]
    assert [insects.name(index) for index in (0, 4)] == ["ants_image/0 ü.png", "bees_image/2 ü.png"]
    assert [insects[index][0].getpixel((0, 0))[0] for index in range(5)] == [10, 11, 20, 21, 22]
    assert insects.source == "folder insects"


def test_a_label_file_counts_and_not_its_folder(pairs):
    text(pairs / "ants_label/1 ü.txt", "bees\r\n")
    assert LabelFiles("insects", "train").labels == [0, 1, 1, 1, 1]


def test_class_numbers_in_label_files(pairs):
    for file in pairs.glob("*_label/*.txt"):
        text(file, "1" if file.parent.name == "ants_label" else "0")
    assert LabelFiles("insects", "train", classes=["bee", "ant"]).classes == ["bee", "ant"]
    assert LabelFiles("insects", "train", classes=["bee", "ant"]).labels == [1, 1, 0, 0, 0]


def test_other_endings(working_directory):
    picture(working_directory / "a/images/sub/1.png", 0)
    text(working_directory / "a/labels/sub/1.txt", "cat")
    picture(working_directory / "b/1.png", 0)
    text(working_directory / "b/1.txt", "dog")
    assert LabelFiles("a", images="images", labels="labels").classes == ["cat"]
    assert LabelFiles("b", images="", labels="").classes == ["dog"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "bees_label/1 ü.txt").unlink(), r"bees_image/1 ü.png has no label .*\(1 of 5 images"),
        (lambda root: (root / "ants_image/1 ü.png").unlink(), "ants_label/1 ü.txt is a label file without an image"),
        (lambda root: [each.unlink() for each in root.glob("ants_image/*")], "ants_label/0 ü.txt .*are 2 of that kind"),
        (lambda root: text(root / "ants_label/0 ü.txt", " \n"), "ants_label/0 ü.txt is empty"),
        (lambda root: text(root / "ants_label/0 ü.txt", "ants\nbees"), "ants_label/0 ü.txt has several lines"),
        (lambda root: (root / "ants_label/0 ü.txt").write_bytes(b"\xff\xfe\xff"), "ants_label/0 ü.txt cannot be read"),
        (lambda root: picture(root / "wasps/0.png", 0), "wasps/0.png lies in no folder whose name ends in '_image'"),
        (lambda root: [each.unlink() for each in root.glob("*/*")], "train has no images"),
    ],
)
def test_label_files_that_do_not_fit(pairs, spoil, message):
    spoil(pairs)
    with pytest.raises(UserError, match=message):
        LabelFiles("insects", "train")


def test_a_label_that_classes_has_not_is_named_with_its_file(pairs):
    with pytest.raises(UserError, match=r"bees_label/0 ü.txt: the label 'bees' is not .*\(3 of 5.*Did you mean `bee`"):
        LabelFiles("insects", "train", classes=["ants", "bee"])


@pytest.fixture
def named(working_directory) -> Path:
    for name, red in dict(ants_001=0, ants_002=1, black_ants_001=2, bees_1=3).items():
        picture(working_directory / f"named/{name}.png", red)
    text(working_directory / "named/README.txt", "no image")
    text(working_directory / "named/._ants_001.png", "what macOS leaves in archives")
    return working_directory / "named"


def test_file_names(named):
    insects = FileNames("named")
    assert insects.classes == ["ants", "bees", "black_ants"]
    assert [(insects.name(index), insects.labels[index]) for index in range(4)] == [
        ("ants_001.png", 0),
        ("ants_002.png", 0),
        ("bees_1.png", 1),
        ("black_ants_001.png", 2),
    ]
    assert insects[3][0].getpixel((0, 0))[0] == 2


def test_a_pattern_of_ones_own_and_an_order_of_ones_own(named):
    insects = FileNames("named", r"(black_)?(?P<label>[a-z]+)_.*", classes=["bees", "ants", "wasps"])
    assert insects.labels == [1, 1, 0, 1]
    assert insects.classes == ["bees", "ants", "wasps"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(pattern=r"(?P<label>[a-z]+)_\d+\.png"), UserError, r"black_ants_001.png: .*\(1 of 4 names do not fit\)"),
        (dict(pattern=r"([a-z]+)_\d+\.png"), ConfigError, r"no group `label`"),
        (dict(pattern=r"(?P<label>[a-z]+"), ConfigError, "is not a regular expression"),
        (dict(classes=["ants", "bees"]), UserError, "black_ants_001.png: the label 'black_ants' is not among"),
        (dict(split="val"), UnavailableError, "there is no folder named/val"),
    ],
)
def test_file_names_that_do_not_fit(named, options, error, message):
    with pytest.raises(error, match=message):
        FileNames("named", **options)


def place(index: int) -> str:
    return f"line {index}"


@pytest.mark.parametrize(
    ("labels", "classes", "numbers", "names"),
    [
        (["b", "a", "b"], None, [1, 0, 1], ["a", "b"]),
        (["b", "a"], ["b", "c", "a"], [0, 2], ["b", "c", "a"]),
        (["10", "2"], None, [10, 2], [str(number) for number in range(11)]),
        (["1", "0"], ["no", "yes"], [1, 0], ["no", "yes"]),
        (["2", "1"], ["1", "2"], [1, 0], ["1", "2"]),
        (["001", "002"], None, [0, 1], ["001", "002"]),
        (["1", "none"], None, [0, 1], ["1", "none"]),
    ],
)
def test_labels_as_they_are_written(labels, classes, numbers, names):
    assert class_numbers(labels, classes, place) == (numbers, names)


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (
            ["0", "-100", "-1"],
            None,
            r"line 1: the label is -100; a class number is 0 or more \(2 of 3 labels are not\)",
        ),
        (["0", "3"], ["a", "b", "c"], r"line 1: the label is 3; a class number is 0 to 2, for there are 3"),
        (["a", "wasp"], ["a", "b"], "line 1: the label 'wasp' is not among the 2 `classes`"),
        (["a"], ["a", "b", "a"], "`classes` has 'a' twice"),
    ],
)
def test_labels_that_cannot_be(labels, classes, message):
    with pytest.raises(UserError, match=message):
        class_numbers(labels, classes, place)


def test_order_does_not_follow_from_the_file_system(pairs, monkeypatch):
    import os

    expected = LabelFiles("insects", "train").files
    walk = os.walk

    def backwards(*arguments, **options):
        for folder, below, files in walk(*arguments, **options):
            below.sort(reverse=True)
            yield folder, below, sorted(files, reverse=True)

    monkeypatch.setattr(os, "walk", backwards)
    assert LabelFiles("insects", "train").files == expected
    assert [file.name for file in FileNames("insects/train/ants_image", "(?P<label>.).*").files] == [
        "0 ü.png",
        "1 ü.png",
    ]


def test_the_layouts_name_the_same_classes_as_class_folders(pairs, working_directory):
    for number in range(2):
        picture(working_directory / f"folders/ants/{number}.png", 0)
        picture(working_directory / f"folders/bees/{number}.png", 0)
    assert ImageFolder("folders").classes == LabelFiles("insects", "train").classes


def test_every_layout_of_folders_takes_the_same_endings_for_images(working_directory):
    for number, ending in enumerate(endings()):
        for name in (f"all/c/x_{number}{ending}", f"pairs/x_image/{number}{ending}", f"pairs/x_label/{number}.txt"):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text("x")
    count = len(endings())
    assert len(ImageFolder("all")) == len(FileNames("all/c")) == len(LabelFiles("pairs")) == count
