"""What is said of a run that fails: lack of memory, a full disk, a mistake in a hook."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from knoll.hooks.hook import Hook
from knoll.registry import HOOKS, UserError
from knoll.runner import Runner
from knoll.runner.saving.checkpoint import load, newest
from knoll.tools import cli, train


class Scarce(Hook):
    """From a step on, this process may have no more memory than it has, but for 20 MB.

    What earlier tests gave back to this process, not to the system, is taken first: it is enough for many steps.
    """

    only_records = True

    def before_iter(self, runner) -> None:
        if runner.step == 1:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 20 * 2**20, before[1]))
            self.taken = []
            with suppress(RuntimeError):  # torch's word for it on the CPU
                while True:
                    self.taken.append(torch.empty(2**20, dtype=torch.uint8))
            del self.taken[:20]


class Mistaken(Hook):
    only_records = True

    def end_iter(self, runner) -> None:
        if runner.step == 4:
            raise AttributeError("a mistake of mine")


before = resource.getrlimit(resource.RLIMIT_AS)


@pytest.fixture(autouse=True)
def hooks():
    for hook in (Scarce, Mistaken):
        HOOKS.register_module(module=hook)
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)
    for hook in (Scarce, Mistaken):
        del HOOKS.module_dict[hook.__name__]


@pytest.fixture
def command(tiny, working_directory, capsys):
    """`knoll train tiny.yaml --work-dir run ...` in this process: exit status, standard output, standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        Path("tiny.yaml").write_text(yaml.safe_dump(tiny))
        capsys.readouterr()
        status = cli.run(train.main, ["tiny.yaml", "--work-dir", "run", *arguments])
        return status, *capsys.readouterr()

    return call


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_a_batch_that_does_not_fit_into_memory(tiny, command):
    """Really: 4000 images in a batch, and 20 MB for them: the first convolution alone needs 75."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (8000, 28, 28), dtype=np.uint8)
    np.savez("many.npz", train_images=images, train_labels=np.arange(8000) % 4)
    tiny["train"] |= dict(dataset=dict(type="ArrayFile", path="many.npz"), batch_size=4000, transforms=[])
    tiny["train"]["transforms"] = [dict(type="ToImage"), dict(type="ToDtype", dtype="float32", scale=True)]
    tiny["hooks"] = dict(checkpoint=dict(type="Checkpoint", every=1), scarce=dict(type="Scarce"))
    tiny |= dict(accumulate=1, evaluation={}, metrics={}, duration=4)
    tiny["model"]["head"]["dropout"] = 0.0
    status, said, error = command()
    assert status == 2
    assert "error: not enough memory in step 2 of 4, on cpu, with train.batch_size=4000: " in error
    assert "Lower the batch size; in training raise `accumulate` by as much" in error
    assert "Traceback" not in error
    assert error.count("\n") < 9
    assert "the run ended in step 2 of 4" in said
    saved = newest(Path("run"))
    assert saved is not None
    assert f"--resume continues from {saved}" in said
    assert load(saved)["step"] == 1
    resource.setrlimit(resource.RLIMIT_AS, before)
    assert Runner(tiny, "run", resume=saved).step == 1


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"), np.zeros]
)
def test_other_ways_to_lack_memory(tiny, monkeypatch, error):
    """In the loader it comes wrapped in an error about a sample."""
    runner = Runner(tiny, "run")

    def fail(*_):
        if error is np.zeros:
            np.zeros(2**45)  # numpy's own error
        try:
            raise error
        except Exception as cause:
            raise UserError("the transforms fail on sample 3") from cause

    monkeypatch.setattr(runner.update, "step", fail)
    with pytest.raises(UserError, match=r"not enough memory in step 1 of 12, on cpu, with train.batch_size=4, eval"):
        runner.train()


def test_a_mistake_in_a_hook_keeps_its_traceback_and_says_what_was_saved(tiny, command, capsys):
    tiny["hooks"]["mistaken"] = dict(type="Mistaken")
    with pytest.raises(AttributeError, match="a mistake of mine"):
        command()
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == (
        "the run ended after step 4 of 12, by AttributeError; --resume continues from run/checkpoints/step_00000004.pt"
    )
    assert said in Path("run/log.txt").read_text()


@pytest.fixture
def disk():
    """A file system of 3 MiB."""
    folder = Path(tempfile.mkdtemp())
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"a file system can not be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


class Fills(Hook):
    """Lets the disk run full in the middle of a run."""

    only_records = True

    def before_iter(self, runner) -> None:
        if runner.step == 5:
            with open(runner.work_dir / "fill", "wb", buffering=0) as file:
                for size in (2**16, 1):
                    with suppress(OSError):
                        while True:
                            file.write(bytes(size))


@pytest.fixture
def filling(tiny, disk, monkeypatch):
    """A run on a small disk, of 2000 steps that are saved only at their end."""
    monkeypatch.setitem(HOOKS.module_dict, "Fills", Fills)
    os.symlink(disk, "run")
    del tiny["hooks"]["evaluation"]
    tiny["hooks"] |= dict(fills=dict(type="Fills"), checkpoint=dict(type="Checkpoint", every="100%"))
    return tiny | dict(evaluation={}, metrics={}, duration=2000)


@pytest.mark.parametrize(
    ("recorder", "named"), [("JSONLog", "run/log.jsonl"), ("TensorBoard", "run/tensorboard/train")]
)
def test_a_disk_that_runs_full_while_figures_are_written(tiny, filling, command, recorder, named):
    tiny.clear()
    tiny |= filling
    tiny["hooks"]["recorder"] = dict(type=recorder, every=1)
    status, _, error = command()
    assert status == 2
    assert "Traceback" not in error
    assert f"{named}: No space left on device: make room there" in error
    assert error.count("\n") < 9
