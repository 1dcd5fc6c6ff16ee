"""What the Profiler hook leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from knoll.hooks.hook import Hook, Hooks
from knoll.hooks.profiler import dearest
from knoll.registry import HOOKS, ConfigError
from knoll.runner import Runner

STEPS = re.compile(r"ProfilerStep#\d+")


class Interrupts(Hook):
    """Ctrl-C, once or twice, when a step begins."""

    def __init__(self, step: int, times: int = 1) -> None:
        self.step, self.times = step, times

    def before_iter(self, runner) -> None:
        if runner.step == self.step:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def profiled(tiny):
    """12 steps."""
    HOOKS.register_module(module=Interrupts)
    tiny["hooks"]["profiler"] = dict(type="Profiler", start=3, steps=4)
    yield tiny
    del HOOKS.module_dict["Interrupts"]


def events(path: str) -> list[dict[str, Any]]:
    return json.loads(Path(path).read_text())["traceEvents"]


def steps(path: str) -> int:
    """How many steps a trace has."""
    return len([each for each in events(path) if STEPS.fullmatch(each["name"]) and each["ph"] == "X"])


def rows(path: str = "run/profile/operators.txt") -> list[list[str]]:
    return [re.split(r"  +", line.strip()) for line in Path(path).read_text().splitlines()]


def test_a_trace_of_the_steps_and_a_table_of_ten(profiled, logged):
    """Step 4, an epoch's last, has one batch and an evaluation of four; the steps 5 to 7 have three batches each."""
    runner = Runner(profiled, "run")
    runner.train()
    assert sorted(each.name for each in Path("run/profile").iterdir()) == [
        "operators.txt",
        "step_00000004.pt.trace.json",
    ]
    assert steps("run/profile/step_00000004.pt.trace.json") == 4
    called = [each["name"] for each in events("run/profile/step_00000004.pt.trace.json")]
    convolutions = sum(isinstance(each, torch.nn.Conv2d) for each in runner.model.modules())
    assert called.count("aten::conv2d") == (1 + 4 + 3 * 3) * convolutions
    header, *table = rows()
    assert header == ["operator", "share", "calls", "CPU ms"]
    assert len(table) == 10
    shares = [float(row[1].removesuffix(" %")) for row in table]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) <= 100.5
    assert any("\n".join(["", *Path("run/profile/operators.txt").read_text().splitlines()]) in line for line in logged)


def test_the_table_is_of_the_operators_own_time():
    """A product of large matrices costs more than all else; what calls it costs nothing itself."""
    factor = torch.ones(300, 300)
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(5):
            torch.nn.functional.linear(factor, factor).relu()
    first = re.split(r"  +", dearest(recorded.key_averages()).splitlines()[1])
    assert first[0] == "aten::mm"
    assert first[2] == "5"
    whole = sum(each.self_cpu_time_total for each in recorded.key_averages())
    own = next(each.self_cpu_time_total for each in recorded.key_averages() if each.key == "aten::mm")
    assert float(first[1].removesuffix(" %")) == pytest.approx(100 * own / whole, abs=0.06)
    assert float(first[3]) == pytest.approx(own / 1000, abs=0.006)


def test_it_changes_no_result(profiled, fingerprint):
    Runner(profiled, "run").train()
    Runner(profiled | dict(hooks={k: v for k, v in profiled["hooks"].items() if k != "profiler"}), "plain").train()
    assert fingerprint(Path("run/checkpoints/last.pt")) == fingerprint(Path("plain/checkpoints/last.pt"))


@pytest.mark.parametrize(
    ("settings", "file", "expected"),
    [
        (dict(), "step_00000008.pt.trace.json", 5),  # ten steps later it would be over after two
        (dict(start="2ep", steps=2), "step_00000009.pt.trace.json", 2),
        (dict(start=0, steps=2), "step_00000002.pt.trace.json", 2),  # the first one is the warm-up
        (dict(start=0, steps=100), "step_00000002.pt.trace.json", 11),  # to its end
    ],
)
def test_where_it_begins(profiled, settings, file, expected):
    profiled["hooks"]["profiler"] = dict(type="Profiler", **settings)
    Runner(profiled, "run").train()
    assert steps(f"run/profile/{file}") == expected


def test_a_run_that_continues_is_profiled_from_there(profiled):
    profiled["hooks"]["checkpoint"]["keep"] = 9
    Runner(profiled, "run").train()
    profiled["hooks"]["profiler"]["steps"] = 2  # it only records: it may change
    Runner(profiled, "run", resume="run/checkpoints/step_00000006.pt").train()
    assert steps("run/profile/step_00000010.pt.trace.json") == 2
    assert steps("run/profile/step_00000004.pt.trace.json") == 4


@pytest.mark.parametrize(("step", "there"), [(4, 2), (2, 0), (1, 0)], ids=["within", "in its warm-up", "before"])
def test_a_run_that_is_stopped(profiled, logged, step, there):
    """The step in which Ctrl-C comes is finished. Then another run can be profiled in this process."""
    profiled["hooks"]["interrupts"] = dict(type="Interrupts", step=step)
    with pytest.raises(KeyboardInterrupt):
        Runner(profiled, "run").train()
    if there:
        assert steps("run/profile/step_00000004.pt.trace.json") == there
        assert len(rows()) == 11
    else:
        assert not Path("run/profile").exists()
        assert "note: no step was profiled: the run ended before step 4 was done" in logged
    if step == 1:  # nothing was started
        return
    del profiled["hooks"]["interrupts"]
    Runner(profiled, "again").train()
    assert steps("again/profile/step_00000004.pt.trace.json") == 4


def test_in_haste_nothing_is_written(profiled):
    profiled["hooks"]["interrupts"] = dict(type="Interrupts", step=4, times=2)
    with pytest.raises(KeyboardInterrupt):
        Runner(profiled, "run").train()
    assert not Path("run/profile").exists()
    with profile(activities=[ProfilerActivity.CPU]):
        """It can be started: nothing was left running."""


def test_shapes_and_memory(profiled):
    profiled["hooks"]["profiler"] |= dict(shapes=True, memory=True)
    Runner(profiled, "run").train()
    header, *table = rows()
    assert header[4] == "shapes"
    listed = [(row[0], *row[4:]) for row in table]
    assert len(set(listed)) == len(listed) == 10
    assert any(re.fullmatch(r"(\[[\d, ]+\] ?)+", row[-1]) for row in listed)
    assert any(each["name"] == "[memory]" for each in events("run/profile/step_00000004.pt.trace.json"))


def test_two_of_them_are_refused(profiled):
    profiled["hooks"]["another"] = dict(type="Profiler")
    with pytest.raises(ConfigError, match="profiler and another would profile at the same time: keep one Profiler"):
        Runner(profiled, "run")


def test_of_several_processes_the_first_is_profiled():
    config = dict(profiler=dict(type="Profiler"))
    assert list(Hooks.build(config, recording=True).by_name) == ["profiler"]
    assert list(Hooks.build(config, recording=False).by_name) == []
