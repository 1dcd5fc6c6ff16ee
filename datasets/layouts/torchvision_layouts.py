"""Where each classification data set of torchvision keeps its images, its labels and the names of its classes.

torchvision has no common way to ask for these without loading every image, so this is read from its source, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def _pairs(samples: Iterable[tuple[Any, Any]]) -> tuple[list, list]:
    files, labels = zip(*samples, strict=True)
    return list(files), list(labels)


# Images in arrays: those and the labels.
ARRAYS: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    **dict.fromkeys(
        ("MNIST", "FashionMNIST", "KMNIST", "EMNIST", "USPS", "CIFAR10", "CIFAR100"), lambda d: (d.data, d.targets)
    ),
    "QMNIST": lambda d: (d.data, d.targets[:, 0]),
    **dict.fromkeys(("SVHN", "STL10", "SEMEION"), lambda d: (d.data, d.labels)),
    "FER2013": lambda d: ([image.numpy() for image, _ in d._samples], [label for _, label in d._samples]),
}

# Images in files: their paths and the labels.
FILES: dict[str, Callable[[Any], tuple[Iterable, Any]]] = {
    **dict.fromkeys(
        ("CLEVRClassification", "DTD", "FGVCAircraft", "Flowers102", "Food101", "SUN397"),
        lambda d: (d._image_files, d._labels),
    ),
    **dict.fromkeys(("Country211", "EuroSAT", "ImageFolder", "ImageNet"), lambda d: _pairs(d.samples)),
    **dict.fromkeys(("GTSRB", "Imagenette", "RenderedSST2", "StanfordCars"), lambda d: _pairs(d._samples)),
    "Caltech101": lambda d: (
        [
            f"{d.root}/101_ObjectCategories/{d.categories[y]}/image_{i:04d}.jpg"
            for y, i in zip(d.y, d.index, strict=True)
        ],
        d.y,
    ),
    "Caltech256": lambda d: (
        [
            f"{d.root}/256_ObjectCategories/{d.categories[y]}/{y + 1:03d}_{i:04d}.jpg"
            for y, i in zip(d.y, d.index, strict=True)
        ],
        d.y,
    ),
    "CelebA": lambda d: ([f"{d.root}/celeba/img_align_celeba/{name}" for name in d.filename], d.attr.numpy()),
    "INaturalist": lambda d: (
        [f"{d.root}/{d.all_categories[category]}/{name}" for category, name in d.index],
        [category for category, _ in d.index],
    ),
    "LFWPeople": lambda d: (d.data, d.targets),
    # Its numbers follow from the order in which the file system lists folders; the names do not.
    "Omniglot": lambda d: (
        [f"{d.target_folder}/{d._characters[label]}/{name}" for name, label in d._flat_character_images],
        [d._characters[label] for _, label in d._flat_character_images],
    ),
    "OxfordIIITPet": lambda d: (d._images, d._labels),
    "Places365": lambda d: _pairs(d.imgs),
}


def _pcam_labels(data: Any) -> list[int]:
    with data.h5py.File(data._base_folder / data._FILES[data._split]["targets"][0]) as file:
        return file["y"][:].reshape(-1).tolist()


# Images that only torchvision can read: the labels.
OTHERS: dict[str, Callable[[Any], Any]] = {
    "FakeData": lambda d: [d[index][1] for index in range(len(d))],
    "PCAM": _pcam_labels,
}

# Names of the classes, where they are not in an attribute `classes`.
CLASSES: dict[str, Callable[[Any], Iterable[str]]] = {
    **dict.fromkeys(("Caltech101", "Caltech256"), lambda d: d.categories),
    "CelebA": lambda d: filter(None, d.attr_names),  # a space at the line's end makes one more
    "FakeData": lambda d: map(str, range(d.num_classes)),
    "FER2013": lambda d: ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"],
    "INaturalist": lambda d: d.all_categories,
    "LFWPeople": lambda d: d.class_to_idx,
    "PCAM": lambda d: ["no tumour", "tumour"],
}

# Classes of torchvision.datasets that do not say what an image as a whole shows, and what they are for.
REFUSED = {
    **dict.fromkeys(
        ("CREStereo", "CarlaStereo", "ETH3DStereo", "FallingThingsStereo", "InStereo2k", "Kitti2012Stereo"),
        "for stereo matching",
    ),
    **dict.fromkeys(
        ("Kitti2015Stereo", "Middlebury2014Stereo", "SceneFlowStereo", "SintelStereo"), "for stereo matching"
    ),
    **dict.fromkeys(("FlyingChairs", "FlyingThings3D", "HD1K", "KittiFlow", "Sintel"), "for optical flow"),
    **dict.fromkeys(("CocoDetection", "Kitti", "VOCDetection", "WIDERFace"), "for detection"),
    **dict.fromkeys(("Cityscapes", "SBDataset", "VOCSegmentation"), "for segmentation"),
    **dict.fromkeys(("CocoCaptions", "Flickr30k", "Flickr8k", "SBU"), "for captions"),
    **dict.fromkeys(("HMDB51", "Kinetics", "MovingMNIST", "UCF101"), "made of videos"),
    **dict.fromkeys(("LFWPairs", "PhotoTour"), "made of pairs of images"),
    **dict.fromkeys(("LSUN", "LSUNClass"), "a database that worker processes cannot share: save it as class folders"),
    **dict.fromkeys(
        ("DatasetFolder", "VisionDataset"), "a base class: take ImageFolder, or register a class of your own"
    ),
}
