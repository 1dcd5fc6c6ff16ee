"""Batches: the same for any number of workers, and from any start."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from knoll.datasets.loading.loader import Batch, EvaluationLoader, TrainLoader
from knoll.datasets.samplers import Sequential, Shuffled
from knoll.registry import UserError


class Draws:
    """Each sample holds what the three generators give it."""

    def __init__(self, length: int = 23, bad: int | None = None) -> None:
        self.length, self.bad = length, bad

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index):
        if index == self.bad:
            raise UserError("image 5.jpg cannot be read")
        return torch.tensor([torch.rand(()), random.random(), np.random.rand()], dtype=torch.float32), index


def loader(workers: int = 0, dataset=None, **options) -> TrainLoader:
    dataset = dataset or Draws()
    options = dict(batch_size=5, drop_last=False, num_workers=workers, seed=3) | options
    return TrainLoader(dataset, [], Shuffled(dataset, options["seed"]), **options)


def stack(batches) -> torch.Tensor:
    return torch.cat([torch.cat([batch.images, batch.labels[:, None]], 1) for batch in batches])


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_three_epochs_are_the_same_for_any_number_of_workers():
    reference = stack(loader().batches(0, 15))
    assert reference.shape == (69, 4)
    for workers in (1, 2, 3):
        assert torch.equal(stack(loader(workers).batches(0, 15)), reference)


@pytest.mark.parametrize("start", [1, 4, 5, 9, 14])
def test_a_run_starts_again_at_any_batch(start):
    every = list(loader().batches(0, 15))
    assert torch.equal(stack(loader(1).batches(start, 15)), stack(every[start:]))


def test_every_epoch_has_every_sample_once_in_its_own_order_with_its_own_draws():
    epochs = [stack(loader().batches(5 * epoch, 5 * epoch + 5)) for epoch in range(3)]
    for epoch in epochs:
        assert sorted(epoch[:, 3].tolist()) == list(range(23))
    assert not torch.equal(epochs[0][:, 3], epochs[1][:, 3])
    draws = torch.cat(epochs)[:, 0]
    assert len(draws.unique()) == len(draws)


def test_another_seed_gives_another_order_and_other_draws():
    one, other = stack(loader(seed=3).batches(0, 5)), stack(loader(seed=4).batches(0, 5))
    assert not torch.equal(one[:, 3], other[:, 3])
    assert not set(one[:, 0].tolist()) & set(other[:, 0].tolist())


def test_reading_leaves_the_generators_of_the_process_alone():
    torch.manual_seed(0), random.seed(0), np.random.seed(0)
    expected = (torch.rand(()).item(), random.random(), np.random.rand())
    torch.manual_seed(0), random.seed(0), np.random.seed(0)
    for workers in (0, 2):
        list(loader(workers).batches(0, 3))
    list(EvaluationLoader(Draws(), [], batch_size=4, num_workers=0, seed=0))
    assert (torch.rand(()).item(), random.random(), np.random.rand()) == expected


@pytest.mark.parametrize(
    ("length", "drop_last", "batches", "last"),
    [
        (9, True, 1, 5),
        (10, True, 2, 5),
        (11, True, 2, 5),
        (9, False, 2, 4),
        (10, False, 2, 5),
        (11, False, 3, 2),
    ],
)
def test_the_last_batch(length, drop_last, batches, last):
    made = loader(dataset=Draws(length), drop_last=drop_last)
    assert made.batches_per_epoch == batches
    assert [len(batch.labels) for batch in made.batches(0, batches)][-1] == last


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_has_every_sample_once_in_order_and_is_the_same_every_time(workers):
    made = EvaluationLoader(Draws(), [], batch_size=4, num_workers=workers, seed=0)
    first, second = stack(made), stack(made)
    assert first[:, 3].tolist() == list(range(23))
    assert torch.equal(first, second)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_sample_is_a_clean_error_from_a_worker_too(workers):
    with pytest.raises(UserError) as error:
        list(loader(workers, dataset=Draws(bad=5)).batches(0, 5))
    assert str(error.value) == "image 5.jpg cannot be read"


def test_images_of_different_shapes_are_explained():
    class Growing(Draws):
        def __getitem__(self, index):
            return torch.zeros(3, index + 1, 4), 0

    with pytest.raises(UserError, match=r"different shapes.*add a Resize or crop"):
        next(loader(dataset=Growing()).batches(0, 1))


@pytest.mark.parametrize(
    ("image", "said"), [("text", "a str"), (torch.zeros(3, dtype=torch.uint8), "a torch.uint8 tensor")]
)
def test_transforms_that_do_not_end_in_a_float_tensor_are_explained(image, said):
    class Wrong(Draws):
        def __getitem__(self, index):
            return image, 0

    with pytest.raises(UserError, match=f"the transforms leave {said}.*ToDtype"):
        loader(dataset=Wrong()).first()


def test_sequential_keeps_the_order():
    assert Sequential(Draws(4), seed=0).order(7) == [0, 1, 2, 3]


def test_a_process_that_fails_with_workers_running_ends_at_once():
    """Workers do not listen to SIGTERM, with which multiprocessing ends its children at exit."""
    code = (
        "from knoll.datasets.loading.loader import TrainLoader\nfrom knoll.datasets.samplers import Shuffled\n"
        "import torch\nfrom torch.utils.data import TensorDataset\n"
        "data = TensorDataset(torch.rand(100, 3), torch.zeros(100))\n"
        "options = dict(batch_size=2, drop_last=True, num_workers=2, seed=0)\n"
        "loader = TrainLoader(data, [], Shuffled(data, 0), **options)\n"
        "batches = loader.batches(0, 1000)\nnext(batches)\nraise SystemExit(7)"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=60, capture_output=True, text=True)
    assert done.returncode == 7, done.stderr


def test_a_label_that_is_no_number_is_explained():
    class Named(Draws):
        def __getitem__(self, index):
            return torch.zeros(3), "cat"

    with pytest.raises(UserError, match=r"the label of sample \d+ is 'cat' \(str\)"):
        next(loader(dataset=Named()).batches(0, 1))


@pytest.mark.parametrize(("device", "waits"), [("mps", True), ("cuda", False)])
def test_a_batch_is_moved_without_waiting_only_where_its_memory_is_safe(device, waits):
    """pytorch issue 189690: MPS reads the source after the call has returned."""
    asked = []

    class Moved(torch.Tensor):
        def to(self, device, non_blocking):
            asked.append(non_blocking)
            return self

    Batch(*(torch.zeros(1).as_subclass(Moved) for _ in range(3))).to(torch.device(device))
    assert asked == [not waits] * 3


def test_a_batch_that_is_there_is_not_moved():
    batch = Batch(torch.zeros(1), torch.zeros(1), torch.zeros(1))
    assert batch.to(torch.device("cpu")) is batch
