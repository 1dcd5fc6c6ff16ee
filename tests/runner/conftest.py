"""Several processes of one run, forked from this one, which has imported everything already."""

from __future__ import annotations

import os
import signal
import socket
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch


class Ended(NamedTuple):
    """What became of a process: what its function returned, its exit status (minus the signal), when it ended."""

    value: Any
    status: int
    seconds: float


@pytest.fixture
def processes(tmp_path) -> Callable[..., list[Ended]]:
    """`processes(3, function, ...)` calls a function in three processes that see what torchrun would have set."""

    def run(count: int, function: Callable, *arguments: Any, timeout: float = 120) -> list[Ended]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        started = time.monotonic()
        running = {}
        for rank in range(count):
            own = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=count, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
            kept = tmp_path / f"value_{count}_{rank}.pt"
            running[_forked({name: str(value) for name, value in own.items()}, kept, function, arguments)] = kept
        order, ended = list(running), {}
        while running:
            for pid in list(running):
                found, status = os.waitpid(pid, os.WNOHANG)
                seconds = time.monotonic() - started
                if found:
                    kept = running.pop(pid)
                    value = torch.load(kept, weights_only=False) if kept.exists() else None
                    kept.unlink(missing_ok=True)
                    ended[pid] = Ended(value, os.waitstatus_to_exitcode(status), seconds)
                elif seconds > timeout:
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        return [ended[pid] for pid in order]

    return run


def _forked(environment: dict[str, str], kept: Path, function: Callable, arguments: tuple) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.environ.update(environment)
        torch.save(function(*arguments), kept)
        status = 0
    except SystemExit as ending:
        status = int(ending.code or 0)
    except BaseException as error:
        torch.save(f"{type(error).__name__}: {error}", kept)
        traceback.print_exc()
    finally:
        os._exit(status)
