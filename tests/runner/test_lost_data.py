"""What happens when data stops coming in the middle of a run, and when an epoch ends in a single image."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
import yaml

from knoll.datasets.loading import workers
from knoll.datasets.loading.loader import TrainLoader
from knoll.datasets.samplers import Shuffled
from knoll.registry import UserError
from knoll.runner import Runner
from knoll.runner.saving.checkpoint import load

DATA = '''
import os, pathlib, signal
from torch.utils.data import get_worker_info
from knoll.datasets.layouts.array_file import ArrayFile
from knoll.registry import DATASETS, UserError

@DATASETS.register_module()
class Failing(ArrayFile):
    """Once, in the second epoch: what the out-of-memory killer does to a worker, or an image that cannot be read."""
    reads = 0
    def __init__(self, path, split, how):
        super().__init__(path, split)
        self.how = how
    def __getitem__(self, index):
        type(self).reads += 1
        if index == 17 and self.reads > 30 and not pathlib.Path("failed").exists():
            pathlib.Path("failed").touch()
            if self.how == "error":
                raise UserError("17.jpg cannot be read")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)
'''


@pytest.fixture
def write_config(tiny, working_directory):
    """The tiny experiment, saved only at the end, over data that fails."""
    (working_directory / "plugins").mkdir()
    (working_directory / "plugins/failing.py").write_text(DATA)
    tiny["train"]["dataset"] = dict(type="Failing", path="arrays.npz", split="train", how="error")
    tiny["hooks"]["checkpoint"]["every"] = "100%"
    (working_directory / "tiny.yaml").write_text(yaml.safe_dump(tiny | dict(plugins=["plugins"])))


@pytest.mark.row(32)
@pytest.mark.parametrize(
    ("how", "num_workers", "message"),
    [
        ("kill", 1, "a process that reads data is gone"),
        ("error", 0, "17.jpg cannot be read"),
        ("error", 1, "17.jpg cannot be read"),
    ],
)
@pytest.mark.usefixtures("write_config")
def test_what_was_done_is_saved_and_the_run_goes_on_from_there(
    tool, working_directory, fingerprint, how, num_workers, message
):
    failed = tool(
        "train", "tiny.yaml", f"train.dataset.how={how}", f"train.num_workers={num_workers}", "--work-dir", "run"
    )
    assert failed.returncode == 2
    assert message in failed.stderr
    assert "Traceback" not in failed.stderr
    last = working_directory / "run/checkpoints/last.pt"
    step = load(last)["step"]
    assert 0 < step < 12
    assert f"step_{step:08d}.pt" in failed.stdout
    resumed = tool("train", "tiny.yaml", f"train.dataset.how={how}", "--work-dir", "run", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    whole = tool("train", "tiny.yaml", f"train.dataset.how={how}", "--work-dir", "whole")
    assert whole.returncode == 0, whole.stderr
    assert fingerprint(last) == fingerprint(working_directory / "whole/checkpoints/last.pt")


class Sleeping:
    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index == 5:
            time.sleep(60)
        return torch.zeros(1, 4, 4), 0


@pytest.mark.row(32)
def test_a_worker_that_hangs_is_an_error_after_the_timeout(monkeypatch, figure):
    """The default is five minutes; here one second."""
    assert 60 <= workers.TIMEOUT <= 600
    monkeypatch.setattr(workers, "TIMEOUT", 1.0)
    data = Sleeping()
    loader = TrainLoader(data, [], Shuffled(data, 0), batch_size=2, drop_last=True, num_workers=1, seed=0)
    start = time.monotonic()
    with pytest.raises(UserError, match=r"no worker has delivered a batch for 1 seconds.*num_workers=0"):
        list(loader.batches(0, 4))
    taken = time.monotonic() - start
    figure(f"a worker that hangs: an error after {taken:.1f} s, by a timeout of {workers.TIMEOUT:.0f} s")
    assert taken < 20


@pytest.mark.row(34)
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("images", [7, 8, 9])
def test_an_epoch_that_ends_in_one_image_trains_with_batch_norm(tiny, working_directory, images, drop_last, figure):
    """Batches of 4 and 7, 8 or 9 images: the number of batches is that of the formula, none has one image alone."""
    rng = np.random.default_rng(0)
    np.savez(
        working_directory / "few.npz",
        train_images=rng.integers(0, 256, (images, 28, 28), dtype=np.uint8),
        train_labels=np.arange(images) % 4,
    )
    tiny["model"]["backbone"] = dict(type="timm/resnet10t", in_chans=1)
    tiny["train"] |= dict(dataset=dict(type="ArrayFile", path="few.npz"), drop_last=drop_last)
    sizes = []
    runner = Runner(tiny | dict(accumulate=1, evaluation={}, metrics={}, duration="1ep", hooks={}), "run")
    for batch in runner.train_loader.batches(0, runner.train_loader.batches_per_epoch):
        sizes.append(len(batch.labels))
    runner.train()
    assert len(sizes) == (images // 4 if drop_last else -(-images // 4)) == runner.step
    assert sum(sizes) == (images // 4 * 4 if drop_last else images)
    figure(f"{images} images by 4, drop_last={drop_last}: batches of {', '.join(map(str, sizes))}")
    assert min(sizes) > 1
