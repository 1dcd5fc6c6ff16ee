"""Starts tools in processes of their own that need not import torch again: forks of one that has.

Reads lines of JSON from its input, `{"arguments": ["train", ...], "folder": ..., "output": ...}`, and answers with the
process's number; `{"wait": number}` is answered with its exit status. Each process leads a group of its own.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
from pathlib import Path

import knoll.hooks
import knoll.models
import knoll.runner  # noqa: F401

TOOLS = Path(__file__).parents[1] / "tools"


def start(arguments: list[str], folder: str, output: str) -> int:
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    sys.stdin = open(os.devnull)  # noqa: SIM115
    sys.argv = [f"{TOOLS / arguments[0]}.py", *arguments[1:]]
    runpy.run_path(sys.argv[0], run_name="__main__")
    sys.exit(0)


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            print(os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1]), flush=True)
        else:
            print(start(asked["arguments"], asked["folder"], asked["output"]), flush=True)


if __name__ == "__main__":
    main()
