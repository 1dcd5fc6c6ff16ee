"""Images per second of one process and of several, against a bare DistributedDataParallel loop, in the same run.

    python -m benchmarks scale
    python -m benchmarks scale --processes 1 2 3 --turns 10 --cases mlp

Each row: so many processes; in turns, so many steps of Knoll's Runner with its usual hooks and as many of the bare
loops. Each process has one thread and its own batch, so that twice the processes see twice the images in a step.
Processes beyond the machine's cores share them.

* mlp: 784-256-10, batches of 64 grey images from memory: the step is short, and much of it is what passes between the
  processes.
* resnet18: colour images of 64x64, batches of 16.

The bare loop does what has to be done and no more: batches gathered from memory, forward, backward, SGD with momentum;
of several processes with torch's DistributedDataParallel over gloo, as it is by default, and (`searching`) with
`find_unused_parameters`, as Knoll has it; why, see runner/step/forward.py.

Columns: images per second of the Runner, all processes together, and how many times those of one process that is; then,
as medians of the turns' pairs with their 95 % intervals, the Runner's time for a step over that of each loop.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from knoll.hooks.hook import Hook
from knoll.registry import HOOKS, MODELS
from knoll.runner import Runner

from .options import parser
from .report import Table
from .timing import median, ratio

SAMPLES, CLASSES = 1920, 10
OPTIMIZER: dict[str, Any] = dict(lr=0.01, momentum=0.9)


class Case(NamedTuple):
    """What is trained, on images of a shape, so many of them in the batch of a process, so many steps in a turn."""

    backbone: dict[str, Any]
    shape: tuple[int, ...]
    batch_size: int
    steps: int

    @property
    def model(self) -> dict[str, Any]:
        return dict(type="ImageClassifier", backbone=self.backbone, head=dict(type="LinearHead", num_classes=CLASSES))


CASES = {
    "mlp": Case(dict(type="MLP", widths=[256]), (28, 28), 64, 200),
    "resnet18": Case(dict(type="ResNet", depth=18), (64, 64, 3), 16, 4),
}


def main(argv: Sequence[str] = ()) -> list[dict[str, Any]]:
    options = parser("scale").parse_args(argv)
    table = Table(
        case="<8", processes=">9", images_per_second=">17.0f", times_one=">9.2f", bare=">19.3f", searching=">19.3f"
    )
    for name in options.cases:
        alone = None
        for count in options.processes:
            taken = measure(name, count, options.turns)
            images = CASES[name].batch_size * count / median(taken["runner"]).median
            alone = images if count == 1 else alone
            ratios = {loop: ratio(taken["runner"], taken[loop]) for loop in taken if loop != "runner"}
            table.add(
                case=name,
                processes=str(count),
                images_per_second=images,
                times_one=images / alone if alone else None,
                **ratios,
            )
    return table.rows


def measure(name: str, count: int, turns: int) -> dict[str, list[float]]:
    """Seconds of a step of each loop, in each turn, as the first of so many processes saw them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        shape = CASES[name].shape
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (SAMPLES, *shape), dtype=np.uint8)
        np.savez(Path(folder, "arrays.npz"), train_images=images, train_labels=np.arange(SAMPLES) % CLASSES)
        # torch, once imported, advises against `find_unused_parameters`, which is what is measured.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        # Spawned: a copy of this process would have its threads.
        spawn(_process, (name, count, turns, port, folder), nprocs=count)
        return json.loads(Path(folder, "taken.json").read_text())


def _process(rank: int, name: str, count: int, turns: int, port: int, folder: str) -> None:
    """One of the processes: trains with a hook in which the other loops take their turns."""
    own = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=count, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    os.environ.update({key: str(value) for key, value in own.items()})
    torch.set_num_threads(1)
    case, arrays = CASES[name], str(Path(folder, "arrays.npz"))
    as_floats = [dict(type="ToImage"), dict(type="ToDtype", dtype="float32", scale=True)]
    config = dict(
        model=case.model,
        loss=dict(type="CrossEntropyLoss"),
        optimizer=dict(type="SGD", **OPTIMIZER),
        train=dict(
            dataset=dict(type="ArrayFile", path=arrays, split="train"), transforms=as_floats, batch_size=case.batch_size
        ),
        metrics=dict(top1=dict(type="Accuracy")),
        hooks=dict(
            turns=dict(type="Turns", case=name, arrays=arrays),
            device_placement=dict(type="DevicePlacement", device="cpu"),
            lr_schedule=dict(type="LRSchedule", scheduler=dict(type="CosineAnnealingLR", T_max="100%")),
            checkpoint=dict(type="Checkpoint", every="100%"),
            tensorboard=dict(type="TensorBoard"),
            progress_bar=dict(type="ProgressBar", seconds=1e9),
        ),
        duration=(turns + 1) * case.steps + 1,
    )
    HOOKS.register_module(module=Turns)
    runner = Runner(config, Path(folder, "run"))
    runner.train()
    if rank == 0:
        hook: Any = runner.hooks.by_name["turns"]
        taken = {loop: [each / case.steps for each in values[1:]] for loop, values in hook.taken.items()}
        Path(folder, "taken.json").write_text(json.dumps(taken))


class Turns(Hook):
    """Between so many steps of the Runner, makes as many of each bare loop. The first turn is not to be counted.

    Attributes: `taken`, seconds by the name of a loop; the Runner's own are `runner`.
    """

    def __init__(self, case: str, arrays: str) -> None:
        self.case, self.arrays = CASES[case], arrays
        self.taken: dict[str, list[float]] = {"runner": []}
        self.started = 0.0

    def before_run(self, runner: Runner) -> None:
        self.size = runner.world.size
        self.loops = {"bare": bare(self.case, self.arrays, self.size, searching=False)}
        if self.size > 1:
            self.loops["searching"] = bare(self.case, self.arrays, self.size, searching=True)

    def before_iter(self, runner: Runner) -> None:
        if runner.step % self.case.steps:
            return
        if runner.step:
            self._meet()
            self.taken["runner"].append(time.perf_counter() - self.started)
            for name, loop in self.loops.items():
                self._meet()
                started = time.perf_counter()
                loop()
                self._meet()
                self.taken.setdefault(name, []).append(time.perf_counter() - started)
        self._meet()
        self.started = time.perf_counter()

    def _meet(self) -> None:
        if self.size > 1:
            dist.barrier()


def bare(case: Case, arrays: str, size: int, searching: bool) -> Callable[[], None]:
    """So many steps as one writes them by hand; each process draws its batches from all images."""
    model = MODELS.build(case.model)
    parallel = DistributedDataParallel(model, find_unused_parameters=searching) if size > 1 else model
    optimizer = torch.optim.SGD(model.parameters(), **OPTIMIZER)
    loss_function = nn.CrossEntropyLoss()
    with np.load(arrays) as parts:
        images, labels = torch.from_numpy(parts["train_images"]), torch.from_numpy(parts["train_labels"])
    images = images.permute(0, 3, 1, 2).contiguous() if images.ndim == 4 else images[:, None]

    def steps() -> None:
        order = torch.randperm(SAMPLES).repeat(1 + case.steps * case.batch_size // SAMPLES)
        for indices in order.split(case.batch_size)[: case.steps]:
            loss = loss_function(parallel(images[indices].float() / 255), labels[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return steps
