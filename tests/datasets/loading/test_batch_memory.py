"""Batches of arrays: gathered into memory that nobody holds any more, and begins where torch likes it."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from knoll.datasets.base import ArrayImages
from knoll.datasets.loading.loader import TrainLoader
from knoll.runner import Runner

ROWS = np.arange(60, dtype=np.float32).reshape(20, 3)
FIRST, SECOND = np.array([3, 1, 7]), np.array([0, 19, 4])


class Arrays(ArrayImages):
    def __init__(self, images=ROWS):
        self.images, self.labels = images, [0] * len(images)

    def __getitems__(self, indices):
        return self.gather(np.array(indices))


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def unaligned(array):
    fields = np.zeros(len(array), [("mark", "u1"), ("row", array.dtype, array.shape[1:])])
    fields["row"] = array
    return fields["row"]


FORMS = [np.copy, np.asfortranarray, read_only, unaligned, lambda array: array[::-1], lambda array: array[:, ::-1]]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_it_is_numpys_indexing_for_whatever_numpy_has(form, dtype):
    images = form(ROWS.astype(dtype))
    arrays = Arrays(images)
    for indices in (FIRST, SECOND, FIRST[:2], np.arange(20), FIRST):
        assert np.array_equal(arrays.gather(indices).numpy(), images[indices])


def test_what_nobody_holds_is_used_again_and_begins_at_64_bytes():
    arrays = Arrays()
    place = arrays.gather(FIRST).data_ptr()
    assert place % 64 == 0
    assert arrays.gather(SECOND).data_ptr() == place
    assert np.array_equal(arrays.gather(FIRST).numpy(), ROWS[FIRST])


@pytest.mark.parametrize("hold", [lambda rows: rows, lambda rows: rows[1:], lambda rows: rows.numpy()[:, 1:]])
def test_what_somebody_holds_is_let_alone(hold):
    arrays = Arrays()
    held = hold(arrays.gather(FIRST))
    before = np.asarray(held).copy()
    for _ in range(5):
        arrays.gather(SECOND)
    assert np.array_equal(held, before)


def test_a_backward_pass_that_is_yet_to_come_finds_its_input():
    arrays, weights = Arrays(), torch.ones(3, 2, requires_grad=True)
    loss = (arrays.gather(FIRST) @ weights).square().sum()
    arrays.gather(SECOND)
    loss.backward()
    rows = torch.from_numpy(ROWS[FIRST])
    assert torch.equal(weights.grad, 2 * rows.T @ (rows @ torch.ones(3, 2)))


def test_what_workers_send_is_not_written_over():
    arrays = Arrays()
    arrays.gather(FIRST)  # the worker is forked with it
    loader = DataLoader(arrays, batch_size=4, num_workers=1, collate_fn=lambda batch: batch, prefetch_factor=5)
    assert torch.equal(torch.cat(list(loader)), torch.from_numpy(ROWS))


def test_a_run_holds_no_batch_while_it_gathers_the_next(tiny, monkeypatch):
    """Its memory is the next one's."""
    given: list[weakref.ref] = []
    gather, finish = ArrayImages.gather, TrainLoader._finish

    def gathered(self, indices):
        assert not [each for each in given if each() is not None]
        return gather(self, indices)

    def finished(self, prepared):
        batch = finish(self, prepared)
        given.append(weakref.ref(batch.images))
        return batch

    runner = Runner(tiny | dict(evaluation={}, hooks=dict(json_log=dict(type="JSONLog")), accumulate=1), "run")
    monkeypatch.setattr(ArrayImages, "gather", gathered)
    monkeypatch.setattr(TrainLoader, "_finish", finished)
    runner.train()
    assert len(given) == runner.total_steps > 2
