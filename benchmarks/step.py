"""What a step costs beside the computation: the Runner with all its usual hooks against loops written by hand.

    python -m benchmarks step
    python -m benchmarks step --turns 40 --peers lightning timm
    python -m benchmarks step --peers                            # the loops written by hand alone

A perceptron, rows of floats in memory, batches of 64, one thread: a step takes less than a millisecond, so that what is
done beside the computation shows. The same optimizer and model in all loops, in turns in one process: 100 steps of the
Runner, 100 of each other loop, and so on. Epochs end and begin within the turns; evaluations and checkpoints, of which
the other loops have none, do not fall into them.

* DataLoader: the loop of the tutorials, with torch's DataLoader and its default collation.
* gathered: the same loop, but that a batch is taken out of the array at once, as the Runner does.
* gathered, fused: and its optimizer in torch's fused form, which the Runner takes by itself.
* the other frameworks that are installed: each in a process of its own, in turns with the loop DataLoader there.

Columns: microseconds a step, medians of the turns; then, as medians of the turns' pairs with their 95 % intervals, the
ratio to the loop DataLoader, the microseconds over it, and those over the loop `gathered`. Last the memory of each loop
alone in a process that has imported the same: the most that it had at any time.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from knoll.datasets.base import ArrayImages
from knoll.hooks.hook import Hook
from knoll.registry import DATASETS, HOOKS
from knoll.runner import Runner

from . import peers, task
from .options import parser
from .peers.bare import fused, gathered, ordinary
from .processes import in_own_process
from .report import Table
from .timing import difference, median, ratio

LOOPS = {"DataLoader": ordinary, "gathered": gathered, "gathered, fused": fused}


def main(argv: Sequence[str] = ()) -> list[dict[str, Any]]:
    options = parser("step").parse_args(argv)
    packages = list(peers.PEERS.values()) if options.peers is None else options.peers
    if unknown := {*packages} - {*peers.PEERS.values()}:
        parser("step").error(f"there is no framework {', '.join(sorted(unknown))}: {', '.join(peers.PEERS.values())}")
    torch.set_num_threads(1)
    clock = "process_time" if options.cpu_time else "perf_counter"
    estimates = dict(ratio=">21.2f", over=">20.0f", over_gathered=">20.0f")
    table = Table(loop="<20", us=">6.0f", **estimates, memory=">6.0f", note="<0")
    taken = turns(options.turns, clock)
    peaks = memory(options.memory)
    for name, values in taken.items():
        table.add(
            loop=name,
            us=median(values).median,
            ratio=ratio(values, taken["DataLoader"]),
            over=difference(values, taken["DataLoader"]),
            over_gathered=difference(values, taken["gathered"]),
            memory=peaks.get(name),
        )
    chosen = [file for file, package in peers.PEERS.items() if package in packages]
    peers.compare(table, options.peer_turns, chosen, clock)
    return table.rows


def turns(count: int, clock: str) -> dict[str, list[float]]:
    """Microseconds of a step of each loop, in each turn after the first, by a clock of `time`."""
    in_turns = _train(config(count + 1, in_turns=dict(type="InTurns", clock=clock))).hooks.by_name["in_turns"]
    assert isinstance(in_turns, InTurns)
    return {name: [each * 1e6 / task.STEPS for each in values[1:]] for name, values in in_turns.seconds.items()}


def memory(times: int) -> dict[str, float]:
    """Megabytes that each loop alone had at most; medians."""
    alone: dict[str, list[float]] = {name: [] for name in ("Runner", *LOOPS)} if times else {}
    for _ in range(times):
        for name, peaks in alone.items():
            peaks.append(in_own_process(_alone, name)[1] / 1e6)
    return {name: median(peaks).median for name, peaks in alone.items()}


def _alone(name: str, epochs: int = 5) -> None:
    # The usual hooks need these: all processes have them, so that what differs is the training.
    import_module("torchmetrics")
    import_module("torch.utils.tensorboard")
    torch.set_num_threads(1)
    if name == "Runner":
        _train(config(epochs))
        return
    loop = LOOPS[name]()
    for _ in range(epochs):
        next(loop)


def _train(config: dict[str, Any]) -> Runner:
    HOOKS.register_module(module=InTurns, force=True)
    DATASETS.register_module(module=Rows, force=True)
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(config, Path(folder) / "run")
        runner.train()
    return runner


class Rows(ArrayImages):
    """The rows as a data set."""

    source = "random rows"

    def __init__(self) -> None:
        images, labels = task.data()
        self.images, self.labels = images.numpy(), labels.tolist()
        self.classes = [str(number) for number in range(task.CLASSES)]


class InTurns(Hook):
    """After every epoch of the Runner lets each of the other loops take one, and notes all times."""

    only_records = True

    def __init__(self, clock: str) -> None:
        self.clock: Callable[[], float] = getattr(time, clock)
        self.seconds: dict[str, list[float]] = {"Runner": [], **{name: [] for name in LOOPS}}

    def before_run(self, runner: Runner) -> None:
        self.loops = {name: loop() for name, loop in LOOPS.items()}
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


def config(epochs: int, **more_hooks: dict) -> dict[str, Any]:
    """All usual hooks; their evaluations and checkpoints at the end."""
    arrays = dict(dataset=dict(type="Rows"), batch_size=task.BATCH)
    end = epochs * task.STEPS
    return dict(
        model=task.MODEL,
        loss=dict(type="CrossEntropyLoss"),
        optimizer=dict(type="SGD", **task.OPTIMIZER),
        train=dict(arrays),
        evaluation=dict(val=dict(arrays)),
        metrics=dict(top1=dict(type="Accuracy")),
        hooks=dict(
            device_placement=dict(type="DevicePlacement", device="cpu"),
            evaluation=dict(type="Evaluation", every=end),
            lr_schedule=dict(type="LRSchedule", scheduler=dict(type="CosineAnnealingLR", T_max="100%")),
            checkpoint=dict(type="Checkpoint", every=end),
            tensorboard=dict(type="TensorBoard"),
            json_log=dict(type="JSONLog"),
            progress_bar=dict(type="ProgressBar"),
            **more_hooks,
        ),
        duration=end,
    )
