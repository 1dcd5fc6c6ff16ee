"""The same training by other frameworks, as far as they are installed: what a step costs beyond a bare loop's.

Each file has a `train(model, epochs, folder)`: the training of benchmarks/task.py as that framework's users write it,
with its defaults, but for evaluations and checkpoints, which are off. Progress bars write to a file.
"""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec

import torch

from .. import task
from ..processes import in_own_process
from ..report import Table
from ..timing import Estimate, difference, median, ratio
from .bare import ordinary
from .meter import Meter

# The file of each, and the package that it needs.
PEERS = {
    "timm_loop": "timm",
    "ignite_engine": "ignite",
    "skorch_net": "skorch",
    "poutyne_model": "poutyne",
    "accelerate_loop": "accelerate",
    "mmengine_runner": "mmengine",
    "transformers_trainer": "transformers",
    "fastai_learner": "fastai",
    "lightning_trainer": "lightning",
    "composer_trainer": "composer",
}


def compare(table: Table, turns: int, names: Sequence[str] = tuple(PEERS), clock: str = "perf_counter") -> None:
    """Add a row for each of them; one that is not installed, or fails, is a row that says so.

    Args:
        table: with the columns loop, us, ratio, over, note.
        turns: epochs of each, and as many of the bare loop between them, in one process for each framework.
        clock: of `time`; process_time for a machine on which much else runs.
    """
    for name in names:
        package = PEERS[name]
        if find_spec(package) is None:
            table.add(loop=package, note="not installed")
            continue
        named = f"{package} {version(packages_distributions()[package][0])}"
        try:
            table.add(loop=named, **figures(name, turns, clock))
        except Exception as error:  # a framework that this torch breaks is not to hide the figures of the others
            said = " ".join(f"{type(error).__name__}: {error}".split())
            table.add(loop=named, note=f"could not be measured: {said[:150]}", error=repr(error))


def figures(name: str, turns: int, clock: str = "perf_counter") -> dict[str, float | Estimate]:
    """Microseconds of a step, its ratio to the bare loop's, and the microseconds over it."""
    taken, _ = in_own_process(_measure, name, turns, clock)
    own, bare = ([second * 1e6 / task.STEPS for second in seconds[1:]] for seconds in taken)
    return {"us": median(own).median, "ratio": ratio(own, bare), "over": difference(own, bare)}


def _measure(name: str, turns: int, clock: str) -> tuple[list[float], list[float]]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    peer = importlib.import_module(f".{name}", __package__)
    meter = Meter(task.model(), ordinary(), every=task.STEPS, clock=getattr(time, clock))
    with tempfile.TemporaryDirectory() as folder:
        # Of the first turn nothing is told, and the last one is not whole: nothing comes after it.
        peer.train(meter, turns + 2, folder)
    return meter.own, meter.other
