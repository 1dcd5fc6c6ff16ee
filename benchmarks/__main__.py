"""`python -m benchmarks <name> [--json FILE]`: run a benchmark and print its table. `--help` after a name says more."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from pathlib import Path

from .options import parser

FOLDER = Path(__file__).parent

BENCHMARKS = {
    "step": "what a step costs beyond a bare loop's, beside the trainers of other frameworks that are installed",
    "input": "training batches: photographs, packed photographs, small arrays in memory",
    "compute": "images per second of whole networks: precision, compilation, memory order",
    "startup": "from a command to the first finished step, and what needs no torch",
    "scale": "several processes against one",
}


def main(argv: list[str]) -> int:
    there = {name: what for name, what in BENCHMARKS.items() if (FOLDER / f"{name}.py").exists()}
    name, *rest = argv or [""]
    file = None
    if "--json" in rest:
        place = rest.index("--json")
        file = Path(rest[place + 1]) if place + 1 < len(rest) else None
        del rest[place : place + 2]
        name = name if file else ""
    if name not in there:
        print(__doc__, *(f"{name:8} {what}" for name, what in there.items()), sep="\n")
        return 2
    parser(name).parse_args(rest)  # before what imports torch: --help, and what cannot be understood
    from .report import about

    # Our folder `datasets` is not to go for the package of that name.
    sys.path.sort(key=lambda entry: Path(entry).resolve() == FOLDER.parent)
    # Before the benchmark: what else slows this machine.
    measured_on = about()
    print(", ".join(f"{key} {value}" for key, value in measured_on.items()), flush=True)
    rows = importlib.import_module(f"benchmarks.{name}").main(rest)
    if file:
        file.write_text(json.dumps({"about": measured_on, "rows": rows}, indent=1, default=dataclasses.asdict))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
