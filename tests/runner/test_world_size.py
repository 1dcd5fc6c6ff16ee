"""A run goes on with another number of processes, if it is allowed, and if its steps stay what they were."""

from __future__ import annotations

import copy
import logging
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from knoll.hooks.hook import Hook
from knoll.registry import HOOKS
from knoll.runner import Runner
from knoll.runner.processes.world_size import Division, remedy
from knoll.runner.saving.checkpoint import load


class Kill(Hook):
    """Kills the last of the processes before the sixth step: four are saved for certain."""

    def before_iter(self, runner: Runner) -> None:
        killed = runner.work_dir / "killed"
        if runner.step == 5 and runner.world.rank == runner.world.size - 1 and not killed.exists():
            runner.saver.wait()
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(autouse=True)
def killing():
    HOOKS.register_module(module=Kill)
    yield
    del HOOKS.module_dict["Kill"]


@pytest.fixture
def plain(tiny) -> dict[str, Any]:
    """Without what is drawn for a process; 12 images a step, 42 an epoch, so that the last step has fewer."""
    tiny["model"]["head"]["dropout"] = 0.0
    tiny["train"] |= dict(drop_last=False, batch_size=6)
    return tiny | dict(accumulate=2)


def train(config: dict[str, Any], folder: str, resume: str | None = None) -> list[str]:
    """What was logged as a warning."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # pyright: ignore[reportAttributeAccessIssue]
    logging.getLogger("knoll").addHandler(handler)
    Runner(config, folder, resume=resume, allow_world_size=True).train()
    return lines


def divided(config: dict[str, Any], batch_size: int, accumulate: int) -> dict[str, Any]:
    config = copy.deepcopy(config) | dict(accumulate=accumulate)
    config["train"]["batch_size"] = batch_size
    return config


def furthest(first: str, second: str) -> float:
    models = [load(f"{folder}/checkpoints/last.pt")["model"] for folder in (first, second)]
    return max(float((models[0][name] - value).abs().max()) for name, value in models[1].items())


# For so many processes: the batches of one, and how many of them make a step. Of 12 images each.
SAME = {1: (6, 2), 2: (3, 2), 3: (4, 1)}


@pytest.mark.row(43)
@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_killed_and_continued_with_another_number_of_processes(plain, processes, parallel, figure):
    """From 2 to 3, to 1, and from 1 to 2."""
    plain["hooks"]["checkpoint"]["keep"] = 99
    plain["parallel"] = parallel
    assert [each.status for each in processes(1, train, divided(plain, *SAME[1]), "whole")] == [0]
    killing = copy.deepcopy(plain)
    killing["hooks"]["kill"] = dict(type="Kill")
    distances = []
    for before, after in [(2, 3), (2, 1), (1, 2)]:
        folder = f"run_{before}_{after}"
        found = processes(before, train, divided(killing, *SAME[before]), folder, timeout=40)
        assert found[-1].status == -signal.SIGKILL
        newest = sorted(Path(folder, "checkpoints").glob("step_*.pt"))[-1]
        assert load(newest)["step"] == 4
        resumed = processes(after, train, divided(killing, *SAME[after]), folder, str(newest))
        assert [each.status for each in resumed] == [0] * after, resumed
        assert "the run goes on with another number of processes" in "".join(resumed[0].value)
        assert load(f"{folder}/checkpoints/last.pt")["step"] == load("whole/checkpoints/last.pt")["step"] == 12
        distances.append(furthest(folder, "whole"))
    near = sum(each < 1e-6 for each in distances)
    figure(
        f"{parallel}: killed and continued with --allow-world-size from 2 to 3 processes, 2 to 1, 1 to 2: in {near} of "
        f"{len(distances)} cases the weights are those of an uninterrupted run of one process to 1e-6"
    )
    assert near == 3, distances


def test_other_steps_are_refused_and_what_is_advised_is_taken(plain, processes):
    plain["duration"] = 2
    assert [each.status for each in processes(2, train, divided(plain, 3, 2), "run")] == [0, 0]
    last = "run/checkpoints/last.pt"
    found = processes(3, train, divided(plain, 3, 2), "run", last)
    assert [each.status for each in found] == [1] * 3
    said = "\n".join(each.value for each in found)
    assert (
        "was: 2 processes x batch_size 3 x accumulate 2 = 12 images a step, 4 steps an epoch, the last one of 6" in said
    )
    assert (
        "is:  3 processes x batch_size 3 x accumulate 2 = 18 images a step, 3 steps an epoch, the last one of 6" in said
    )
    assert "set train.batch_size=2 accumulate=2" in said
    taken = processes(3, train, divided(plain, 2, 2), "run", last)
    assert [each.status for each in taken] == [0] * 3, taken
    other = copy.deepcopy(divided(plain, 2, 2))
    other["optimizer"]["lr"] = 1.0
    refused = processes(3, train, other, "run", last)
    assert "optimizer.lr: was 0.05, is 1.0" in "".join(each.value for each in refused)
    assert "batch_size" not in "".join(each.value for each in refused)


def test_as_many_processes_may_not_divide_a_step_otherwise(plain, processes):
    plain["duration"] = 2
    processes(1, train, divided(plain, 6, 2), "run")
    [found] = processes(1, train, divided(plain, 4, 3), "run", "run/checkpoints/last.pt")
    assert "accumulate: was 2, is 3" in found.value


@pytest.mark.parametrize(
    ("was", "processes", "samples", "drop_last", "advised"),
    [
        (Division(2, 4, 3), 3, 48, True, "train.batch_size=4 accumulate=2"),
        (Division(2, 4, 3), 4, 48, True, "train.batch_size=3 accumulate=2"),
        (Division(2, 4, 3), 1, 48, True, "train.batch_size=4 accumulate=6"),
        # Of 46 images batches of 8 leave out 6; batches of 4 would leave out 2.
        (Division(2, 4, 3), 1, 46, True, "train.batch_size=8 accumulate=3"),
        (Division(2, 4, 3), 3, 46, True, "No setting of 3 processes"),
        (Division(2, 4, 3), 5, 48, True, "No setting of 5 processes"),
    ],
)
def test_what_is_advised_makes_the_same_steps(was, processes, samples, drop_last, advised):
    assert advised in remedy(was, processes, samples, drop_last)


def test_the_steps_of_an_epoch():
    """By hand: 10 batches of 4 images and one of 2; three batches a step."""
    assert Division(2, 2, 3).steps(42, drop_last=False) == [0, 12, 24, 36, 42]
    assert Division(2, 2, 3).steps(42, drop_last=True) == [0, 12, 24, 36, 40]
