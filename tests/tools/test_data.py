"""`data stats`: what was put into made-up files is what is said of them; published figures of MNIST and CIFAR-10."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from knoll.datasets.base import ArrayImages
from knoll.registry import DATASETS, UserError
from knoll.tools.data_commands import stats

DATA = Path(os.environ.get("KNOLL_DATA", Path(__file__).parents[3] / "shared/data"))
AS_TENSOR = [dict(type="ToImage"), dict(type="ToDtype", dtype="float32", scale=True)]
NORMALIZE = dict(type="Normalize", mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
NOTHING_ELSE = dict(evaluation={}, hooks={})
rng = np.random.default_rng(0)


def noise(width: int, height: int, *channels: int) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (height, width, *channels), dtype=np.uint8))


def save(place: str, image: Image.Image, **options) -> Path:
    path = Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


@pytest.fixture
def photos():
    """train/ and val/ of cats and dogs, with one of everything that goes wrong."""
    for number in range(3):
        save(f"photos/train/cat/{number}.png", noise(20 + number, 16, 3))
    turned = Image.Exif()
    turned[0x0112] = 6
    save("photos/train/cat/turned.jpg", noise(24, 16, 3), exif=turned)
    save("photos/train/dog/grey.png", noise(20, 16))
    save("photos/train/dog/16 bit.png", Image.fromarray(rng.integers(0, 2**16, (16, 20), dtype=np.uint16)))
    save("photos/train/dog/cmyk.jpg", noise(20, 16, 4).convert("CMYK"))
    save("photos/train/dog/long.png", noise(200, 4, 3))
    whole = save("photos/train/dog/cut.jpg", noise(64, 64, 3)).read_bytes()
    Path("photos/train/dog/cut.jpg").write_bytes(whole[: len(whole) // 2])
    Path("photos/train/dog/empty.jpg").write_bytes(b"")
    Path("photos/train/cat/text.jpg").write_text("a cat")
    for number in range(2):
        save(f"photos/val/cat/{number}.png", noise(20, 16, 3))
        save(f"photos/val/dog/{number}.png", noise(20, 16, 3))
    shutil.copy("photos/train/cat/1.png", "photos/val/dog/copy.png")
    shutil.copy("photos/train/cat/0.png", "photos/train/dog/copied.png")
    shutil.copy("photos/train/cat/2.png", "photos/train/cat/again.png")
    return dict(
        train=dict(dataset=dict(type="ImageFolder", root="photos", split="train"), transforms=AS_TENSOR),
        evaluation=dict(val=dict(dataset=dict(type="ImageFolder", root="photos", split="val"), transforms=AS_TENSOR)),
        model=dict(type="ImageClassifier", backbone=dict(type="Tudui"), head=dict(type="LinearHead", num_classes=2)),
    )


@pytest.fixture
def report(tiny, capsys):
    """What `stats --json` writes, what it prints, and its exit status."""

    def run(changes: dict, *arguments: str) -> tuple[dict, str, int]:
        Path("x.yaml").write_text(yaml.safe_dump({**tiny, **changes}))
        status = stats.main(["x.yaml", "--json", "x.json", *(arguments or ("--workers", "0"))])
        return json.loads(Path("x.json").read_text()), capsys.readouterr().out, status

    return run


def test_as_a_user_runs_it(tool, tiny, photos):
    Path("x.yaml").write_text(yaml.safe_dump({**tiny, **photos}))
    done = tool("data", "stats", "x.yaml", "--workers", "2")
    assert done.returncode == 1
    assert done.stderr == ""
    assert "train: unreadable: 3" in done.stdout
    for name, reason in (
        ("cat/text.jpg", "it is none of JPEG, PNG"),
        ("dog/cut.jpg", "image file is truncated"),
        ("dog/empty.jpg", "the file is empty"),
    ):
        assert f"  photos/train/{name} cannot be read as an image: {reason}" in done.stdout
    assert "train: cat/0.png (cat) = train: dog/copied.png (dog)   LABELS DIFFER" in done.stdout


def test_what_is_counted(photos, report):
    found, printed, status = report(photos)
    assert status == 1
    train, val = found["sets"]["train"], found["sets"]["val"]
    assert train["labels"]["counts"] == dict(cat=6, dog=7)
    assert val["labels"]["counts"] == dict(cat=2, dog=3)
    assert (train["images"], len(train["unreadable"])) == (13, 3)
    assert train["formats"] == dict(PNG=8, JPEG=2)
    assert train["modes"] == {"RGB": 7, "L": 1, "I;16": 1, "CMYK": 1}
    assert (train["turned"], val["turned"]) == (1, 0)
    sizes = train["sizes"]
    assert (sizes["smallest"], sizes["largest"]) == ([20, 16], [200, 4])  # the turned one is 16 x 24
    assert sizes["aspect"] == pytest.approx([16 / 24, 20 / 16, 200 / 4])
    assert sizes["extreme"] == ["dog/long.png (200 x 4)"]
    words = [line.split() for line in printed.splitlines()]
    assert ["cat", "6", "46.2%", "2", "40.0%"] in words
    assert ["largest", "/", "smallest", "class", "1.17", "1.50"] in words  # 7 / 6 and 3 / 2


def test_duplicates_are_named_with_their_labels(photos, report):
    found, printed, _ = report(photos)
    groups = [[f"{m['set']}/{m['name']}:{m['label']}" for m in each["members"]] for each in found["duplicates"]]
    assert sorted(groups) == [
        ["train/cat/0.png:cat", "train/dog/copied.png:dog"],
        ["train/cat/1.png:cat", "val/dog/copy.png:dog"],
        ["train/cat/2.png:cat", "train/cat/again.png:cat"],
    ]
    assert "duplicates between train and val: 1\n  train: cat/1.png (cat) = val: dog/copy.png (dog)" in printed
    assert "duplicates within one set, with different labels: 1\n  train: cat/0.png" in printed
    assert "duplicates within one set, with the same label: 1\n  train: cat/2.png" in printed


def test_a_set_that_repeats_its_images_has_no_duplicates(arrays, tiny, report):
    whole = dict(type="ArrayFile", path="arrays.npz")
    train = {**tiny["train"], "dataset": dict(type="Subset", dataset=whole, indices=[0, 1, 2, 2, 1, 0])}
    assert report(dict(train=train))[0]["duplicates"] == []
    with np.load(arrays) as data:
        contents = dict(data)
    contents["val_images"][5] = contents["train_images"][7]
    np.savez(arrays, **contents)
    found, printed, status = report({})
    assert [[m["name"] for m in each["members"]] for each in found["duplicates"]] == [["train/00007", "val/00005"]]
    assert "LABELS DIFFER" in printed  # 7 modulo 4 is not 5 modulo 4
    assert status == 0


def test_the_number_of_workers_changes_nothing(photos, report):
    one, two = report(photos, "--workers", "0"), report(photos, "--workers", "2")
    assert one == two


def write_images(*shapes: tuple[int, int]) -> list[np.ndarray]:
    """PNGs of these heights and widths, and their pixels between 0 and 1."""
    images = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    for number, image in enumerate(images):
        for split in ("train", "val"):
            save(f"noise/{split}/{number % 2}/{number}.png", Image.fromarray(image))
    return [image / 255 for image in images]


def measure(report, transforms: list[dict]) -> dict:
    both = {split: dict(type="ImageFolder", root="noise", split=split) for split in ("train", "val")}
    found, printed, _ = report(
        dict(
            train=dict(dataset=both["train"], transforms=transforms, batch_size=2),
            evaluation=dict(val=dict(dataset=both["val"], transforms=transforms)),
        )
    )
    mean, std = ("[" + ", ".join(f"{value:.4f}" for value in found["pixels"][key]) + "]" for key in ("mean", "std"))
    assert f"  mean={mean}\n  std={std}\n" in printed
    return found["pixels"]


def test_mean_and_std_over_all_pixels(report):
    pixels = np.stack(write_images(*[(12, 10)] * 7))
    crop = [dict(type="RandomCrop", size=10, padding=4), dict(type="ColorJitter", brightness=0.5)]
    found = measure(report, [*crop, *AS_TENSOR, NORMALIZE, dict(type="RandomErasing")])
    assert found["mean"] == pytest.approx(pixels.mean(axis=(0, 1, 2)), rel=1e-6)
    assert found["std"] == pytest.approx(pixels.std(axis=(0, 1, 2)), rel=1e-6)
    assert found["left_out"] == ["RandomCrop", "ColorJitter"]
    assert found["in_config"] == [NORMALIZE["mean"], NORMALIZE["std"]]


def test_what_is_not_random_is_applied_first(report):
    pixels = np.stack(write_images(*[(12, 10)] * 5))[:, 3:9, 2:8]  # the centre
    found = measure(report, [dict(type="CenterCrop", size=6), dict(type="RandomHorizontalFlip"), *AS_TENSOR])
    assert found["mean"] == pytest.approx(pixels.mean(axis=(0, 1, 2)), rel=1e-6)
    assert found["std"] == pytest.approx(pixels.std(axis=(0, 1, 2)), rel=1e-6)
    assert found["in_config"] is None


def test_images_of_different_sizes_count_the_same(report):
    images = write_images((4, 4), (40, 30), (7, 9))
    found = measure(report, [dict(type="RandomResizedCrop", size=4), *AS_TENSOR])
    mean = np.mean([image.mean(axis=(0, 1)) for image in images], axis=0)
    variance = np.mean([((image - mean) ** 2).mean(axis=(0, 1)) for image in images], axis=0)
    assert found["mean"] == pytest.approx(mean, rel=1e-6)
    assert found["std"] == pytest.approx(np.sqrt(variance), rel=1e-6)


def published(report, file: str, dataset: dict) -> dict:
    if not (DATA / file).exists():
        pytest.skip(f"there is no {DATA / file}: set KNOLL_DATA to the folder that holds it")
    # Without the evaluation set, which takes as long again.
    return report(dict(train=dict(dataset=dataset, transforms=AS_TENSOR), **NOTHING_ELSE))[0]


@pytest.mark.slow
def test_mnist_has_its_published_mean_and_std(report):
    found = published(report, "MNIST/raw", dict(type="MNIST", root=str(DATA), download=False))
    assert found["pixels"]["mean"] == pytest.approx([0.1307], abs=5e-5)
    assert found["pixels"]["std"] == pytest.approx([0.3081], abs=5e-5)
    assert found["sets"]["train"]["labels"]["counts"]["5 - five"] == 5421  # LeCun's table of the training set


@pytest.mark.slow
def test_cifar10_has_its_published_mean_and_std(report):
    found = published(report, "cifar10.npz", dict(type="ArrayFile", path=str(DATA / "cifar10.npz")))
    assert found["pixels"]["mean"] == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-5)
    assert found["pixels"]["std"] == pytest.approx([0.2470, 0.2435, 0.2616], abs=5e-5)


def test_classes_and_labels_that_do_not_fit(report, photos, arrays):
    shutil.rmtree("photos/val/dog")
    save("photos/val/emu/0.png", noise(20, 16, 3))
    photos["model"]["head"]["num_classes"] = 3
    found, printed, status = report(photos)
    assert status == 1
    assert "only train has ['dog'], only val has ['emu']" in printed
    assert "model.head.num_classes is 3, but the training data has 2 classes" in printed
    assert found["sets"]["val"]["labels"]["counts"] == dict(cat=2, emu=1)

    with np.load(arrays) as data:
        contents = dict(data)
    contents["train_labels"][3] = -100
    np.savez(arrays, **contents)
    found, printed, status = report({})
    assert status == 1
    assert found["sets"]["train"]["labels"]["wrong"] == ["train/00003: -100"]
    assert sum(found["sets"]["train"]["labels"]["counts"].values()) == 41


@pytest.fixture
def registered():
    """A table of numbers, and a data set that knows nothing of Knoll; forgotten afterwards."""

    class Table(ArrayImages):
        def __init__(self) -> None:
            self.images = np.array([[1, 10], [2, 20], [3, 60]], dtype=np.float32)
            self.labels, self.classes, self.features = [0, 1, 1], ["no", "yes"], ["height", "width"]

    class Foreign:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int):
            if index == 2:
                raise OSError("disk on fire")
            return torch.full((3, 5, 4), index / 10), index % 2

    DATASETS.register_module("TableOfTestData", module=Table)
    DATASETS.register_module("ForeignOfTestData", module=Foreign)
    yield
    del DATASETS.module_dict["TableOfTestData"], DATASETS.module_dict["ForeignOfTestData"]


@pytest.mark.usefixtures("registered")
def test_a_table_of_numbers_has_a_mean_and_a_deviation_for_each_column(report):
    found, printed, _ = report(dict(train=dict(dataset=dict(type="TableOfTestData")), **NOTHING_ELSE))
    columns = found["sets"]["train"]["columns"]
    assert columns["height"] == pytest.approx(dict(mean=2, std=np.sqrt(2 / 3), smallest=1, largest=3))
    assert columns["width"] == pytest.approx(dict(mean=30, std=np.std([10, 20, 60]), smallest=10, largest=60))
    assert found["pixels"] is found["sets"]["train"]["sizes"] is None
    assert "width" in printed


@pytest.mark.usefixtures("registered")
def test_a_data_set_that_tells_nothing_but_its_samples(report):
    found, _, status = report(dict(train=dict(dataset=dict(type="ForeignOfTestData")), **NOTHING_ELSE))
    own = found["sets"]["train"]
    assert status == 1
    assert own["unreadable"] == ["2: OSError: disk on fire"]
    assert own["sizes"]["largest"] == [4, 5]
    assert found["pixels"]["mean"] == pytest.approx([(0 + 0.1 + 0.3) / 3] * 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train.batchsize=3",), "Did you mean"),
        (("--workers", "-1"), "--workers: expected 0 or more"),
        (("--json", "x.txt"), "its name must end in .json"),
        (("train.dataset.path=gone.npz",), "there is no file gone.npz"),
    ],
)
def test_mistakes(report, arguments, message):
    with pytest.raises(UserError, match=message):
        report({}, *arguments)
