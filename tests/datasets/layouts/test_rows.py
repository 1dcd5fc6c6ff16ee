"""Labels that are rows of numbers: from the file, through sets made of others, into a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from knoll.datasets.layouts.array_file import ArrayFile
from knoll.datasets.loading.loader import TrainLoader
from knoll.datasets.samplers import Sequential
from knoll.registry import DATASETS, UserError
from knoll.runner.labels import all_labels, meaning_of, told_labels

ROWS = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])


def write(labels: np.ndarray, **more: np.ndarray) -> None:
    images = np.zeros((len(labels), 4, 4), np.uint8)
    np.savez("rows.npz", train_images=images, train_labels=labels, **more)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64, np.float16, bool])
def test_an_array_file_of_rows(dtype):
    write(ROWS.astype(dtype))
    rows = ArrayFile("rows.npz")
    assert rows.classes == ["0", "1", "2"]
    assert np.array_equal(rows[2][1], [1, 1, 1])
    told = told_labels(rows)
    assert told is not None
    assert told.tolist() == ROWS.tolist()


def test_a_row_of_one_is_a_value_if_it_is_a_float_and_a_class_if_not():
    write(np.array([[0.25], [-3.0]]))
    assert ArrayFile("rows.npz").classes == ["0"]
    assert ArrayFile("rows.npz", classes=["age"])[1][1].tolist() == [-3.0]
    write(np.array([[2], [0]]), val_labels=np.array([[4]]))
    assert ArrayFile("rows.npz").labels == [2, 0]
    assert ArrayFile("rows.npz").classes == list("01234")


@pytest.mark.parametrize("labels", [np.array([0.5, 1.5]), np.zeros((2, 3, 4), int), np.array(["cat", "dog"])])
def test_labels_that_are_neither_numbers_nor_rows(labels):
    write(labels)
    with pytest.raises(UserError, match=r"expected integers \(2,\), which are class numbers, or rows"):
        ArrayFile("rows.npz")


class Labelled:
    """Images with any labels."""

    def __init__(self, *labels) -> None:
        self.given = labels

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, index):
        return torch.zeros(3), self.given[index]


def loader(*labels) -> TrainLoader:
    dataset = labels[0] if isinstance(labels[0], Labelled) else Labelled(*labels)
    options = dict(batch_size=len(dataset), drop_last=False, num_workers=0, seed=0)
    return TrainLoader(dataset, [], Sequential(dataset, seed=0), **options)


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        ([3, 1], torch.int64),
        ([np.uint8(3), np.int32(1)], torch.int64),
        ([torch.tensor(3, dtype=torch.int32), torch.tensor(1)], torch.int64),
        ([[0, 1], [1, 1]], torch.float32),
        ([np.array([0, 1], np.uint8), np.array([True, True])], torch.float32),
        ([np.array([0.25]), torch.tensor([4.0], dtype=torch.float64)], torch.float32),
    ],
)
def test_a_batch_has_class_numbers_as_integers_and_rows_as_floats(labels, dtype):
    batch = next(loader(*labels).batches(0, 1))
    assert batch.labels.dtype == dtype
    assert batch.labels.tolist() == [torch.as_tensor(label).tolist() for label in labels]


@pytest.mark.parametrize("label", ["cat", None, {"a": 1}, [[1, 2], [3, 4]], ["cat", "dog"]])
def test_a_label_that_is_neither_a_number_nor_a_row_is_explained(label):
    with pytest.raises(UserError, match=r"the label of sample 0 is .*; a label is the number of its class, from 0, or"):
        loader(label).first()


def test_rows_of_different_lengths_are_explained():
    with pytest.raises(UserError, match=r"labels of one batch have different shapes, such as \[\(1,\), \(2,\)\]"):
        next(loader([1], [1, 2]).batches(0, 1))


def test_sets_made_of_others_keep_the_rows():
    write(ROWS)
    whole = dict(type="ArrayFile", path="rows.npz")
    both = DATASETS.build(dict(type="ConcatDataset", datasets=[whole, dict(type="Subset", dataset=whole, indices=[2])]))
    assert told_labels(both).tolist() == [*ROWS.tolist(), [1, 1, 1]]


def test_a_subset_by_size_keeps_the_share_of_every_different_row():
    write(np.repeat(ROWS, [2, 4, 6, 8], axis=0))
    half = DATASETS.build(dict(type="Subset", dataset=dict(type="ArrayFile", path="rows.npz"), size=10, seed=1))
    counts = {tuple(row): int((told_labels(half) == torch.tensor(row)).all(1).sum()) for row in ROWS.tolist()}
    assert counts == {(1, 0, 1): 1, (0, 0, 0): 2, (1, 1, 1): 3, (0, 1, 0): 4}


@pytest.mark.parametrize("labels", [["cat", "dog"], [0.5, 1.0], [[1], [1, 2]], [], None])
def test_labels_that_tell_nothing_are_left_to_the_first_sample(labels):
    dataset = Labelled([0.0, 1.0])
    dataset.labels = labels
    assert told_labels(dataset) is None
    assert all_labels(loader(dataset)).tolist() == [[0.0, 1.0]]


def test_what_labels_mean():
    numbers, one_hot = torch.tensor([2, 0]), torch.tensor([[0, 0, 1], [1, 0, 0]])
    shares, rows = torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([[1, 0, 1]])
    assert [meaning_of(each, multi_label=False) for each in (numbers, one_hot, shares)] == ["class"] * 3
    assert [meaning_of(each, multi_label=True) for each in (one_hot, shares, rows)] == ["labels"] * 3
    assert [meaning_of(each, multi_label=False) for each in (rows, torch.ones(3, 1), -shares)] == ["values"] * 3
