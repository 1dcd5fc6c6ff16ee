"""Where a run's time goes: a stopwatch with a hand for each part of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import pairwise
from time import perf_counter
from typing import Any, TypeVar

import torch

T = TypeVar("T")

PARTS = (
    "start-up",
    "data",
    "transfer",
    "forward",
    "backward",
    "optimizer",
    "hooks",
    "evaluation",
    "checkpoints",
)
START_UP, DATA, TRANSFER, FORWARD, BACKWARD, OPTIMIZER, HOOKS, EVALUATION, CHECKPOINTS = range(len(PARTS))

_NOT_TRAINING = START_UP, EVALUATION, CHECKPOINTS
_ON_DEVICE = TRANSFER, FORWARD, BACKWARD, OPTIMIZER
_SAMPLED_EVERY = 50  # steps
_FIRST_SAMPLED = 10  # after the first ones, in which memory is allocated and kernels are chosen


class Stopwatch:
    """Adds up the seconds of each part of a run, from its own making on.

    Time always runs for one part; `switch` says for which from now on, and costs 0.2 us. What interrupts a part, as an
    evaluation does a hook, switches back when it is done, so that no time counts twice and the parts sum to the whole.

    On a CUDA device the host's clock measures how long it takes to hand out work. In every 50th step events are
    recorded on the device too. What the host spent in forward, backward and optimizer together, with its waits for the
    device, is divided as the device was busy with them in those steps, and waited for a batch on its way (transfer).
    That sum is right as long as the host waits for the device within them, as it does for `stop_at_nan`; without, the
    wait stands where it is first met: in a hook that reads the loss, or in data.

    Attributes: `seconds`, by part; `images`, how many were trained on, over all processes; `updates`.
    """

    def __init__(self) -> None:
        self.seconds = [0.0] * len(PARTS)
        self.images = 0
        self.updates = 0
        self._part = START_UP
        self._since = perf_counter()
        self._device: _DeviceTimes | None = None

    def follow(self, device: torch.device) -> None:
        """Look at the device's own clock too, if it works on its own: CUDA."""
        self._device = _DeviceTimes() if device.type == "cuda" else None

    def switch(self, part: int) -> int:
        """Time is that of `part`, until the next call.

        Returns:
            whose it was until now.
        """
        now = perf_counter()
        before = self._part
        self.seconds[before] += now - self._since
        self._part, self._since = part, now
        if self._device is not None and self._device.is_sampling:
            self._device.mark(part, now)
        return before

    @contextmanager
    def during(self, part: int) -> Iterator[None]:
        """Time is that of `part` inside, and what it was before afterwards, also after an error."""
        before = self.switch(part)
        try:
            yield
        finally:
            self.switch(before)

    def count(self, images: int) -> None:
        """An update with so many images begins."""
        self.images += images
        self.updates += 1
        if self._device is not None:
            self._device.begin_step(self.updates)

    def by_part(self) -> list[float]:
        """The seconds of each part until now."""
        self.switch(self._part)
        seconds = list(self.seconds)
        if self._device is not None and (shares := self._device.shares()):
            whole = sum(seconds[part] for part in _ON_DEVICE)
            for part, share in shares.items():
                seconds[part] = whole * share
        return seconds

    def training(self) -> float:
        """The seconds until now of everything but start-up, evaluation and checkpoints."""
        self.switch(self._part)
        return sum(seconds for part, seconds in enumerate(self.seconds) if part not in _NOT_TRAINING)


class _DeviceTimes:
    """How long a CUDA device takes for the parts of a step, by events in some of the steps.

    An event says when the device came to it, so that between two of them lies the work that was handed out between
    them, or the device's wait for the host or for a copy. They are recorded from the forward pass of a step to that of
    the next, and read when the next ones are begun, long after they have happened: nobody waits for them.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(_ON_DEVICE, 0.0)
        self.is_sampling = False
        self._marks: list[tuple[int, float, torch.cuda.Event]] = []

    def begin_step(self, number: int) -> None:
        self.is_sampling = number % _SAMPLED_EVERY == _FIRST_SAMPLED
        if self.is_sampling:
            self._read()

    def mark(self, part: int, now: float) -> None:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self._marks.append((part, now, event))

    def _read(self) -> None:
        marks, self._marks = self._marks, []
        if marks:
            marks[-1][2].synchronize()
        for (part, began, begin), (_, ended, end) in pairwise(marks):
            seconds = begin.elapsed_time(end) / 1000
            if part == DATA:  # what the device waited longer than the host: for the copy
                self.seconds[TRANSFER] += max(0.0, seconds - (ended - began))
            elif part in self.seconds:
                self.seconds[part] += seconds

    def shares(self) -> dict[int, float]:
        """The share of each part in their sum; nothing if no step was sampled."""
        self._read()
        whole = sum(self.seconds.values())
        return {part: seconds / whole for part, seconds in self.seconds.items()} if whole else {}


def timed(part: int) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """A method of an object with a `stopwatch`: its time is that of `part`, whoever calls it."""

    def decorate(method: Callable[..., T]) -> Callable[..., T]:
        @wraps(method)
        def call(self: Any, *arguments: Any, **options: Any) -> T:
            with self.stopwatch.during(part):
                return method(self, *arguments, **options)

        return call

    return decorate


def in_percent(seconds: list[float]) -> list[int]:
    """Shares that sum to 100: each rounded down, and what is missing given to those that lost most by it."""
    whole = sum(seconds)
    if not whole:
        return [0] * len(seconds)
    exact = [100 * each / whole for each in seconds]
    rounded = [int(each) for each in exact]
    most_lost = sorted(range(len(exact)), key=lambda part: rounded[part] - exact[part])
    for part in most_lost[: 100 - sum(rounded)]:
        rounded[part] += 1
    return rounded
