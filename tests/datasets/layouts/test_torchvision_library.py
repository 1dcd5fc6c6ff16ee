"""Every data set of torchvision: read, or refused by name."""

from __future__ import annotations

import inspect
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image

from knoll.datasets.layouts.torchvision_layouts import ARRAYS, CLASSES, FILES, OTHERS, REFUSED
from knoll.registry import DATASETS, ConfigError, UnavailableError, UnknownNameError, UserError
from knoll.registry.signature import bind, parameters

DATA = Path(os.environ.get("KNOLL_DATA", Path(__file__).parents[4] / "shared/data"))
NAMES = sorted(name for name, each in vars(torchvision.datasets).items() if inspect.isclass(each))
READ = sorted({*ARRAYS, *FILES, *OTHERS})
# Those that torchvision asks whether to train.
TRAIN_OR_TEST = {"MNIST", "FashionMNIST", "KMNIST", "QMNIST", "CIFAR10", "CIFAR100", "USPS", "Omniglot"}


def build(name: str, **options):
    return DATASETS.build(dict(type=f"torchvision/{name}", **options))


def pictures(*names: str) -> list[str]:
    for number, name in enumerate(names):
        Path("data", name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2), (number, 0, 0)).save(Path("data", name))
    return [f"data/{name}" for name in names]


def test_each_is_either_read_or_refused():
    assert set(NAMES) <= {*READ, *REFUSED}
    assert not set(READ) & set(REFUSED)
    assert set(CLASSES) <= set(READ)
    listed = DATASETS.list("torchvision/*", sources=True)
    assert listed == [f"torchvision/{name}" for name in READ if name in NAMES]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_no_image_classification_is_refused_by_name(name):
    with pytest.raises(UnknownNameError, match=f"torchvision/{name} has no images with a label each: it is "):
        build(name)


@pytest.mark.parametrize("name", READ)
def test_the_arguments_are_torchvisions(name):
    target = DATASETS.require(f"torchvision/{name}")
    ours, theirs = parameters(target), parameters(getattr(torchvision.datasets, name))
    assert not ours.takes_any
    own = {"split"} if name in TRAIN_OR_TEST else set()
    assert ours.annotations.keys() - own <= theirs.annotations.keys() - {"transform", "target_transform", "loader"}
    assert ("split" in ours.annotations) == ("split" in theirs.annotations or name in TRAIN_OR_TEST)
    missing = ["split"] if name == "EMNIST" else []
    assert [problem.key for problem in bind(target, dict(rot="x"))[1]] == ["rot", *missing]


# The others need no files, or another argument, or a package before they look for their files.
@pytest.mark.parametrize("name", sorted({*READ} - {"FakeData", "EMNIST", "ImageNet", "StanfordCars", "PCAM"}))
def test_what_is_not_there_is_said(name):
    with pytest.raises(UnavailableError, match=f"torchvision/{name} is not in data and was not fetched"):
        build(name)


def test_made_up_images():
    fake = build("FakeData", size=12, image_size=[3, 6, 7], num_classes=4)
    theirs = torchvision.datasets.FakeData(12, (3, 6, 7), 4)
    assert fake.labels == [theirs[index][1] for index in range(12)]
    assert fake.classes == ["0", "1", "2", "3"]
    for copy in (fake, pickle.loads(pickle.dumps(fake))):
        assert copy[5][0].tobytes() == theirs[5][0].tobytes()
    assert (fake.source, fake.name(5), len(fake)) == ("FakeData", "FakeData/00005", 12)


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_what_is_at_hand_reads_as_torchvision_reads_it(name):
    if not (DATA / name / "raw").is_dir():
        pytest.skip(f"there is no {DATA / name}: set KNOLL_DATA to the folder that holds it")
    ours = build(name, root=str(DATA), split="test")
    theirs = getattr(torchvision.datasets, name)(DATA, train=False)
    assert (len(ours), ours.classes) == (10_000, theirs.classes)
    assert ours.labels == theirs.targets.tolist()
    assert ours[77][0].tobytes() == theirs[77][0].tobytes()
    assert len(build(name, root=str(DATA))) == 60_000


@pytest.mark.parametrize(
    ("name", "options", "files"),
    [
        ("DTD", dict(split="val"), ["dtd/dtd/images/zigzag/1.jpg", "dtd/dtd/images/dotted/2.jpg"]),
        ("OxfordIIITPet", {}, ["oxford-iiit-pet/images/Bombay_2.jpg", "oxford-iiit-pet/images/beagle_1.jpg"]),
        ("EuroSAT", {}, ["eurosat/2750/River/1.jpg", "eurosat/2750/Forest/1.jpg"]),
        ("Country211", dict(split="valid"), ["country211/valid/FR/1.jpg", "country211/valid/CN/2.jpg"]),
        ("GTSRB", {}, ["gtsrb/GTSRB/Training/00001/1.ppm", "gtsrb/GTSRB/Training/00000/1.ppm"]),
    ],
)
def test_files_where_torchvision_expects_them(name, options, files):
    pictures(*files)
    for path, text in {
        "dtd/dtd/labels/val1.txt": "zigzag/1.jpg\ndotted/2.jpg\n",
        "oxford-iiit-pet/annotations/trainval.txt": "Bombay_2 1 1 1\nbeagle_1 2 2 1\n",
    }.items():
        Path("data", path).parent.mkdir(parents=True, exist_ok=True)
        Path("data", path).write_text(text)
    ours, theirs = build(name, **options), getattr(torchvision.datasets, name)("data", **options)
    assert [ours.name(index) for index in range(2)] == sorted(files)

    def samples(dataset) -> set:
        return {(image.tobytes(), label) for image, label in (dataset[index] for index in range(2))}

    assert samples(ours) == samples(theirs)
    assert ours.classes == list(getattr(theirs, "classes", ["0", "1"]))


