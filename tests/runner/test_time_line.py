"""The line at the end of a run."""

from __future__ import annotations

import logging
import os
import re
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from knoll.hooks.hook import Hook
from knoll.optim.wrappers import SAM
from knoll.registry import HOOKS, UserError
from knoll.runner import Runner
from knoll.runner.profile import time_line
from knoll.runner.profile.time_shares import PARTS


class Ends(Hook):
    """Ends the run in its fifth step: by an error, or a signal, or two of them."""

    def __init__(self, by: str) -> None:
        self.by = by

    def before_iter(self, runner) -> None:
        if runner.step == 4:
            if self.by == "error":
                raise UserError("a mistake of mine")
            for _ in range(2 if self.by == "haste" else 1):
                os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def ends():
    HOOKS.register_module(module=Ends)
    yield
    del HOOKS.module_dict["Ends"]


@pytest.fixture(autouse=True)
def counted(monkeypatch):
    """Also of a run of a second; without the measurement of this machine."""
    monkeypatch.setattr(time_line, "_WORTH_COUNTING", 0.0)
    monkeypatch.setattr(time_line, "peak", lambda *_: (1e12, "a device's"))


def read(lines: list[str]) -> dict[str, int]:
    """The shares by name, of the only such line."""
    [line] = [line for line in lines if line.startswith("time: ")]
    shares = {name: int(share) for name, share in re.findall(r"  ([a-z-]+) (\d+) %", line)}
    assert set(shares) <= set(PARTS)
    assert sum(shares.values()) == 100
    return shares


def test_a_whole_run(tiny, logged):
    runner = Runner(tiny, "run")
    metrics = runner.train()
    assert metrics
    shares = read(logged)
    assert list(shares) == [part for part in PARTS if part != "transfer"]
    figures = r"   \d+ img/s   peak memory \d+ MB   [\d.e-]+ GFLOP/s, \d+ % of a device's$"
    line = logged[-1] if logged[-1].startswith("time: ") else logged[-2]
    assert re.search(figures, line), line
    assert line in Path("run/log.txt").read_text()
    assert runner.stopwatch.images == 3 * 40  # ten whole batches of four, thrice


@pytest.mark.parametrize("by", ["error", "once", "haste"])
def test_a_run_that_is_ended(tiny, ends, logged, by):
    """In haste no time is taken for FLOPs; after an error the model may not be able to."""
    tiny["hooks"]["ends"] = dict(type="Ends", by=by)
    with pytest.raises(UserError if by == "error" else KeyboardInterrupt):
        Runner(tiny, "run").train()
    shares = read(logged)
    assert {"forward", "backward", "optimizer", "data", "hooks", "start-up", "evaluation"} <= set(shares)
    assert ("FLOP/s" in " ".join(logged)) == (by == "once")
    assert "img/s" in " ".join(logged)
    assert "time: " in Path("run/log.txt").read_text()


