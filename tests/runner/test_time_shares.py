"""Where the stopwatch of a run books its time: by a clock of the test's own, and by sleeps planted in a real run."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch

from knoll.datasets.layouts.array_file import ArrayFile
from knoll.hooks.hook import Hook
from knoll.registry import DATASETS, HOOKS
from knoll.runner import Runner
from knoll.runner.profile import time_shares
from knoll.runner.profile.time_shares import (
    BACKWARD,
    CHECKPOINTS,
    DATA,
    EVALUATION,
    FORWARD,
    OPTIMIZER,
    PARTS,
    START_UP,
    TRANSFER,
    Stopwatch,
    in_percent,
)
from knoll.runner.profile.time_shares import HOOKS as IN_HOOKS


class Clock:
    """Stands still unless it is told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time_shares, "perf_counter", clock)
    return clock


def test_time_is_of_the_part_that_was_switched_to(clock):
    stopwatch = Stopwatch()
    for part, seconds in ((START_UP, 2.0), (DATA, 0.5), (FORWARD, 1.0), (DATA, 0.25), (BACKWARD, 4.0)):
        stopwatch.switch(part)
        clock.now += seconds
    expected = dict.fromkeys(range(len(PARTS)), 0.0) | {START_UP: 2.0, DATA: 0.75, FORWARD: 1.0, BACKWARD: 4.0}
    assert stopwatch.by_part() == list(expected.values())
    assert stopwatch.training() == 5.75


def test_what_interrupts_a_part_is_taken_out_of_it_also_after_an_error(clock):
    stopwatch = Stopwatch()
    stopwatch.switch(IN_HOOKS)
    clock.now += 1.0
    with suppress(ValueError), stopwatch.during(EVALUATION):
        clock.now += 2.0
        with stopwatch.during(CHECKPOINTS):
            clock.now += 4.0
        clock.now += 8.0
        raise ValueError
    clock.now += 16.0
    seconds = stopwatch.by_part()
    assert (seconds[IN_HOOKS], seconds[EVALUATION], seconds[CHECKPOINTS]) == (17.0, 10.0, 4.0)
    assert sum(seconds) == clock.now - Clock.now


def test_percent_sum_to_a_hundred():
    rng = np.random.default_rng(0)
    for _ in range(200):
        seconds = list(rng.exponential(1.0, 9) ** 4)
        percent = in_percent(seconds)
        assert sum(percent) == 100
        assert all(abs(each - 100 * of / sum(seconds)) < 1 for each, of in zip(percent, seconds, strict=True))
    assert in_percent([1.0, 1.0, 1.0]) == [34, 33, 33]
    assert in_percent([0.0, 0.0]) == [0, 0]


class Event:
    """A CUDA event of a device that needs 1 ms for forward, 3 for backward, 2 for the optimizer, 7 for hooks, and that
    waits 6 ms for the next batch."""

    recorded = 0
    milliseconds = 0.0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        Event.recorded += 1
        self.number = Event.recorded

    def synchronize(self) -> None:
        """It has happened."""

    def elapsed_time(self, later: Event) -> float:
        assert later.number == self.number + 1
        return (1.0, 3.0, 7.0, 2.0, 6.0, 7.0)[(self.number - 1) % 6]


def test_on_cuda_the_steps_are_divided_as_the_device_was_busy_in_some_of_them(clock, monkeypatch):
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(Event, "recorded", 0)
    stopwatch = Stopwatch()
    stopwatch.follow(torch.device("cuda"))
    parts = FORWARD, BACKWARD, IN_HOOKS, OPTIMIZER, DATA, IN_HOOKS
    for _ in range(120):  # the host hands out work in no time, and then waits 10 ms for it
        stopwatch.count(images=8)
        for part, seconds in zip(parts, (0.0, 0.0, 0.001, 0.01, 0.002, 0.0), strict=True):
            stopwatch.switch(part)
            clock.now += seconds
    seconds = stopwatch.by_part()
    assert Event.recorded == 3 * len(parts)  # of the steps 10, 60 and 110
    assert stopwatch.images == 960
    # Of the 6 ms that the device waited for a batch the host took 2; what the device did is 4 + 1 + 3 + 2 = 10 ms.
    on_device = [seconds[part] for part in (TRANSFER, FORWARD, BACKWARD, OPTIMIZER)]
    assert on_device == pytest.approx([120 * 0.004, 120 * 0.001, 120 * 0.003, 120 * 0.002])
    assert (seconds[DATA], seconds[IN_HOOKS]) == pytest.approx((0.24, 0.12))
    assert sum(seconds) == pytest.approx(clock.now - Clock.now)


