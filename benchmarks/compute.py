"""Images per second of whole networks: the Runner against bare loops, with its settings and with torch's defaults.

    python -m benchmarks compute
    python -m benchmarks compute resnet18 --threads 2 --precision fp32 --rounds 11

Each case is trained by three processes that wait for one another, a few steps each in turn:

* knoll: the Runner with its usual hooks; on a CPU with "auto" for precision, compilation and memory order.
* same: a loop written by hand with what that came to: precision, memory order, compilation, the fused form of the
  optimizer, and freed memory kept.
* bare: the same loop as torch does it by itself: fp32, contiguous, memory given back.

The images are bytes in memory (on CUDA: in the device's), gathered batch by batch and turned into floats. The ratios
are of images per second: 1.00 is as fast, 2.00 twice as fast.

* resnet18: 64 pixels, batches of 32. resnet34: 224 pixels, batches of 16. On CUDA, in bf16, channels_last and compiled:
  resnet34 and resnet50, 224 pixels, batches of 128.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch

from knoll.datasets.base import ArrayImages
from knoll.hooks.hook import Hook
from knoll.registry import DATASETS, HOOKS, MODELS
from knoll.runner import Runner
from knoll.runner.step.allocator import keep_freed_memory
from knoll.runner.step.forward import Forward, How

from .options import parser
from .processes import peak_memory
from .report import Table
from .timing import in_turn, ratio

CLASSES = 10
OPTIMIZER: dict[str, Any] = dict(lr=0.01, momentum=0.9, weight_decay=1e-4)
AUTO = How("auto", "auto", "auto")
ON_CUDA = How("bf16", True, "channels_last")


class Case(NamedTuple):
    """A network, and what it is given in a step; `steps` make one timing."""

    depth: int
    size: int
    batch_size: int
    steps: int


ON_A_CPU = {"resnet18": Case(18, 64, 32, 4), "resnet34": Case(34, 224, 16, 1)}
CASES = {"resnet34": Case(34, 224, 128, 20), "resnet50": Case(50, 224, 128, 20)}
CASES = CASES if torch.cuda.is_available() else ON_A_CPU


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    options = parser("compute").parse_args(argv)
    if unknown := [name for name in options.cases if name not in CASES]:
        parser("compute").error(f"there is no case {unknown[0]}: {', '.join(CASES)}")
    default = ON_CUDA if torch.cuda.is_available() else AUTO
    asked = default.compile if options.compile is None else options.compile
    compiled: bool | str = {"true": True, "false": False}.get(str(asked).lower(), str(asked))
    wanted = How(options.precision or default.precision, compiled, options.memory_format or default.memory_format)
    threads = options.threads or torch.get_num_threads()
    table = Table(
        case="<8",
        how="<24",
        threads=">7d",
        knoll=">9.1f",
        same=">9.1f",
        bare=">9.1f",
        to_same=">21.3f",
        to_bare=">21.2f",
    )
    print("images per second; to_same, to_bare: how many times as many")
    for name in options.cases or CASES:
        table.add(case=name, threads=threads, **_compare(CASES[name], wanted, options.rounds, threads))
    return table.rows


def _compare(case: Case, wanted: How, rounds: int, threads: int) -> dict[str, Any]:
    knoll = _Child(_train_by_knoll, case, wanted, threads)
    how = How(*knoll.answer())
    children = {"knoll": knoll, "same": _Child(_train_by_hand, case, how, threads)}
    children["bare"] = _Child(_train_by_hand, case, None, threads)
    for name in ("same", "bare"):
        children[name].answer()
    taken = in_turn({name: child.timing for name, child in children.items()}, rounds, warmup=2)
    peaks = {f"{name}_peak": child.end() for name, child in children.items()}
    speeds = {name: case.steps * case.batch_size / statistics.median(values) for name, values in taken.items()}
    told = f"{how.precision} {how.memory_format}{' compiled' if how.compile else ''}"
    ratios = {f"to_{other}": ratio(taken[other], taken["knoll"]) for other in ("same", "bare")}
    return {"how": told, **speeds, **ratios, **peaks}


class _Child:
    """A process that trains some steps whenever it is asked to."""

    def __init__(self, train: Callable, case: Case, how: How | None, threads: int) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_child, args=(train, theirs, case, how, threads), daemon=True)
        self.process.start()
        theirs.close()

    def answer(self) -> Any:
        return self.pipe.recv()

    def timing(self) -> float:
        self.pipe.send("go")
        return self.answer()

    def end(self) -> int:
        """Returns the most memory that it had, in bytes."""
        self.pipe.send("end")
        peak = self.answer()
        self.process.join()
        return peak


def _child(train: Callable, pipe: Connection, case: Case, how: How | None, threads: int) -> None:
    torch.set_num_threads(threads)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())  # what a run says would stand between the rows
    with TemporaryDirectory() as folder, suppress(_Enough):
        train(pipe, case, how, folder)
    pipe.send(peak_memory())


class _Enough(BaseException):
    """No more timings are wanted. No error: nobody is to report it."""


class _Pace:
    """Called after each step: reports how long so many of them took, and waits until it is asked for more."""

    def __init__(self, pipe: Connection, steps: int) -> None:
        self.pipe, self.steps, self.done, self.start = pipe, steps, 0, 0.0

    def wait(self) -> None:
        if self.pipe.recv() == "end":
            raise _Enough
        self.done, self.start = 0, time.perf_counter()

    def __call__(self) -> None:
        self.done += 1
        if self.done == self.steps:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.pipe.send(time.perf_counter() - self.start)
            self.wait()


@DATASETS.register_module()
class BenchmarkImages(ArrayImages):
    """Made-up images, the same in every process."""

    def __init__(self, size: int, count: int) -> None:
        self.images, labels = _arrays(size, count)
        self.labels, self.classes = labels.tolist(), [str(number) for number in range(CLASSES)]
        self.source = "made-up images"


def _arrays(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, size, size, 3), np.uint8), generator.integers(0, CLASSES, count)


@HOOKS.register_module()
class BenchmarkPace(Hook):
    """Stands last among the hooks: a step ends when all others have recorded it."""

    pace: _Pace

    def before_run(self, runner: Runner) -> None:
        self.pace.pipe.send(tuple(runner.forward.how))
        self.pace.wait()

    def end_iter(self, runner: Runner) -> None:
        self.pace()


def _model(case: Case) -> dict[str, Any]:
    backbone = dict(type="ResNet", depth=case.depth)
    return dict(type="ImageClassifier", backbone=backbone, head=dict(type="LinearHead", num_classes=CLASSES))


def _train_by_knoll(pipe: Connection, case: Case, how: How, folder: str) -> None:
    BenchmarkPace.pace = _Pace(pipe, case.steps)
    schedule = dict(type="LRSchedule", scheduler=dict(type="CosineAnnealingLR", T_max="100%"))
    config = dict(
        model=_model(case),
        loss=dict(type="CrossEntropyLoss"),
        optimizer=dict(type="SGD", **OPTIMIZER),
        train=dict(
            dataset=dict(type="BenchmarkImages", size=case.size, count=4 * case.batch_size),
            transforms=[dict(type="ToImage"), dict(type="ToDtype", dtype="float32", scale=True)],
            batch_size=case.batch_size,
        ),
        hooks=dict(
            device_placement=dict(type="DevicePlacement"),
            lr_schedule=schedule,
            checkpoint=dict(type="Checkpoint", every="100%"),
            tensorboard=dict(type="TensorBoard", every=20),
            json_log=dict(type="JSONLog", every=20),
            progress_bar=dict(type="ProgressBar"),
            benchmark_pace=dict(type="BenchmarkPace"),
        ),
        duration=10**6,  # it is ended before
        **how._asdict(),
    )
    Runner(config, folder).train()


def _train_by_hand(pipe: Connection, case: Case, how: How | None, _folder: str) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if how is not None and device.type == "cpu":
        keep_freed_memory()
    torch.manual_seed(0)
    forward = Forward(MODELS.build(_model(case)).to(device), *(how or How()))
    optimizer = torch.optim.SGD(forward.model.parameters(), **OPTIMIZER, fused=True if how else None)
    arrays = _arrays(case.size, 4 * case.batch_size)
    images, labels = (torch.from_numpy(each).to(device) for each in arrays)
    images = images.permute(0, 3, 1, 2)
    pace = _Pace(pipe, case.steps)
    pipe.send("ready")
    pace.wait()
    while True:
        for chosen in torch.randperm(len(labels), device=device).split(case.batch_size):
            logits = forward(images[chosen].float() / 255)
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(logits, labels[chosen]).backward()
            optimizer.step()
            pace()
