"""Loops that take turns each get their own time; a framework that cannot be measured hides no other."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from benchmarks import peers, step, task
from benchmarks.peers.bare import fused, gathered, ordinary
from benchmarks.peers.meter import Meter
from benchmarks.report import Table


def test_the_meter_gives_each_loop_its_own_time_and_nothing_else():
    now, done = [0.0], []

    def other():
        while True:
            now[0] += 50
            done.append("other")
            yield

    meter = Meter(nn.Identity(), other(), every=3, clock=lambda: now[0])
    meter.train()
    for number in range(7):
        meter(torch.zeros(1))
        done.append("own")
        now[0] += 2 + number  # whatever the loop does after the forward pass
        meter.eval()
        meter(torch.zeros(1))  # an evaluation is no step
        meter.train()
    assert meter.own == [2 + 3 + 4, 5 + 6 + 7]
    assert meter.other == [50, 50]
    assert done == [*["own"] * 3, "other", *["own"] * 3, "other", "own"]


def test_the_bare_loops_train_the_same_model_on_the_same_rows():
    torch.manual_seed(0)
    model = task.model()
    images, labels = task.data()
    assert images.shape == (6400, 3072)
    with torch.no_grad():
        before = nn.functional.cross_entropy(model(images), labels)
    for loop in (ordinary(), gathered(), fused()):
        next(loop)
        assert isinstance(trained := loop.gi_frame.f_locals["model"], type(model))
        with torch.no_grad():
            assert nn.functional.cross_entropy(trained(images), labels) < before


def test_a_framework_that_is_missing_or_fails_is_a_row_that_says_so(monkeypatch, capsys):
    def fails(name, turns, clock):
        raise RuntimeError("it asks for\nanother torch")

    monkeypatch.setattr(peers, "PEERS", {"nothing": "no_such_package", "torch_loop": "torch"})
    monkeypatch.setattr(peers, "figures", fails)
    table = Table(loop="<20", us=">6.0f", note="<0")
    peers.compare(table, 1, ["nothing", "torch_loop"])
    out = capsys.readouterr().out
    assert "not installed" in out
    assert "could not be measured: RuntimeError: it asks for another torch" in out
    assert [row["loop"].split()[0] for row in table.rows] == ["no_such_package", "torch"]


def test_every_framework_has_its_file():
    for name in peers.PEERS:
        source = (Path(peers.__file__).parent / f"{name}.py").read_text()
        assert "def train(model: nn.Module, epochs: int, folder: str) -> None:" in source


def test_a_tiny_run_has_a_row_for_each_loop(forked, working_directory):
    def run() -> None:  # in a process of its own: it registers a hook and a data set
        rows = step.main(["--turns", "2", "--peers", "--memory", "0"])
        (working_directory / "rows.json").write_text(json.dumps(rows, default=asdict))

    assert os.waitpid(forked(run), 0)[1] == 0
    rows = json.loads((working_directory / "rows.json").read_text())
    assert [row["loop"] for row in rows] == ["Runner", "DataLoader", "gathered", "gathered, fused"]
    assert rows[1]["ratio"]["median"] == 1
    assert rows[2]["over_gathered"]["median"] == 0
    for row in rows:
        assert row["us"] > 0
        assert row["over"]["low"] <= row["over"]["high"]


def test_another_framework_takes_turns_with_the_bare_loop(forked, working_directory):
    def run() -> None:
        own, bare = peers._measure("timm_loop", 1, "perf_counter")
        (working_directory / "turns.json").write_text(json.dumps([own, bare]))

    assert os.waitpid(forked(run), 0)[1] == 0
    own, bare = json.loads((working_directory / "turns.json").read_text())
    assert len(own) == len(bare) == 2
    assert min(own + bare) > 0