def test_a_run_that_ends_before_its_first_step(tiny, logged, monkeypatch):
    tiny["hooks"].pop("checkpoint")
    runner = Runner(tiny, "run")
    monkeypatch.setattr(runner.hooks, "call", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        runner.train()
    shares = read(logged)
    assert set(shares) <= {"start-up", "hooks", "checkpoints"}
    assert "img/s" not in " ".join(logged)


def test_runs_too_short_to_be_worth_it_are_not_counted(tiny, logged, monkeypatch):
    monkeypatch.setattr(time_line, "_WORTH_COUNTING", 1000.0)
    monkeypatch.setattr(time_line, "training_flops", lambda *_: 1 / 0)
    Runner(tiny, "run").train()
    assert "FLOP" not in " ".join(logged)


def told(model: nn.Module, rate: float, most: float, monkeypatch, processes: int = 1, optimizer: Any = None) -> str:
    """The line of a run of 200 seconds, in which 1000 images were trained on in 100."""
    monkeypatch.setattr(time_line, "peak", lambda *_: (most, "the peak"))
    monkeypatch.setattr(time_line, "training_flops", lambda *_: rate * 100 / 1000)
    monkeypatch.setattr(time_line, "peak_memory", lambda device: 812_345_678)
    seconds = [60.0, 6.0, 0.0, 30.0, 60.0, 2.0, 2.0, 30.0, 10.0]
    stopwatch = SimpleNamespace(by_part=lambda: seconds, training=lambda: 100.0, images=1000)
    runner: Any = SimpleNamespace(
        stopwatch=stopwatch,
        device=torch.device("cpu"),
        batches=[SimpleNamespace(images=torch.zeros(2, 3, 4, 4))],
        forward=SimpleNamespace(model=model, precision="fp32"),
        experiment=SimpleNamespace(tf32=True),
        optimizer=optimizer,
        world=SimpleNamespace(size=processes),
    )
    return time_line.time_line(runner)


def test_what_it_looks_like(monkeypatch):
    line = told(nn.Identity(), 62e9, 100e9, monkeypatch)
    assert line == (
        "time: 3 min 20 s  start-up 30 %  data 3 %  forward 15 %  backward 30 %  optimizer 1 %  hooks 1 %  "
        "evaluation 15 %  checkpoints 5 %   10 img/s   peak memory 812 MB   62 GFLOP/s, 62 % of the peak"
    )
    assert told(nn.Identity(), 1.5e15, 1e15, monkeypatch, 4).endswith("   1500 TFLOP/s, 38 % of the peak")
    assert told(nn.Identity(), 0.0, 1e15, monkeypatch).endswith("   peak memory 812 MB")
    assert told(nn.Identity(), 100e9, 62e9, monkeypatch).endswith("   100 GFLOP/s")  # of a CPU: no share over 100 %
    assert told(nn.Identity(), 100e9, 62e9, monkeypatch, 2).endswith("   100 GFLOP/s, 81 % of the peak")
    twice = SAM(nn.Linear(1, 1).parameters(), dict(type="SGD", lr=0.1))
    assert told(nn.Identity(), 31e9, 100e9, monkeypatch, optimizer=twice).endswith("   62 GFLOP/s, 62 % of the peak")


def test_a_model_that_cannot_be_counted_ends_no_run(tiny, logged, monkeypatch):
    def fail(*_):
        raise RuntimeError("not under a dispatch mode")

    monkeypatch.setattr(time_line, "training_flops", fail)
    assert Runner(tiny, "run").train()
    assert "FLOP" not in " ".join(logged)
    assert "img/s" in " ".join(logged)


def train(config: dict) -> tuple[list[str], int]:
    """The lines of one of several processes, and the images that it knows of."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger("knoll").addHandler(handler)
    runner = Runner(config, "run")
    runner.train()
    return [line for line in lines if line.startswith("time: ")], runner.stopwatch.images


def test_of_several_processes_the_first_tells_the_images_of_all(tiny, processes):
    first, second = processes(2, train, tiny)
    assert (first.status, second.status) == (0, 0)
    assert len(read(first.value[0])) > 5
    assert second.value[0] == []
    assert first.value[1] == second.value[1] == 3 * 40  # 5 batches an epoch, of 4 for each


def test_a_model_in_parts_is_not_called_by_one_process_alone(monkeypatch):
    model = nn.Linear(1, 1)
    model.weight.full_tensor = lambda: None  # pyright: ignore[reportAttributeAccessIssue]  a DTensor's method
    assert told(model, 1e9, 1e12, monkeypatch).endswith("   peak memory 812 MB")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_peak_memory_is_what_the_system_says():
    held = torch.ones(30 * 2**20)  # 120 MB
    status = Path("/proc/self/status").read_text()
    largest = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # pyright: ignore[reportOptionalSubscript]
    assert held.nbytes < largest
    assert time_line.peak_memory(torch.device("cpu")) == pytest.approx(largest, rel=0.02)
