"""What several tests share: a small experiment that trains in a second."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from .reliability.plugin import pytest_addoption, pytest_configure  # noqa: F401  pytest finds them here

ROOT = Path(__file__).parents[1]

# Everything here is small: several threads would wait for one another, most of all where other programs run too.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    """Tests write into a folder of their own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def arrays(tmp_path) -> Path:
    """`arrays.npz`: 4 classes of grey 28x28 images, each with a bright square in its own corner; 42 train, 18 val."""
    rng = np.random.default_rng(0)
    parts = {}
    for split, count in (("train", 42), ("val", 18)):
        labels = np.arange(count) % 4
        images = rng.integers(0, 120, (count, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            top, left = 14 * (label // 2), 14 * (label % 2)
            image[top : top + 14, left : left + 14] += 100
        parts |= {f"{split}_images": images, f"{split}_labels": labels}
    path = tmp_path / "arrays.npz"
    np.savez(path, **parts)
    return path


@pytest.fixture
def tiny(arrays) -> dict[str, Any]:
    """An experiment with everything that a resumed run must restore: shuffling, augmentation, dropout, momentum,
    warm-up, and accumulation over 10 batches an epoch of which the last update takes only one."""
    as_tensor = [dict(type="ToImage"), dict(type="ToDtype", dtype="float32", scale=True)]
    return dict(
        model=dict(
            type="ImageClassifier",
            backbone=dict(type="LeNet5"),
            head=dict(type="LinearHead", num_classes=4, dropout=0.2),
        ),
        loss=dict(type="CrossEntropyLoss"),
        optimizer=dict(type="SGD", lr=0.05, momentum=0.9),
        train=dict(
            dataset=dict(type="ArrayFile", path="arrays.npz", split="train"),
            transforms=[dict(type="RandomCrop", size=28, padding=2), *as_tensor],
            batch_size=4,
        ),
        evaluation=dict(
            val=dict(dataset=dict(type="ArrayFile", path="arrays.npz", split="val"), transforms=as_tensor, batch_size=5)
        ),
        metrics=dict(top1=dict(type="Accuracy"), top2=dict(type="Accuracy", top_k=2)),
        hooks=dict(
            device_placement=dict(type="DevicePlacement", device="cpu"),
            evaluation=dict(type="Evaluation", every="1ep"),
            lr_schedule=dict(
                type="LRSchedule", scheduler=dict(type="CosineAnnealingLR", T_max="100%"), warmup=3, by="step"
            ),
            checkpoint=dict(type="Checkpoint", every=2, best="val/top1", keep=2),
        ),
        accumulate=3,
        clip_norm=1.0,
        duration="3ep",
    )


@pytest.fixture
def tool(tmp_path):
    """Run a tool in a process of its own, as a user does."""

    def run(name: str, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=timeout)

    return run


def fingerprint(path: Path) -> str:
    """SHA-256 over the model's state in a checkpoint, and over its average's: sorted names and bytes."""
    saved = torch.load(path, weights_only=True)
    state = dict(saved["model"])
    for name, hook in saved["hooks"].items():
        state |= {f"hooks.{name}.{key}": value for key, value in hook.get("model", {}).items()}
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + state[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


@pytest.fixture(name="fingerprint")
def fingerprint_fixture():
    return fingerprint


def differences(first: Any, second: Any, path: str = "") -> list[str]:
    """The places where two states are not the same to the bit."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        same = first.dtype == second.dtype and torch.equal(first, second)
    elif isinstance(first, dict) and isinstance(second, dict):
        keys = dict.fromkeys([*first, *second])
        return [each for key in keys for each in differences(first.get(key), second.get(key), f"{path}.{key}")]
    elif isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)) and len(first) == len(second):
        pairs = enumerate(zip(first, second, strict=True))
        return [each for number, pair in pairs for each in differences(*pair, f"{path}.{number}")]
    else:
        same = type(first) is type(second) and first == second
    return [] if same else [path.removeprefix(".")]


@pytest.fixture(name="differences")
def differences_fixture():
    return differences


@pytest.fixture
def forked():
    """Start a function in a process of its own, a copy of this one, which has spent the seconds of importing torch.

    Returns the process's id. It ends with status 0 after the function, with 1 after an exception, which it prints, and
    is killed after the test if it is still there.
    """
    children = []

    def start(function: Callable[[], object]) -> int:
        child = os.fork()
        if child:
            children.append(child)
            return child
        status = 1
        try:
            function()
            status = 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(Exception):  # whatever has become of it: this process must not go on as a test run
                sys.stdout.flush()
            os._exit(status)

    yield start
    for child in children:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


@pytest.fixture
def figure(record_property):
    """What a test of a case of failure (`row`) has measured, in words: `figure("50 of 50 kills left a whole file")`."""
    return lambda text: record_property("figure", text)


class Launcher:
    """Tools in processes of their own, forked from one that has imported torch: each a group that can be signalled."""

    def __init__(self) -> None:
        command = [sys.executable, str(ROOT / "tests/launcher.py")]
        self.server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, *arguments: str, folder: Path, output: str) -> int:
        return self._ask({"arguments": [str(each) for each in arguments], "folder": str(folder), "output": output})

    def wait(self, process: int) -> int:
        return self._ask({"wait": process})

    def _ask(self, question: dict[str, Any]) -> int:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(question) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())


@pytest.fixture(scope="session")
def launcher():
    launcher = Launcher()
    yield launcher
    launcher.server.kill()
    launcher.server.wait()


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What Knoll's log says meanwhile."""
    lines: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler = Collect()
    logging.getLogger("knoll").addHandler(handler)
    yield lines
    logging.getLogger("knoll").removeHandler(handler)
