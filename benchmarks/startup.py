"""How long it takes to begin: the tools that need no torch, and a training's first finished step.

    python -m benchmarks startup
    python -m benchmarks startup --root data --turns 11

Each command in a process of its own, in turns; seconds by the clock and of the processor are medians, the latter for a
machine on which much else runs. Beside them Python doing nothing, and the libraries that the tools do without.

Last, configs/lenet_mnist.py until its first step is done, against by_hand.py: plain PyTorch with the same libraries and
the same data. Ratios are medians of the turns' pairs. Without MNIST below `root` there are no such rows.
"""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from .options import parser
from .report import Table
from .timing import in_turn, median, ratio

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("backbones", "losses", "optimizers", "transforms", "datasets")
DONE = "first step done"

HOOK = f"""
from knoll.hooks import Hook
from knoll.registry import HOOKS

@HOOKS.register_module()
class TellsFirstStep(Hook):
    only_records = True

    def end_iter(self, runner):
        print({DONE!r}, flush=True)
"""


def main(argv: Sequence[str] = ()) -> list[dict[str, Any]]:
    options = parser("startup").parse_args(argv)
    columns = dict(seconds=">20.2f", cpu=">20.2f", modules=">7d", torch="<5", ratio=">20.2f", cpu_ratio=">20.2f")
    table = Table(command="<24", **columns)
    _rows(table, _tools(), options.turns)
    if not (options.root / "MNIST").is_dir():
        print(f"no MNIST below {options.root}: nothing is trained")
        return table.rows
    with tempfile.TemporaryDirectory() as scratch:
        _rows(table, _first_steps(options.root.resolve(), Path(scratch)), options.turns, than="by hand")
    return table.rows


def _tools() -> dict[str, list[str]]:
    knoll, config = ["-m", "knoll.tools.cli"], str(ROOT / "configs/lenet_mnist.py")
    imports = ("torch", "torchvision", "timm", "knoll.registry")
    return {
        "python": ["-c", "pass"],
        **{f"import {name}": ["-c", f"import {name}"] for name in imports},
        "--help": [*knoll, "--help"],
        "list": [*knoll, "list"],
        **{f"list {kind}": [*knoll, "list", kind] for kind in KINDS},
        "check: a misspelt name": [*knoll, "check", config, "model.backbone.type=LeNet55"],
        "check: no mistake": [*knoll, "check", config],
    }


def _first_steps(root: Path, scratch: Path) -> dict[str, list[str]]:
    (scratch / "plugin").mkdir()
    (scratch / "plugin/hook.py").write_text(HOOK)
    hook = [f"plugins=['{scratch}/plugin']", "hooks.tells_first_step.type=TellsFirstStep"]
    train = [str(ROOT / "tools/train.py"), str(ROOT / "configs/lenet_mnist.py"), f"vars.root={root}", *hook]
    return {
        "by hand": [str(ROOT / "benchmarks/by_hand.py"), str(root), f"{scratch}/NUMBER"],
        "train": [*train, "--work-dir", f"{scratch}/NUMBER"],
    }


def _rows(table: Table, commands: Mapping[str, list[str]], turns: int, than: str | None = None) -> None:
    number, cpu = count(), {name: [] for name in commands}

    def timing(name: str) -> float:
        seconds, processor, _ = _run([word.replace("NUMBER", str(next(number))) for word in commands[name]])
        cpu[name].append(processor)
        return seconds

    taken = in_turn({name: lambda name=name: timing(name) for name in commands}, turns)
    for name, command in commands.items():
        _, _, said = _run(["-X", "importtime", *(word.replace("NUMBER", "modules_" + name) for word in command)])
        modules = re.findall(r"^import time:\s+\d.*\| *(\S+)$", said, re.MULTILINE)
        row = dict(seconds=median(taken[name]), cpu=median(cpu[name][-turns:]), modules=len(modules))
        if than and name != than:
            row["ratio"] = ratio(taken[name], taken[than])
            row["cpu_ratio"] = ratio(cpu[name][-turns:], cpu[than][-turns:])
        table.add(command=name, **row, torch="yes" if "torch" in modules else "no")


def _run(words: list[str]) -> tuple[float, float, str]:
    """Seconds until a command ends or says that its first step is done, those of the processor, and what it said."""
    before, start = _processor_seconds(), time.perf_counter()
    said, done = [], False
    command = [sys.executable, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT) as process:
        for line in process.stdout or ():
            said.append(line)
            if done := DONE in line:
                process.kill()
                break
    seconds = time.perf_counter() - start
    if process.returncode and not done and "check" not in words:
        raise RuntimeError(f"{' '.join(command)} failed:\n{''.join(said[-20:])}")
    return seconds, _processor_seconds() - before, "".join(said)


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
