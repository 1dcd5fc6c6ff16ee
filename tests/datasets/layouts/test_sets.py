"""Data sets: class folders, arrays, torchvision's layouts."""

from __future__ import annotations

import gzip
import struct
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image

from knoll.datasets.layouts.array_file import ArrayFile
from knoll.datasets.layouts.image_folder import ImageFolder
from knoll.registry import DATASETS, TRANSFORMS, UnavailableError, UserError


def test_classes_of_ones_own_order_of_which_one_may_be_missing(pets_folder):
    pets = ImageFolder("pets", classes=["emu", "fox", "cat", "dog"])
    assert pets.classes == ["emu", "fox", "cat", "dog"]
    assert [pets.labels.count(label) for label in range(4)] == [6, 0, 2, 4]
    assert all(pets.classes[pets.labels[index]] == pets.name(index).split("/")[0] for index in range(12))
    with pytest.raises(UserError, match=r"pets has the folder dog, which is not among classes=\['cat', 'emu'\]"):
        ImageFolder("pets", classes=["cat", "emu"])


def test_class_folders(pets_folder):
    pets = ImageFolder("pets")
    assert pets.classes == ["cat", "dog", "emu"]
    assert pets.labels == [0] * 2 + [1] * 4 + [2] * 6
    image, label = pets[3]
    assert (image.size, image.getpixel((0, 0)), label) == ((5, 4), (1, 1, 0), 1)
    assert pets.name(3) == "dog/1 ü.png"
    assert pets.source == "folder pets"


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda root: (root / "fox").mkdir(), UserError, "no images in fox"),
        (lambda root: root.rename(root.with_name("moved")), UnavailableError, "there is no folder pets"),
    ],
)
def test_folders_that_are_not_class_folders(pets_folder, spoil, error, message):
    spoil(pets_folder)
    with pytest.raises(error, match=message):
        ImageFolder("pets")


@pytest.mark.parametrize("content", [b"", b"this is text", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_image_is_named(pets_folder, content):
    (pets_folder / "cat" / "0 ü.png").write_bytes(content)
    with pytest.raises(UserError, match=r"cat/0 ü.png cannot be read as an image"):
        ImageFolder("pets")[0]


def test_array_file(arrays):
    train = ArrayFile("arrays.npz")
    image, label = train[5]
    assert (len(train), train.classes, image.mode, image.size, label) == (42, ["0", "1", "2", "3"], "L", (28, 28), 1)
    assert np.array_equal(np.asarray(image), np.load(arrays)["train_images"][5])
    assert ArrayFile("arrays.npz", split="val").name(7) == "val/00007"


def test_array_file_reads_labels_as_medmnist_keeps_them(working_directory):
    images = np.zeros((3, 4, 4, 3), dtype=np.uint8)
    np.savez("med.npz", train_images=images, train_labels=np.array([[2], [0], [1]]))
    assert ArrayFile("med.npz").labels == [2, 0, 1]


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (dict(images=np.zeros(3)), "has no array train_images; it has images"),
        (dict(train_images=np.zeros((3, 4, 4)), train_labels=np.zeros(3, int)), "expected uint8"),
        (dict(train_images=np.zeros((3, 4, 4), np.uint8), train_labels=np.zeros(2, int)), "expected integers"),
        (dict(train_images=np.array([None]), train_labels=np.zeros(1, int)), "cannot be read"),
    ],
)
def test_array_file_says_what_is_wrong(contents, message):
    np.savez("bad.npz", **contents)
    with pytest.raises(UserError, match=message):
        ArrayFile("bad.npz")


def test_a_text_file_named_npz():
    with open("bad.npz", "w") as file:
        file.write("<html>")
    with pytest.raises(UserError, match=r"cannot be read as an \.npz file"):
        ArrayFile("bad.npz")


def mnist_file(path, array: np.ndarray, magic: int) -> None:
    """The format of http://yann.lecun.com/exdb/mnist: magic number, sizes, bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb") as file:
        file.write(struct.pack(">i", magic) + b"".join(struct.pack(">i", n) for n in array.shape) + array.tobytes())


def test_mnist_reads_torchvisions_layout(working_directory):
    import torchvision

    raw = working_directory / "data/MNIST/raw"
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
    labels = np.array([3, 1, 4, 1, 5, 9], dtype=np.uint8)
    for prefix in ("train", "t10k"):
        for name, array, magic in (("images-idx3", images, 2051), ("labels-idx1", labels, 2049)):
            mnist_file(raw / f"{prefix}-{name}-ubyte.gz", array, magic)
            torchvision.datasets.utils.extract_archive(str(raw / f"{prefix}-{name}-ubyte.gz"), str(raw))
    mnist = DATASETS.build(dict(type="MNIST", download=False))
    assert mnist.labels == labels.tolist()
    assert np.array_equal(np.asarray(mnist[2][0]), images[2])
    assert mnist.classes[0] == "0 - zero"
    assert mnist.source == "MNIST"


def test_a_failed_download_leaves_no_empty_folders(working_directory, monkeypatch):
    def fetch(*_, **__):
        assert (working_directory / "data/MNIST/raw").is_dir()
        raise URLError("no connection")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", fetch)
    with pytest.raises(UnavailableError, match="MNIST is not in data and was not fetched"):
        DATASETS.build(dict(type="MNIST"))
    assert not (working_directory / "data").exists()
    (working_directory / "data/MNIST").mkdir(parents=True)
    with pytest.raises(UnavailableError):
        DATASETS.build(dict(type="MNIST"))
    assert [path.name for path in (working_directory / "data").rglob("*")] == ["MNIST"]  # which was there before


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "CIFAR10", "CIFAR100"])
def test_torchvisions_sets_say_where_to_put_them(name):
    with pytest.raises(UnavailableError, match="Put torchvision's files there"):
        DATASETS.build(dict(type=name, download=False))


def test_sixteen_bit_images_keep_their_grey_levels(working_directory):
    (working_directory / "grey/ramp").mkdir(parents=True)
    ramp = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    Image.fromarray(ramp).save(working_directory / "grey/ramp/16bit.png")
    image, _ = ImageFolder("grey")[0]
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image)[..., 0], np.arange(256).reshape(16, 16))


def test_every_transform_of_torchvision_has_its_name():
    from torchvision.transforms import v2

    names = [
        n for n, t in vars(v2).items() if isinstance(t, type) and issubclass(t, v2.Transform) and t is not v2.Transform
    ]
    assert len(names) > 50
    assert set(names) <= set(TRANSFORMS.module_dict)


def test_transforms_take_their_values_as_plain_data():
    from torchvision.transforms import v2

    resize = TRANSFORMS.build(dict(type="Resize", size=[8, 9], interpolation="bicubic"))
    assert resize.interpolation is v2.InterpolationMode.BICUBIC
    inner = dict(type="RandomHorizontalFlip", p=1.0)
    applied = TRANSFORMS.build(dict(type="RandomApply", transforms=[inner], p=1.0))
    image = Image.new("RGB", (2, 1))
    image.putpixel((0, 0), (255, 0, 0))
    assert applied(image).getpixel((1, 0)) == (255, 0, 0)
