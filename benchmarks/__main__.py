"""`python -m benchmarks <name> [--json FILE]`: run a benchmark and print its table.

input   training batches: photographs, packed photographs, small arrays in memory
"""

from __future__ import annotations

import importlib
import json
import platform
import sys
from pathlib import Path

import torch

NAMES = ["input"]


def main(argv: list[str]) -> int:
    if not argv or argv[0] not in NAMES:
        print(__doc__)
        return 2
    name, *rest = argv
    file = None
    if "--json" in rest:
        place = rest.index("--json")
        file = Path(rest[place + 1])
        del rest[place : place + 2]
    rows = importlib.import_module(f"benchmarks.{name}").main(rest)
    if file:
        about = {"torch": torch.__version__, "machine": platform.machine(), "python": platform.python_version()}
        file.write_text(json.dumps({"about": about, "rows": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
