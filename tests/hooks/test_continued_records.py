"""Figures of a run that was killed and continued: the curves of one that was not."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from knoll.hooks import json_log
from knoll.hooks.hook import Hook
from knoll.registry import HOOKS
from knoll.runner import Runner
from knoll.runner.saving.checkpoint import newest

TIMED = "images_per_second"


class EndAt(Hook):
    """Ends the process, once, at a point of the step after `step` that is done."""

    only_records = True

    def __init__(self, step: int, point: str, number: int = 9) -> None:
        self.step, self.point, self.number = step, point, number

    def _at(self, runner, point: str) -> None:
        if (runner.step, point) == (self.step, self.point) and not Path("ended").exists():
            Path("ended").touch()
            runner.saver.wait()  # what was begun to be saved is
            os.kill(os.getpid(), self.number)

    def before_iter(self, runner) -> None:
        self._at(runner, "before_iter")

    def after_iter(self, runner) -> None:
        self._at(runner, "after_iter")

    def end_iter(self, runner) -> None:
        self._at(runner, "end_iter")


@pytest.fixture
def recording(tiny):
    """12 steps, 4 an epoch; saved every 3, recorded every 4: a checkpoint holds what was gathered since a record."""
    HOOKS.register_module(module=EndAt)
    tiny["hooks"] |= dict(tensorboard=dict(type="TensorBoard", every=4), json_log=dict(type="JSONLog", every=4))
    tiny["hooks"]["checkpoint"] |= dict(every=3, keep=9, best=None)
    yield tiny
    del HOOKS.module_dict["EndAt"]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """As TensorBoard itself reads them: every tag of every set."""
    found = {}
    for part in sorted(folder.glob("tensorboard/*")):
        events = EventAccumulator(str(part), size_guidance=dict(scalars=0, tensors=0))
        events.Reload()
        for tag in events.Tags()["scalars"]:
            found[f"{part.name}/{tag}"] = [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["tensors"]:
            steps = [event.step for event in events.Tensors(tag)]
            assert steps == sorted(set(steps)), f"{tag}: {steps}"
    return found


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def untimed(lines: list[dict]) -> list[dict]:
    return [{key: value for key, value in line.items() if key != TIMED} for line in lines]


def moved(config: dict, name: str, before: str) -> dict:
    """The config with one hook before another: the order says who is called first."""
    hooks = {key: hook for key, hook in config["hooks"].items() if key != name}
    at = list(hooks).index(before)
    items = list(hooks.items())
    return config | dict(hooks=dict([*items[:at], (name, config["hooks"][name]), *items[at:]]))


@pytest.mark.row(10)
@pytest.mark.parametrize(
    ("end", "before"),
    [
        (dict(step=8, point="before_iter"), None),  # two steps after the checkpoint of step 6, everything recorded
        (dict(step=9, point="end_iter"), "tensorboard"),  # after that step was saved, before it was recorded
        (dict(step=12, point="end_iter"), "tensorboard"),  # the same at the end of the run
        (dict(step=12, point="end_iter"), "checkpoint"),
        (dict(step=8, point="after_iter", number=15), "evaluation"),  # stopped in the evaluation
        (dict(step=12, point="after_iter", number=15), "evaluation"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else str(value),
)
def test_the_curves_are_those_of_an_uninterrupted_run(recording, forked, working_directory, figure, end, before):
    Runner(recording, "whole").train()
    ending = recording | dict(hooks=recording["hooks"] | dict(ending=dict(type="EndAt", **end)))
    ending = moved(ending, "ending", before) if before else ending
    status = os.waitpid(forked(lambda: Runner(ending, "run").train()), 0)[1]
    assert os.waitstatus_to_exitcode(status) == (143 if "number" in end else -signal.SIGKILL)
    Runner(ending, "run", resume=newest(Path("run"))).train()

    whole, continued = scalars(Path("whole")), scalars(Path("run"))
    assert set(continued) == set(whole)
    assert sorted(each.name for each in Path("run/tensorboard").iterdir()) == ["train", "val"]
    points = 0
    for tag, curve in continued.items():
        steps = [step for step, _ in curve]
        assert steps == sorted(set(steps)), tag
        if tag.endswith(TIMED):  # none where all was gathered before the run was continued
            assert set(steps) <= {step for step, _ in whole[tag]}
        else:
            assert curve == whole[tag], tag
            points += len(curve)
    assert untimed(records(Path("run"))) == untimed(records(Path("whole")))
    assert points == 3 * (4 + 3)  # loss, learning rate and two metrics of training; loss and two metrics of validation
    figure(f"{points} points of {len(continued)} curves equal those of an uninterrupted run to the bit")


@pytest.mark.row(10)
def test_saved_when_one_of_two_recorders_had_its_turn(recording, forked):
    """Both look as often, so what training came to is computed once, for both."""
    ordered = moved(recording, "checkpoint", "json_log")
    assert list(ordered["hooks"])[-3:] == ["tensorboard", "checkpoint", "json_log"]
    Runner(ordered, "whole").train()
    ending = ordered | dict(hooks=ordered["hooks"] | dict(ending=dict(type="EndAt", step=12, point="end_iter")))
    ending = moved(ending, "ending", "json_log")
    os.waitpid(forked(lambda: Runner(ending, "run").train()), 0)
    assert records(Path("run"))[-1]["step"] == 8
    Runner(ending, "run", resume=newest(Path("run"))).train()
    assert untimed(records(Path("run"))) == untimed(records(Path("whole")))


def test_recorders_that_look_as_often_compute_once(recording):
    recording["hooks"]["another"] = dict(type="JSONLog", every=3)
    runner = Runner(recording, "run")
    runner.train()
    windows = [runner.hooks.by_name[name].window for name in ("tensorboard", "json_log", "another")]
    assert windows[0] is windows[1]
    assert windows[0] is not windows[2]


def fail_at(step: int, runner: Runner) -> None:
    """Train until a step fails."""
    update = runner.update.step
    runner.update.step = lambda: 1 / 0 if runner.step == step else update()
    with pytest.raises(ZeroDivisionError):
        runner.train()


@pytest.mark.row(10)
def test_a_clock_that_was_set_back_mixes_no_curves(recording, monkeypatch, figure):
    """TensorBoard reads files in the order of their names, and a file is named by the time it was begun."""
    Runner(recording, "whole").train()
    now = time.time
    fail_at(6, Runner(recording, "run"))
    monkeypatch.setattr(time, "time", lambda: now() - 3600)
    fail_at(9, Runner(recording, "run", resume="run/checkpoints/step_00000003.pt"))
    monkeypatch.setattr(time, "time", lambda: now() - 7200)
    Runner(recording, "run", resume="run/checkpoints/step_00000006.pt").train()
    whole, continued = scalars(Path("whole")), scalars(Path("run"))
    tags = [tag for tag in whole if not tag.endswith(TIMED)]
    assert [continued[tag] for tag in tags] == [whole[tag] for tag in tags]
    figure(f"{len(tags)} curves whole after the clock was set back twice")


@pytest.mark.row(10)
def test_an_event_that_a_kill_cut_off_hides_nothing_that_comes_later(recording):
    Runner(recording, "whole").train()
    fail_at(8, Runner(recording, "run"))
    for events in Path("run/tensorboard").glob("*/events*"):
        there = events.read_bytes()
        length = int.from_bytes(there[:8], "little") + 16  # length, its checksum, the event, its checksum
        events.write_bytes(there + there[: length - 5])
    Runner(recording, "run", resume="run/checkpoints/step_00000006.pt").train()
    whole, continued = scalars(Path("whole")), scalars(Path("run"))
    tags = [tag for tag in whole if not tag.endswith(TIMED)]
    assert [continued[tag] for tag in tags] == [whole[tag] for tag in tags]


@pytest.mark.row(10)
def test_a_line_that_a_kill_cut_off_goes(working_directory):
    path = working_directory / "log.jsonl"
    lines = [json.dumps(dict(step=step, set="train", loss=0.5)) for step in range(1, 9)]
    for cut in range(len(lines[-1])):
        path.write_text("".join(f"{line}\n" for line in lines[:-1]) + lines[-1][:cut])
        json_log._drop_after(path, 8)
        assert path.read_text().splitlines() == lines[:-1]
    path.write_text("\n".join(lines))  # the line break alone is missing
    json_log._drop_after(path, 8)
    assert path.read_text() == "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_the_log_is_whole_at_every_moment_of_being_written_anew(working_directory, monkeypatch, name):
    path = working_directory / "log.jsonl"
    text = "".join(json.dumps(dict(step=step)) + "\n" for step in range(8))
    path.write_text(text)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, name, killed)
        with pytest.raises(KeyboardInterrupt):
            json_log._drop_after(path, 4)
    assert path.read_text() == text
    json_log._drop_after(path, 4)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [0, 1, 2, 3, 4]


def test_a_metric_that_keeps_all_predictions_is_not_in_the_checkpoint(recording):
    """It begins anew, as the docstring says; what counts goes on."""
    recording["metrics"]["auroc"] = dict(type="torchmetrics/MulticlassAUROC")
    recording["hooks"]["json_log"]["every"] = 8
    Runner(recording, "run").train()
    whole = records(Path("run"))
    resumed = Runner(recording, "run", resume="run/checkpoints/step_00000006.pt")
    assert set(resumed.hooks.by_name["json_log"]._gathered["metrics"]) == {"top1", "top2"}
    resumed.train()
    at_8 = [
        [line for line in lines if line["set"] == "train" and line["step"] == 8]
        for lines in (whole, records(Path("run")))
    ]
    assert [line[0]["top1"] for line in at_8] == [at_8[0][0]["top1"]] * 2
    assert [line[0]["loss"] for line in at_8] == [at_8[0][0]["loss"]] * 2


def test_metrics_may_change_between(recording):
    Runner(recording, "run").train()
    recording["metrics"]["top1"] = dict(type="torchmetrics/MulticlassF1Score", average="macro")
    recording["metrics"]["top3"] = dict(type="Accuracy", top_k=3)
    Runner(recording, "run", resume="run/checkpoints/step_00000006.pt").train()
    assert 0 <= records(Path("run"))[-1]["top3"] <= 1
