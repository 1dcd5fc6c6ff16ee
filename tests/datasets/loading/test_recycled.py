"""Memory for one batch after the other."""

from __future__ import annotations

import pickle
import weakref

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from knoll.datasets.base import ArrayImages
from knoll.datasets.loading.loader import TrainLoader
from knoll.datasets.loading.recycled import Recycled
from knoll.runner import Runner

SOURCE = torch.arange(60.0).reshape(20, 3)
FIRST, SECOND = torch.tensor([3, 1, 7]), torch.tensor([0, 19, 4])


def test_it_is_torchs_index_select():
    recycled = Recycled()
    for indices in (FIRST, SECOND, FIRST[:2], torch.arange(20), FIRST):
        assert torch.equal(recycled.index_select(SOURCE, indices), SOURCE.index_select(0, indices))
    pictures = torch.arange(5 * 2 * 2 * 3, dtype=torch.uint8).reshape(5, 2, 2, 3)
    assert torch.equal(recycled.index_select(pictures, FIRST[:2]), pictures[FIRST[:2]])
    with pytest.raises((IndexError, RuntimeError)):
        recycled.index_select(SOURCE, torch.tensor([20]))


def test_what_nobody_holds_is_used_again_and_begins_where_torch_likes_it():
    recycled = Recycled()
    place = recycled.index_select(SOURCE, FIRST).data_ptr()
    assert place % 64 == 0
    assert recycled.index_select(SOURCE, SECOND).data_ptr() == place
    assert recycled.index_select(SOURCE, SECOND[:1]).data_ptr() == place


def holds_itself(rows):
    return rows


def holds_a_view(rows):
    return rows[1:]


def holds_an_array(rows):
    return rows.numpy()


def holds_a_graph(rows):
    weights = torch.ones(3, 2, requires_grad=True)
    return (rows @ weights).square().sum()


@pytest.mark.parametrize("holds", [holds_itself, holds_a_view, holds_an_array])
def test_what_somebody_holds_is_let_alone(holds):
    recycled = Recycled()
    held = holds(recycled.index_select(SOURCE, FIRST))
    before = np.asarray(held).copy()
    recycled.index_select(SOURCE, SECOND)
    recycled.index_select(SOURCE, SECOND[:2])
    assert np.array_equal(held, before)


def test_a_backward_pass_that_is_yet_to_come_finds_its_input():
    recycled = Recycled()
    loss = holds_a_graph(recycled.index_select(SOURCE, FIRST))
    recycled.index_select(SOURCE, SECOND)
    weights = loss.grad_fn.next_functions[0][0].next_functions[0][0].next_functions[1][0].variable
    loss.backward()
    rows = SOURCE[FIRST]
    assert torch.equal(weights.grad, 2 * rows.T @ (rows @ torch.ones(3, 2)))


class Rows(ArrayImages):
    def __init__(self):
        self.images, self.labels = SOURCE.numpy().copy(), [0] * 20

    def __getitems__(self, indices):
        return self.gather(np.array(indices))


def test_what_workers_send_is_not_written_over():
    rows = Rows()
    rows.gather(FIRST.numpy())  # the worker is forked with it
    loader = DataLoader(rows, batch_size=4, num_workers=1, collate_fn=lambda batch: batch, prefetch_factor=5)
    assert torch.equal(torch.cat(list(loader)), SOURCE)


def test_another_process_gets_none_of_it():
    rows = Rows()
    rows.gather(FIRST.numpy())
    assert len(pickle.dumps(rows)) < len(pickle.dumps(Rows())) + 200
    again = pickle.loads(pickle.dumps(rows))
    assert torch.equal(again.gather(FIRST.numpy()), SOURCE[FIRST])


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