planted: dict[str, float] = {}


def doze(part: str, seconds: float = 0.03) -> None:
    """Sleep, and note for how long: a busy machine may let one sleep longer."""
    began = time.perf_counter()
    time.sleep(seconds)
    planted[part] = planted.get(part, 0.0) + time.perf_counter() - began


class Drowsy(ArrayFile):
    """Images that take time to read."""

    def __init__(self, path: str, split: str, part: str) -> None:
        super().__init__(path, split)
        self.part = part

    def __getitem__(self, index: int) -> Any:
        doze(self.part, 0.003)
        return super().__getitem__(index)


class Dozes(Hook):
    """Takes time in every step, and whenever it is asked for its state."""

    def before_iter(self, runner) -> None:
        doze("hooks")

    def before_update(self, runner) -> None:
        doze("hooks")

    def end_iter(self, runner) -> None:
        doze("hooks")

    def state_dict(self) -> dict:
        if is_saving:
            doze("checkpoints")
        return {}


is_saving = False


@pytest.fixture
def drowsy(tiny):
    """12 steps; each part of them, and of the three evaluations, sleeps."""
    planted.clear()
    for registry, item in ((DATASETS, Drowsy), (HOOKS, Dozes)):
        registry.register_module(module=item)
    tiny["train"]["dataset"] |= dict(type="Drowsy", part="data")
    tiny["evaluation"]["val"]["dataset"] |= dict(type="Drowsy", part="evaluation")
    tiny["hooks"] |= dict(dozes=dict(type="Dozes"))
    yield tiny
    del DATASETS.module_dict["Drowsy"], HOOKS.module_dict["Dozes"]


def test_planted_delays_are_found_under_their_names(drowsy, monkeypatch):
    """A delay that were booked elsewhere would leave its own part with less than was slept there."""
    began = time.perf_counter()
    runner = Runner(drowsy, "run")
    planted.clear()  # the images that were tried belong to the start-up
    built = time.perf_counter() - began

    def forward(module, inputs, logits):
        doze("forward" if torch.is_grad_enabled() else "evaluation")
        if logits.requires_grad:
            logits.register_hook(lambda gradient: doze("backward"))

    save, step = runner.state_dict, runner.optimizer.step

    def state_dict():
        global is_saving
        is_saving = time_shares.PARTS[runner.stopwatch._part] == "checkpoints"
        try:
            return save()
        finally:
            is_saving = False

    def optimizer_step(*arguments, **options):
        doze("optimizer")
        return step(*arguments, **options)

    runner.model.register_forward_hook(forward)
    monkeypatch.setattr(runner, "state_dict", state_dict)
    monkeypatch.setattr(runner.optimizer, "step", optimizer_step)
    runner.train()
    whole = time.perf_counter() - began

    seconds = dict(zip(PARTS, runner.stopwatch.by_part(), strict=True))
    assert set(planted) == set(PARTS) - {"start-up", "transfer"}
    assert {part: seconds[part] >= slept for part, slept in planted.items()} == dict.fromkeys(planted, True)
    assert seconds["start-up"] >= built * 0.99
    assert seconds["transfer"] == 0
    assert whole * 0.99 <= sum(seconds.values()) <= time.perf_counter() - began
    assert sum(planted.values()) > 2  # of that whole: the figures above are no noise


def test_a_run_that_continues_counts_from_its_own_start(tiny):
    Runner(tiny, "run").train()
    runner = Runner(tiny, "again", resume="run/checkpoints/step_00000010.pt")
    assert runner.stopwatch.images == 0
    runner.train()
    assert (runner.stopwatch.updates, runner.stopwatch.images) == (2, 16)  # 12 images and, at the epoch's end, 4
    assert runner.stopwatch.by_part()[FORWARD] > 0
