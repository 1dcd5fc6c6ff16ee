"""A run whose output nobody reads any more, as after Ctrl-C of `train | tee log`, or whose terminal is gone."""

from __future__ import annotations

import os
import pty
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from knoll.hooks.hook import Hook
from knoll.registry import HOOKS
from knoll.runner.saving.checkpoint import load
from knoll.tools import cli, train

LAST = "run/checkpoints/last.pt"


@pytest.fixture
def in_third_step(tiny):
    """`in_third_step(function)`: a config file whose run calls a function in its third step."""

    @HOOKS.register_module(force=True)
    class InThirdStep(Hook):
        only_records = True

        def before_iter(self, runner) -> None:
            if runner.step == 2:
                calls.pop()()

    calls = []
    tiny["hooks"] |= dict(third=dict(type="InThirdStep"), progress=dict(type="ProgressBar", seconds=0))
    tiny["hooks"]["checkpoint"] |= dict(every="100%")
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny))
    return calls.append


def command_line() -> None:
    """As a user's process: with streams of its own, not pytest's, and Python's own handlers."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    status = cli.run(train.main, ["tiny.yaml", "--work-dir", "run"])
    sys.stdout.flush()  # as Python does at its end
    raise SystemExit(status)


@pytest.mark.row(5)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("streams", [(2,), (1, 2)], ids=["standard error", "both"])
def test_a_signal_when_the_reader_has_ended(in_third_step, forked, number, streams, figure):
    read, write = os.pipe()

    def reader_ends() -> None:
        os.close(read)
        os.kill(os.getpid(), number)

    def child() -> None:
        os.dup2(os.open("out.txt", os.O_WRONLY | os.O_CREAT), 1)
        for stream in streams:
            os.dup2(write, stream)
        os.close(write)
        command_line()

    in_third_step(reader_ends)
    process = forked(child)
    os.close(read)
    os.close(write)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    step = load(LAST)["step"]
    assert (status, step) == (128 + number, 3)
    figure(f"{signal.Signals(number).name}, nobody reads {streams}: exit {status}, saved after step {step}")


@pytest.mark.row(5)
def test_a_terminal_that_is_gone(in_third_step, forked, figure):
    master, terminal = pty.openpty()

    def waits() -> None:
        os.write(1, b"third step")
        with suppress(OSError):
            os.read(0, 1)  # until it is gone

    in_third_step(waits)

    def child() -> None:
        os.close(master)
        os.setsid()
        for stream in (0, 1, 2):  # opened by the leader of a session that has none, it becomes the session's own
            os.dup2(os.open(os.ttyname(terminal), os.O_RDWR), stream)
        os.close(terminal)
        command_line()

    process = forked(child)
    os.close(terminal)
    said = b""
    while b"third step" not in said:
        said += os.read(master, 1000)
    os.close(master)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    step = load(LAST)["step"]
    assert (status, step) == (129, 3)
    figure(f"SIGHUP of a terminal that is gone: exit {status}, saved after step {step}")


def test_a_broken_pipe_that_ends_a_run_is_no_success(in_third_step, forked):
    """A hook of one's own that prints, and nobody reads."""
    read, write = os.pipe()

    def prints() -> None:
        os.close(read)
        print("step 3", flush=True)

    def child() -> None:
        os.dup2(write, 1)
        os.dup2(os.open("err.txt", os.O_WRONLY | os.O_CREAT), 2)
        os.close(write)
        command_line()

    in_third_step(prints)
    process = forked(child)
    os.close(read)
    os.close(write)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 2
    assert Path("err.txt").read_text().startswith("error: the run is not finished: ")