class Library:
    """A stand-in for one of torchvision's data sets, with the attributes that its source gives it."""

    def __init__(self, root: str = "data", split: str = "train") -> None:
        self.root = root


@pytest.fixture
def stand_in(monkeypatch):
    def put(name: str, **attributes):
        class Own(Library):
            def __init__(self, root: str = "data", split: str = "train") -> None:
                super().__init__(root, split)
                vars(self).update(attributes)

        monkeypatch.setattr(torchvision.datasets, name, Own)
        return build(name)

    return put


def test_arrays_with_channels_first(stand_in):
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 6, 7), dtype=np.uint8)
    svhn = stand_in("SVHN", data=images, labels=np.array([3, 0, 1, 1, 2]))
    assert np.array_equal(np.asarray(svhn[2][0]), images[2].transpose(1, 2, 0))
    assert np.array_equal(svhn.gather([2])[0], images[2])
    assert (svhn.labels, svhn.classes) == ([3, 0, 1, 1, 2], ["0", "1", "2", "3"])


def test_samples_that_are_tensors_and_labels_in_a_column(stand_in):
    faces = stand_in("FER2013", _samples=[(torch.full((48, 48), n, dtype=torch.uint8), 6 - n) for n in range(3)])
    assert (faces[1][0].size, faces[1][0].getpixel((0, 0)), faces.labels) == ((48, 48), 1, [6, 5, 4])
    assert faces.classes[6] == "neutral"
    qmnist = stand_in("QMNIST", data=torch.zeros(2, 28, 28, dtype=torch.uint8), targets=torch.tensor([[7, 1], [2, 1]]))
    assert qmnist.labels == [7, 2]


def test_files_in_the_order_of_their_names(stand_in):
    files = pictures("b/1.png", "a/2.png", "a/1.png")
    sun = stand_in("SUN397", _image_files=files, _labels=[1, 0, 0], classes=["a", "b"])
    assert [sun.name(index) for index in range(3)] == ["a/1.png", "a/2.png", "b/1.png"]
    assert sun.labels == [0, 0, 1]
    assert [sun[index][0].getpixel((0, 0))[0] for index in range(3)] == [2, 1, 0]


def test_classes_whose_numbers_the_file_system_gave(stand_in):
    pictures("z/1.png", "a/1.png")
    omniglot = stand_in(
        "Omniglot", target_folder="data", _characters=["z", "a"], _flat_character_images=[("1.png", 0), ("1.png", 1)]
    )
    assert [(omniglot.name(index), omniglot.labels[index]) for index in range(2)] == [("a/1.png", 0), ("z/1.png", 1)]
    assert omniglot.classes == ["a", "z"]


def test_paths_that_torchvision_puts_together(stand_in):
    pictures("101_ObjectCategories/cat/image_0007.jpg", "256_ObjectCategories/2.dog/002_0003.jpg")
    caltech = stand_in("Caltech101", categories=["ant", "cat"], y=[1], index=[7])
    assert (caltech[0][1], caltech.classes) == (1, ["ant", "cat"])
    assert stand_in("Caltech256", categories=["1.cat", "2.dog"], y=[1], index=[3])[0][1] == 1
    pictures("a/1.jpg")
    species = stand_in("INaturalist", all_categories=["a", "b"], index=[(0, "1.jpg")])
    assert (species[0][1], species.classes) == (0, ["a", "b"])


def test_several_labels_and_several_names(stand_in):
    pictures("celeba/img_align_celeba/1.jpg")
    faces = stand_in("CelebA", filename=["1.jpg"], attr=torch.tensor([[1, 0]]), attr_names=["Bald", "Young", ""])
    assert (faces[0][1].tolist(), faces.classes) == ([1, 0], ["Bald", "Young"])
    net = stand_in("ImageNet", samples=[(pictures("n1/1.jpg")[0], 0)], classes=[("tench", "Tinca tinca")])
    assert net.classes == ["tench, Tinca tinca"]


def test_a_split_without_labels(stand_in):
    with pytest.raises(UserError, match="this split of torchvision/CLEVRClassification has images without labels"):
        stand_in("CLEVRClassification", _image_files=["a.png"], _labels=[None])


def test_a_split_that_there_is_not():
    with pytest.raises(ConfigError, match="Valid values are"):
        build("SVHN", split="val")
    with pytest.raises(ConfigError, match="expected one of 'train', 'test'"):
        build("MNIST", split="val")
