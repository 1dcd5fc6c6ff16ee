"""What a step costs beside the computation: the Runner with all its usual hooks on, against loops written by hand.

The training of task.py, in turns in one process: an epoch of the Runner, one of each bare loop, and so on. Ends of
epochs fall into the turns; an evaluation and checkpoints, of which the bare loops have none, do not. The frameworks
that are installed each take turns with a bare loop in a process of their own: see peers/.

    python -m benchmarks step
    python -m benchmarks step --turns 60 --no-peers
    python -m benchmarks step --cpu-time          # where much else runs: the processors' time, not the clock's

Beside the time, the peak memory of a process that trains with each loop alone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch

from knoll.datasets.base import ArrayImages
from knoll.hooks.hook import Hook
from knoll.registry import DATASETS, HOOKS
from knoll.runner import Runner

from . import peers, task
from .peers.bare import gathered, ordinary
from .processes import in_own_process
from .report import Table
from .timing import difference, median, ratio

BARE = {"bare, DataLoader": ordinary, "bare, gathered": gathered}
EPOCHS_FOR_MEMORY = 10


class Rows(ArrayImages):
    """The rows of task.py as a data set of Knoll's."""

    source = "random rows"

    def __init__(self) -> None:
        images, labels = task.data()
        self.images, self.labels = images.numpy(), labels.tolist()
        self.classes = [str(number) for number in range(task.CLASSES)]


class InTurns(Hook):
    """After every epoch of the Runner lets each of the other loops train one, and notes how long all of them took."""

    only_records = True

    def __init__(self, loops: dict[str, Iterator[None]], clock: Callable[[], float]) -> None:
        self.loops, self.clock = loops, clock
        self.seconds: dict[str, list[float]] = {name: [] for name in ("Runner", *loops)}

    def before_run(self, runner: Runner) -> None:
        self.start = self.clock()

    def end_iter(self, runner: Runner) -> None:
        if runner.step % task.STEPS:
            return
        self.seconds["Runner"].append(self.clock() - self.start)
        for name, loop in self.loops.items():
            start = self.clock()
            next(loop)
            self.seconds[name].append(self.clock() - start)
        self.start = self.clock()


def config(epochs: int) -> dict:
    """All usual hooks: those of configs/_base_/runtime.py and a schedule. They evaluate and save at the end."""
    data = dict(dataset=dict(type="Rows"), batch_size=task.BATCH)
    end = f"{epochs}ep"
    return dict(
        model=task.MODEL,
        loss=dict(type="CrossEntropyLoss"),
        optimizer=dict(type="SGD", **task.OPTIMIZER),
        train=data,
        evaluation=dict(val=data),
        metrics=dict(top1=dict(type="Accuracy")),
        hooks=dict(
            device_placement=dict(type="DevicePlacement", device="cpu"),
            evaluation=dict(type="Evaluation", every=end),
            lr_schedule=dict(type="LRSchedule", scheduler=dict(type="CosineAnnealingLR", T_max="100%")),
            checkpoint=dict(type="Checkpoint", every=end),
            tensorboard=dict(type="TensorBoard"),
            json_log=dict(type="JSONLog"),
            progress_bar=dict(type="ProgressBar"),
        ),
        duration=end,
    )


def run(epochs: int, others: dict[str, Iterator[None]], clock: Callable[[], float] = time.perf_counter) -> InTurns:
    """Train with the Runner, in turns with other loops."""
    torch.set_num_threads(1)
    DATASETS.register_module(module=Rows, force=True)
    HOOKS.register_module("InTurns", module=lambda: InTurns(others, clock), force=True)
    with tempfile.TemporaryDirectory() as folder:
        settings = config(epochs)
        settings["hooks"]["in_turns"] = dict(type="InTurns")
        runner = Runner(settings, Path(folder) / "run")
        runner.train()
    return runner.hooks.by_name["in_turns"]  # pyright: ignore[reportReturnType]


def train_alone(name: str) -> None:
    """Ten epochs of one loop."""
    torch.set_num_threads(1)
    if name == "Runner":
        run(EPOCHS_FOR_MEMORY, {})
    else:
        list(islice(BARE[name](), EPOCHS_FOR_MEMORY))


def main(arguments: Sequence[str] = ()) -> list[dict]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks step", description=__doc__)
    parser.add_argument("--turns", type=int, default=30, help="epochs of each loop, of 100 steps")
    parser.add_argument("--no-peers", action="store_true", help="leave out the other frameworks")
    parser.add_argument("--cpu-time", action="store_true", help="compare the processors' time in place of the clock's")
    options = parser.parse_args(arguments)

    clock = time.process_time if options.cpu_time else time.perf_counter
    turns = run(options.turns + 1, {name: loop() for name, loop in BARE.items()}, clock)
    us = {name: [1e6 * second / task.STEPS for second in taken[1:]] for name, taken in turns.seconds.items()}
    table = Table(
        loop="<24", us=">20.0f", ratio=">22.3f", over=">20.0f", over_gathered=">20.0f", memory=">8.3f", note="<0"
    )
    memory = {name: in_own_process(train_alone, name)[1] for name in us}
    plain, by_hand = us["bare, DataLoader"], us["bare, gathered"]
    for name, taken in us.items():
        table.add(
            loop="Knoll" if name == "Runner" else name,
            us=median(taken),
            ratio=ratio(taken, plain),
            over=difference(taken, plain),
            over_gathered=difference(taken, by_hand),
            memory=memory[name] / memory["bare, DataLoader"],
        )
    if not options.no_peers:
        peers.compare(table, max(options.turns // 3, 5), cpu_time=options.cpu_time)
    return table.rows
