"""`test` under torchrun: several processes measure a checkpoint together."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from knoll.runner import Runner
from knoll.tools import test as tool


def measure(*arguments: str) -> int:
    status = tool.main(["last.pt", "--device", "cpu", *arguments])
    sys.stdout.flush()  # a fork ends without
    return status


@pytest.fixture
def trained(tiny) -> dict[str, Any]:
    """18 images in batches of 5, so that in two processes and in three some have none left for a round; two sets."""
    tiny["evaluation"]["again"] = tiny["evaluation"]["val"] | dict(batch_size=3)
    tiny["hooks"]["ema"] = dict(type="EMA", decay=0.5)
    tiny["metrics"]["auroc"] = dict(type="torchmetrics/MulticlassAUROC")
    Runner(tiny | dict(duration=2), "run").train()
    Path("last.pt").symlink_to("run/checkpoints/last.pt")
    return tiny


@pytest.mark.row(45)
@pytest.mark.parametrize("ema", ["--ema", "--no-ema"])
def test_the_figures_and_the_predictions_are_those_of_one_process(trained, processes, capfd, figure, ema):
    assert measure("--out", "one.csv", ema) == 0
    wanted = capfd.readouterr().out.replace("one.csv", "parts.csv")
    assert wanted.count("/auroc: ") == 2
    same = []
    for count in (2, 3):
        Path("parts.csv").unlink(missing_ok=True)
        found = processes(count, measure, "--out", "parts.csv", ema)
        assert [each.status for each in found] == [0] * count, found
        same.append(capfd.readouterr().out == wanted and Path("parts.csv").read_text() == Path("one.csv").read_text())
    figure(
        f"test under torchrun, {ema}: with 2 and with 3 processes what is printed and the CSV are those of one: {same}"
    )
    assert same == [True, True]


def test_processes_that_see_other_data_are_refused(trained, processes, tmp_path):
    found = processes(2, of_the_second)
    assert [each.status for each in found] == [1, 1]
    assert "differ in the number of images of again: 18 in process 0, 17 in process 1" in found[0].value


def of_the_second() -> None:
    overrides = []
    if os.environ["RANK"] == "1":
        with np.load("arrays.npz") as arrays:
            parts = dict(arrays)
        np.savez("others.npz", val_images=parts["val_images"][:-1], val_labels=parts["val_labels"][:-1])
        overrides = ["evaluation.again.dataset.path=others.npz"]
    measure(*overrides)
