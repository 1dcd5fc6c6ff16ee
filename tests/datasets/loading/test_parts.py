"""The batches of a run, divided among processes."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from knoll.datasets.base import ArrayImages
from knoll.datasets.loading.loader import EvaluationLoader, TrainLoader
from knoll.datasets.samplers import Shuffled
from knoll.registry import UserError

AS_FLOATS = [v2.ToDtype(torch.float32, scale=True)]


class Numbered(ArrayImages):
    def __init__(self, count: int) -> None:
        self.images = np.zeros((count, 4, 4, 3), np.uint8)
        self.labels = list(range(count))
        self.classes = [str(number) for number in range(count)]


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_the_parts_of_an_evaluation_have_the_batches_of_one_process(parts):
    """Batch k is in round k // parts; where none is left a part repeats the last, and that counts for nothing."""
    options = dict(batch_size=2, num_workers=0, seed=0)
    whole = [batch.indices.tolist() for batch in EvaluationLoader(Numbered(7), AS_FLOATS, **options)]
    loaders = [EvaluationLoader(Numbered(7), AS_FLOATS, part=(part, parts), **options) for part in range(parts)]
    rounds = [[batch.indices.tolist() for batch in each] for each in zip(*loaders, strict=True)]
    lengths = [loader.rounds() for loader in loaders]
    assert all(each == lengths[0] for each in lengths)
    counted = [b for r, n in zip(rounds, lengths[0], strict=True) for b, many in zip(r, n, strict=True) if many]
    assert counted == whole == [[0, 1], [2, 3], [4, 5], [6]]
    assert [many for each in lengths[0] for many in each if many] == [2, 2, 2, 1]


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("samples", [12, 40, 41, 42, 47, 59, 60, 61])
def test_the_parts_of_an_epoch_have_each_sample_once(samples, drop_last, parts):
    """Together they are the batches of one process with so many times the batch size; none is of a single image."""
    dataset = Numbered(samples)

    def epoch(batch_size: int, part: tuple[int, int]) -> list[list[int]]:
        options = dict(batch_size=batch_size, drop_last=drop_last, num_workers=0, seed=0)
        loader = TrainLoader(dataset, AS_FLOATS, Shuffled(dataset, 0), part=part, **options)
        return [batch.indices.tolist() for batch in loader.batches(0, loader.batches_per_epoch)]

    together = [list(chain(*each)) for each in zip(*(epoch(4, (rank, parts)) for rank in range(parts)), strict=True)]
    order = Shuffled(dataset, 0).order(0)
    assert list(chain(*together)) == order[: samples // (4 * parts) * 4 * parts if drop_last else samples]
    assert {len(each) for each in together[:-2]} <= {4 * parts}
    for rank in range(parts):
        assert all(2 <= len(batch) <= 4 for batch in epoch(4, (rank, parts)))


def test_fewer_images_than_processes_in_a_last_batch():
    dataset = Numbered(7)
    options = dict(batch_size=1, num_workers=0, seed=0, part=(0, 2))
    assert TrainLoader(dataset, [], Shuffled(dataset, 0), drop_last=True, **options).batches_per_epoch == 3
    with pytest.raises(UserError, match="7 images an epoch cannot be divided among 2 processes"):
        TrainLoader(dataset, [], Shuffled(dataset, 0), drop_last=False, **options)
