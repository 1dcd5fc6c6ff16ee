"""The log that a person reads ends no run, whatever becomes of the console and of the disk."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from knoll.runner import Runner
from knoll.runner.logs import logging_to, start_logging


@pytest.fixture
def full(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    (tmp_path / "log.txt").symlink_to("/dev/full")
    return tmp_path


def test_a_log_file_that_cannot_be_written_is_said_once(full, capsys):
    logger = start_logging()
    with logging_to(full):
        for number in range(5):
            logger.info("line %d", number)
    out, error = capsys.readouterr()
    assert out.splitlines() == [f"line {number}" for number in range(5)]
    assert error.count("\n") == 1
    assert f"note: the log is not kept any more: {full}/log.txt: No space left on device: make room there" in error


def test_a_run_goes_on_when_nobody_reads_its_output(tiny, monkeypatch, capsys):
    class Gone:
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

        def flush(self) -> None: ...

    runner = Runner(tiny | dict(duration=4), "run")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", Gone())
        runner.train()
    assert runner.step == 4
    assert "step 4  val: loss" in Path("run/log.txt").read_text()


def test_a_run_without_standard_output(tiny, monkeypatch):
    """As after `knoll train ... >&-`."""
    tiny["hooks"]["progress_bar"] = dict(type="ProgressBar", seconds=0)
    monkeypatch.setattr(sys, "stdout", None)
    Runner(tiny | dict(duration=4), "run").train()
    assert "step 4/4" in Path("run/log.txt").read_text()


def test_lines_that_are_no_text(working_directory):
    logger = start_logging()
    with logging_to(working_directory):
        logger.info("%s", os.fsdecode(b"\xff.jpg"))
    assert "\\udcff.jpg" in (working_directory / "log.txt").read_text()
