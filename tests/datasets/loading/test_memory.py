"""Memory is given again when nobody holds what lay in it, and never before."""

from __future__ import annotations

import pickle

import numpy as np
import torch

from knoll.datasets.loading import memory as memory_module
from knoll.datasets.loading.memory import KEPT, Reused


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def test_memory_is_given_again():
    memory = Reused()
    first = address(memory.empty((1000,), np.float32))
    assert address(memory.empty((1000,), np.float32)) == first
    assert address(memory.empty((1001,), np.float32)) != first
    assert address(memory.empty((1000,), np.int32)) != first


def test_it_is_not_given_again_while_anything_holds_it():
    holders = [
        lambda array: array,
        lambda array: array[3:5],
        lambda array: torch.from_numpy(array),
        lambda array: torch.from_numpy(array.reshape(10, 100)).permute(1, 0)[:3],
        lambda array: torch.from_numpy(array).numpy(),
        lambda array: (torch.from_numpy(array) * torch.ones(1000, requires_grad=True)).sum(),  # the graph keeps it
    ]
    for hold in holders:
        memory = Reused()
        held = hold(memory.empty((1000,), np.float32))
        kept = address(memory._arrays[0])
        assert address(memory.empty((1000,), np.float32)) != kept
        del held
        assert kept in {address(memory.empty((1000,), np.float32)) for _ in range(1)}


def test_no_more_is_kept_than_a_run_needs():
    memory = Reused()
    held = [memory.empty((10,), np.float32) for _ in range(10)]
    assert len({address(each) for each in held}) == 10
    assert len(memory._arrays) == KEPT


def test_another_process_has_its_own():
    memory = Reused()
    memory.empty((10,), np.float32)
    assert pickle.loads(pickle.dumps(memory))._arrays == []


def test_threads_are_never_given_the_same(monkeypatch):
    """One thread asks again at the very moment when another has found an array free."""
    memory = Reused()
    memory.empty((10,), np.float32)
    inner: list[np.ndarray] = []
    asked = memory_module._held

    def interrupted(arrays, place):
        found = asked(arrays, place)
        if not inner:
            inner.append(np.empty(0))
            inner.append(memory.empty((10,), np.float32))
        return found

    monkeypatch.setattr(memory_module, "_held", interrupted)
    outer = memory.empty((10,), np.float32)
    assert address(outer) != address(inner[1])
