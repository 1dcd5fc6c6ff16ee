"""What a benchmark prints, and what it writes down: rows of a table, and on what they were measured."""

from __future__ import annotations

import os
import platform
import re
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import torch


class Table:
    """Rows, each printed as soon as it is known.

        table = Table(case="<12", ratio=">22.2f")
        table.add(case="packed", ratio=median([9.0, 9.4, 9.1]), note="not a column: kept for the JSON alone")

    Args:
        columns: on which side and how wide each is, and how its values are formatted.
    """

    def __init__(self, **columns: str) -> None:
        self.columns = {name: _Column(name, *_parts(spec)) for name, spec in columns.items()}
        self.rows: list[dict[str, Any]] = []

    def add(self, **values: Any) -> None:
        """Print a row, after the names of the columns if it is the first. A number that is missing is a dash."""
        if not self.rows:
            print(*(column.align(name) for name, column in self.columns.items()), sep="  ")
        self.rows.append(values)
        print(*(column.show(values.get(name)) for name, column in self.columns.items()), sep="  ", flush=True)


class _Column(NamedTuple):
    name: str
    side: str
    width: int
    spec: str

    def show(self, value: Any) -> str:
        if value is None:
            return self.align("-" if self.side == ">" else "")
        if isinstance(value, str):
            return self.align(value)
        return self.align(format(value, self.spec))

    def align(self, text: str) -> str:
        return f"{text:{self.side}{max(self.width, len(self.name))}}"


def _parts(spec: str) -> tuple[str, int, str]:
    found = re.fullmatch(r"([<>])(\d+)(.*)", spec)
    if not found:
        raise ValueError(f"{spec!r} is no column: it begins with < or > and a width, as in >8.2f")
    return found[1], int(found[2]), found[3]


def about() -> dict[str, Any]:
    """On what, and beside what else, the figures were measured."""
    return {
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", file.read_text()) if file.exists() else None
    return found[1] if found else platform.processor()
