"""Batches that are placed one ahead: what happens in which order, told by a stand-in for CUDA's streams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from knoll.datasets.loading.ahead import placed_ahead

CUDA = torch.device("cuda")


class Streams:
    """Notes in `told` what is done in which stream."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.current = "main"

    @contextmanager
    def inside(self, _) -> Iterator[None]:
        self.current = "side"
        yield
        self.current = "main"

    def of_current(self, _) -> SimpleNamespace:
        return SimpleNamespace(name=self.current, wait_event=lambda event: self.told.append(f"wait for {event}"))

    def side(self, _) -> SimpleNamespace:
        return SimpleNamespace(record_event=lambda: f"the end of: {self.told[-1]}")

    def batches(self, count: int, kind: str = "cpu", error_at: int | None = None) -> Iterator[SimpleNamespace]:
        for number in range(count):
            if number == error_at:
                raise ValueError("cannot be read")
            self.told.append(f"read {number}")
            yield SimpleNamespace(images=SimpleNamespace(device=torch.device(kind)), number=number)

    def finish(self, batch: SimpleNamespace) -> tuple[SimpleNamespace, ...]:
        self.told.append(f"place {batch.number} in {self.current}")
        keep = SimpleNamespace(
            number=batch.number, record_stream=lambda stream: self.told.append(f"{batch.number} used in {stream.name}")
        )
        return (keep,)


@pytest.fixture
def streams(monkeypatch) -> Streams:
    made = Streams()
    monkeypatch.setattr(torch.cuda, "Stream", made.side)
    monkeypatch.setattr(torch.cuda, "stream", made.inside)
    monkeypatch.setattr(torch.cuda, "current_stream", made.of_current)
    return made


def test_the_next_batch_is_on_its_way_before_this_one_is_given(streams):
    for (batch,) in placed_ahead(streams.batches(3), streams.finish, CUDA):
        streams.told.append(f"compute with {batch.number}")
    assert streams.told == [
        *("read 0", "place 0 in side"),
        *("read 1", "place 1 in side", "wait for the end of: place 0 in side", "0 used in main", "compute with 0"),
        *("read 2", "place 2 in side", "wait for the end of: place 1 in side", "1 used in main", "compute with 1"),
        *("wait for the end of: place 2 in side", "2 used in main", "compute with 2"),
    ]


def test_what_lies_on_the_device_needs_no_copy(streams):
    given = [batch.number for (batch,) in placed_ahead(streams.batches(3, "cuda"), streams.finish, CUDA)]
    assert given == [0, 1, 2]
    assert [line for line in streams.told if "place" in line] == [f"place {number} in main" for number in range(3)]


def test_on_the_cpu_nothing_is_read_early(streams):
    for (batch,) in placed_ahead(streams.batches(2), streams.finish, torch.device("cpu")):
        streams.told.append(f"compute with {batch.number}")
    assert streams.told == [
        *("read 0", "place 0 in main", "compute with 0"),
        *("read 1", "place 1 in main", "compute with 1"),
    ]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_an_error_comes_after_the_batches_before_it(streams, device):
    batches = placed_ahead(streams.batches(5, error_at=3), streams.finish, torch.device(device))
    assert [next(batches)[0].number for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="cannot be read"):
        next(batches)
