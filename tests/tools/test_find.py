"""`find lr` and `find batch`, as they are called; what they print can be added to the command that trains."""

from __future__ import annotations

import csv
import os
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from knoll.registry import load_config, require_valid
from knoll.tools import cli, find


@pytest.fixture
def call(tiny, capsys):
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny))

    def run(*arguments: str) -> tuple[int, str, str]:
        status = cli.run(find.main, arguments)
        return status, *capsys.readouterr()

    return run


def overrides(printed: str) -> list[str]:
    return next(line.split() for line in printed.splitlines() if line.startswith("    ") and "=" in line)


def test_lr(call):
    status, printed, _ = call("lr", "tiny.yaml", "train.batch_size=14", "--start", "1e-4", "--out", "curve.csv")
    assert status == 0
    rows = np.array(list(csv.reader(Path("curve.csv").read_text().splitlines()))[1:], dtype=float)
    np.testing.assert_allclose(np.diff(np.log(rows[:, 0])), np.log(1e5) / 99)
    assert rows[0, 0] == 1e-4
    [override] = overrides(printed)
    lowest = rows[rows[:, 2].argmin(), 0]
    assert float(override.removeprefix("optimizer.lr=")) == pytest.approx(lowest / 10, rel=0.05)
    marked = {
        name: line.split() for line in printed.splitlines() for name in ("steepest", "lowest") if f"<- {name}" in line
    }
    assert [float(each) for each in marked["lowest"][:2]] == pytest.approx([lowest, rows[:, 2].min()], rel=0.05)
    assert f"steepest   {marked['steepest'][0]} " in printed
    require_valid(load_config("tiny.yaml", [override]))
    assert sorted(path.name for path in Path().iterdir()) == ["arrays.npz", "curve.csv", "tiny.yaml"]


def test_a_schedule_that_sets_its_own_rate_is_told_too(call):
    one_cycle = "hooks.lr_schedule.scheduler={'type': 'OneCycleLR', 'max_lr': 0.1, 'total_steps': '100%'}"
    status, printed, _ = call("lr", "tiny.yaml", "train.batch_size=14", one_cycle, "--start", "1e-4")
    assert status == 0
    first, second = (override.partition("=") for override in overrides(printed))
    assert (first[0], second[0]) == ("optimizer.lr", "hooks.lr_schedule.scheduler.max_lr")
    assert first[2] == second[2]


def test_batch(call):
    status, printed, _ = call("batch", "tiny.yaml", "--seconds", "0.01", "--largest", "12")
    assert status == 0
    table = [line.split() for line in printed.splitlines()[1:3]]
    assert [row[:2] for row in table] == [["6", "2"], ["12", "1"]]
    config = load_config("tiny.yaml", overrides(printed))
    require_valid(config)
    assert config.data["train"]["batch_size"] * config.data["accumulate"] == 12  # 4 * 3 before


def test_mistakes_are_told_in_a_line(call):
    for arguments, message in [
        (["lr", "gone.yaml"], "there is no config file gone.yaml"),
        (["lr", "tiny.yaml", "optimizer.lrr=1"], "Did you mean `lr`"),
        (["lr", "tiny.yaml", "--start", "2", "--end", "1"], "cannot rise from 2 to 1"),
        (["lr", "tiny.yaml", "--out", "curve.txt"], "its name must end in .csv"),
        (["batch", "tiny.yaml", "train.dataset.path=gone.npz"], "there is no file gone.npz"),
        (["batch", "tiny.yaml", "--largest", "1"], "no batch size up to 1"),
    ]:
        status, _, error = call(*arguments)
        assert status == 2
        assert error.startswith("error: ")
        assert message in error
        assert "Traceback" not in error


@pytest.mark.parametrize("command", [["lr", "--steps", "1000000"], ["batch", "--seconds", "1000"]], ids=" ".join)
def test_ctrl_c_ends_it_and_nothing_is_left(tiny, launcher, command):
    name = f"ended_by_ctrl_c_{os.getpid()}_{command[0]}"  # the folder of its run has this name
    Path(f"{name}.yaml").write_text(yaml.safe_dump(tiny))
    process = launcher.start("find", *command, f"{name}.yaml", folder=Path.cwd(), output="out.txt")

    def there() -> list[Path]:
        return list(Path(tempfile.gettempdir()).glob(f"knoll-*/**/{name}"))

    deadline = time.monotonic() + 100
    while not there():  # the trial has begun
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process, signal.SIGINT)
    assert launcher.wait(process) == cli.INTERRUPTED
    printed = Path("out.txt").read_text()
    assert printed.endswith("interrupted\n")
    assert "Traceback" not in printed
    assert not there()
