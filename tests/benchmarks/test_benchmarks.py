"""The benchmarks run, and what they compare is the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS, main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(working_directory):
    def run(*words: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "benchmarks", *words]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, cwd=working_directory, env=environment)

    return run


def test_input_prints_a_row_for_each_case_and_writes_them(forked, working_directory):
    words = ["input", "packed", "mnist", "--pairs", "1", "--scale", "0.05", "--workers", "0", "--json", "rows.json"]

    def run() -> None:
        with open("said.txt", "w") as said, redirect_stdout(said):
            sys.exit(main(words))

    assert os.waitpid(forked(run), 0)[1] == 0
    rows = json.loads((working_directory / "rows.json").read_text())["rows"]
    assert [row["case"] for row in rows] == ["packed", "mnist"]
    _about, _unit, _names, *lines = (working_directory / "said.txt").read_text().splitlines()
    for row, line in zip(rows, lines, strict=True):
        assert row["ratio"]["median"] == pytest.approx(row["torchvision"] / row["knoll"])  # of the only pair
        assert line.startswith(row["case"])
        assert "made-up" in line or "size" in line


def test_without_a_name_it_says_what_there_is(benchmark):
    done = benchmark()
    assert done.returncode == 2
    assert "input" in done.stdout


@pytest.mark.parametrize("name", BENCHMARKS)
def test_help_imports_no_torch(name):
    asked = f"from benchmarks.__main__ import BENCHMARKS, main; main([{name!r}, '--help'])"
    checked = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", f"{checked}; {asked}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "False\n")
    assert done.stdout.startswith(f"usage: python -m benchmarks {name}")
    assert (import_module(f"benchmarks.{name}").__doc__ or "-").strip() in done.stdout


@pytest.mark.slow
def test_compute_trains_all_three_with_what_was_asked_for(benchmark, working_directory):
    words = ["resnet18", "--rounds", "1", "--threads", "1", "--precision", "fp32", "--memory-format", "channels_last"]
    done = benchmark("compute", *words, "--compile", "false", "--json", "rows.json")
    assert done.returncode == 0, done.stderr
    [row] = json.loads((working_directory / "rows.json").read_text())["rows"]
    assert row["how"] == "fp32 channels_last"
    for other in ("same", "bare"):
        assert row[f"to_{other}"]["median"] == pytest.approx(row["knoll"] / row[other])
        assert row[f"{other}_peak"] > 1e8
    assert done.stdout.splitlines()[-1].startswith("resnet18")
