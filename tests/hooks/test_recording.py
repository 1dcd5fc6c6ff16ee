"""What the recording hooks write."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from knoll.hooks.hook import Hook, Hooks
from knoll.hooks.tensorboard import TensorBoard
from knoll.runner import Runner


def scalars(folder) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder), size_guidance=dict(scalars=0))
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.fixture
def recording(tiny):
    tiny["hooks"] |= dict(tensorboard=dict(type="TensorBoard", every=2), json_log=dict(type="JSONLog", every=1))
    return tiny


def test_tensorboard_has_training_and_validation_under_the_same_tags(recording, working_directory):
    losses = []

    runner = Runner(recording, "run")
    step = runner.update.step
    runner.update.step = lambda: (losses.append(float(runner.loss)), step())
    metrics = runner.train()
    train = scalars(working_directory / "run/tensorboard/train")
    val = scalars(working_directory / "run/tensorboard/val")

    assert {"loss", "top1", "top2"} <= set(train) & set(val)
    assert [at for at, _ in train["loss"]] == [2, 4, 6, 8, 10, 12]
    means = [(losses[i] + losses[i + 1]) / 2 for i in range(0, 12, 2)]
    assert [value for _, value in train["loss"]] == pytest.approx(means)
    assert [at for at, _ in val["top1"]] == [4, 8, 12]
    assert val["top1"][-1][1] == pytest.approx(metrics["val/top1"])
    assert train["learning_rate"][-1][1] == pytest.approx(runner.learning_rate)
    assert all(value > 0 for _, value in train["images_per_second"])


def test_a_resumed_run_continues_its_curves(recording, working_directory):
    """What was recorded after the checkpoint is recorded once, not twice."""
    recording["hooks"]["checkpoint"]["keep"] = 9
    Runner(recording, "run").train()
    whole = [json.loads(line) for line in (working_directory / "run/log.jsonl").read_text().splitlines()]
    Runner(recording, "run", resume="run/checkpoints/step_00000006.pt").train()
    again = [json.loads(line) for line in (working_directory / "run/log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in again] == [record["step"] for record in whole]
    assert [record["loss"] for record in again] == pytest.approx([record["loss"] for record in whole])
    for part in ("train", "val"):
        for tag, points in scalars(working_directory / "run/tensorboard" / part).items():
            steps = [at for at, _ in points]
            assert steps == sorted(set(steps)), tag


def test_json_lines_name_the_data_of_every_figure(recording, working_directory):
    Runner(recording, "run").train()
    records = [json.loads(line) for line in (working_directory / "run/log.jsonl").read_text().splitlines()]
    val = [record for record in records if record["set"] == "val"]
    assert [record["epoch"] for record in val] == [1.0, 2.0, 3.0]
    assert set(val[0]) == {"step", "epoch", "set", "loss", "top1", "top2", "data"}
    assert {record["data"] for record in records} == {"arrays"}


def test_plain_lines_where_there_is_no_terminal(tiny, capsys):
    tiny["hooks"]["progress_bar"] = dict(type="ProgressBar", seconds=0)
    Runner(tiny, "run").train()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch") and "left" in line]
    assert len(lines) == 12
    assert lines[-1].startswith("epoch 3/3  step 12/12  loss ")
    assert "img/s" in lines[-1]


def test_a_bar_on_a_terminal(tiny, working_directory):
    """In a real pseudo-terminal: the bar is drawn, and the log's lines stay whole above it."""
    import os
    import pty
    import sys

    import yaml

    (working_directory / "tiny.yaml").write_text(yaml.safe_dump(tiny | dict(duration="6ep")))
    code = (
        "from knoll.runner import Runner; from knoll.registry import load_config; "
        "Runner(load_config('tiny.yaml', ['hooks.progress_bar.type=ProgressBar']), 'run').train()"
    )
    read: list[bytes] = []

    def reader(handle: int) -> bytes:
        read.append(os.read(handle, 4096))
        return read[-1]

    stdout = os.dup(1)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            status = pty.spawn([sys.executable, "-c", code], reader)
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
    shown = b"".join(read).decode()
    assert status == 0, shown
    assert "24/24" in shown
    assert "epoch 6/6  step 24  val: loss" in shown


def test_only_overridden_methods_are_called():
    class Counts(Hook):
        def __init__(self) -> None:
            self.count = 0

        def after_iter(self, runner) -> None:
            self.count += 1

    counts = Counts()
    hooks = Hooks(dict(counts=counts, nothing=Hook()))
    assert {point: len(methods) for point, methods in hooks._methods.items() if methods} == {"after_iter": 1}
    hooks.call("after_iter", None)
    assert counts.count == 1


def test_states_are_kept_under_the_names_of_the_config():
    class Keeps(Hook):
        value = 0

        def state_dict(self):
            return dict(value=self.value)

        def load_state_dict(self, state):
            self.value = state["value"]

    first, second = Keeps(), Keeps()
    first.value, second.value = 1, 2
    state = Hooks(dict(a=first, b=second, c=Hook())).state_dict()
    assert state == dict(a=dict(value=1), b=dict(value=2))
    restored = Hooks(dict(b=Keeps(), a=Keeps()))
    restored.load_state_dict(state)
    assert [restored.by_name[name].value for name in "ab"] == [1, 2]


def test_tensorboard_wakes_its_thread_once_a_second_and_for_every_evaluation(tiny, monkeypatch):
    """What waits is written in order; what could not be written waits on."""
    hook = TensorBoard()
    runner: Any = SimpleNamespace(step=0)
    hook.folder, written = Path("tensorboard"), []

    class Writer:
        full = False

        def add_summary(self, summary, step, when):
            if self.full:
                raise OSError(28, "No space left on device")
            written.append((step, {value.tag: value.simple_value for value in summary.value}))

        def flush(self): ...

    writer = Writer()
    hook.writers = {name: SimpleNamespace(file_writer=writer, flush=writer.flush) for name in ("train", "val")}
    clock = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def record(name, step, value):
        runner.step = step
        hook.record(runner, name, {"loss": value})

    record("train", 1, 0.5)
    record("train", 2, 0.25)
    assert written == [(1, {"loss": 0.5})]
    record("val", 2, 0.125)
    assert written[1:] == [(2, {"loss": 0.25}), (2, {"loss": 0.125})]
    record("train", 3, 1.0)
    assert len(written) == 3
    clock[0] += 1.5
    record("train", 4, 2.0)
    assert [step for step, _ in written] == [1, 2, 2, 3, 4]
    record("train", 5, 4.0)
    writer.full = True
    hook.state_dict()
    writer.full = False
    hook.state_dict()
    assert [step for step, _ in written] == [1, 2, 2, 3, 4, 5]
