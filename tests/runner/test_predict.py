from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from knoll.registry import UserError
from knoll.runner.inference.predict import Prediction, Sample, count_endings, find_images, from_dataset

PICTURE = Image.new("RGB", (8, 8))


class Labelled:
    """A data set of nothing but labels."""

    def __init__(self, labels: list) -> None:
        self.labels = labels

    def __getitem__(self, index: int) -> tuple:
        return PICTURE, self.labels[index]


def test_labels_of_one_class_and_of_several():
    labels = [2, torch.tensor(1), torch.tensor([0.0, 1.0, 1.0]), [0, 0, 0]]
    samples = from_dataset(Labelled(labels), [3, 2, 1, 0], lambda picture: torch.zeros(3, 8, 8), [])
    assert [(sample.name, sample.truth) for sample in samples] == [("3", []), ("2", [1, 2]), ("1", [1]), ("0", [2])]


@pytest.mark.parametrize(
    ("truth", "classes", "correct"),
    [([2, 0], [0, 2], True), ([2], [0, 2], False), ([], [], True), ([1], [1], True), (None, [1], None)],
)
def test_correct(truth, classes, correct):
    sample = Sample("x", PICTURE, torch.zeros(3, 8, 8), truth)
    assert Prediction(sample, [0.6, 0.1, 0.7], classes).correct is correct


def test_top_has_all_that_is_predicted():
    sample = Sample("x", PICTURE, torch.zeros(3, 8, 8), None)
    assert Prediction(sample, [0.6, 0.1, 0.7, 0.2], [0, 2]).top(1) == [2, 0]
    assert Prediction(sample, [0.6, 0.1, 0.7, 0.2], [2]).top(3) == [2, 0, 3]


def test_find_images():
    images = ("b/2.JPG", "b/1.png", "b/c/3.webp", "b/5.GIF", "b/6.jfif", "odd.xyz")
    others = ("b/.thumbs/4.png", "b/._1.png", "b/notes.txt", "b/7.TXT", "b/README", "b/c/8.jp2")
    for name in (*images, *others):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    found, passed_over = find_images(["odd.xyz", "b", "b/1.png"])
    assert [str(file) for file in found] == ["odd.xyz", "b/1.png", "b/2.JPG", "b/5.GIF", "b/6.jfif", "b/c/3.webp"]
    assert count_endings(passed_over) == "2 .txt, 1 without an ending, 1 .jp2"
    with pytest.raises(UserError, match=r"there is no file or folder b/5.png"):
        find_images(["b/5.png"])
    Path("empty").mkdir()
    with pytest.raises(UserError, match=r"no images in the folder empty"):
        find_images(["empty"])
