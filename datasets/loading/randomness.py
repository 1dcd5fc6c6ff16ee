"""Randomness that belongs to the sample: every draw follows from (run seed, epoch, index), never from a worker.

So a run is the same for any number of workers, and one that resumes in mid-epoch sees what it would have seen.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info


def derive_seed(*parts: int | str) -> int:
    """A 32-bit seed from a run's seed and what the randomness is for: `derive_seed(seed, "order", epoch)`.

    A hash, so that neighbouring parts give unrelated seeds; 32 bits, for torch's CPU generator reads no more.
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


def seed_run(seed: int) -> None:
    """Seed every generator of this process, accelerators' too."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def seed_sample(seed: int) -> None:
    """Seed every generator that code which reads a sample may draw from: on the CPU."""
    # Not torch.manual_seed: that takes a hundred times as long, for it visits every device.
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def random_state() -> dict[str, Any]:
    """The state of every generator, as plain types and tensors."""
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys).copy()), int(position), int(has_gauss), float(cached)],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put every generator back to a state that `random_state` returned."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy(), *rest))


def own_randomness() -> AbstractContextManager[None]:
    """For code that seeds generators for itself: a worker has none to keep, the training process has."""
    return untouched_random_state() if get_worker_info() is None else nullcontext()


@contextmanager
def put_back_on_error() -> Iterator[None]:
    """Leave the generators as they were if what is inside does not come to its end."""
    before = random_state()
    try:
        yield
    except BaseException:
        set_random_state(before)
        raise


@contextmanager
def untouched_random_state() -> Iterator[None]:
    """Leave the generators of this process as they were, whatever is drawn inside."""
    torch_state, python_state, numpy_state = torch.get_rng_state(), random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        random.setstate(python_state)
        np.random.set_state(numpy_state)
