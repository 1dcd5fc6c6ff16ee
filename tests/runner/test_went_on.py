"""What is said, or refused, where a run would otherwise go on in silence as another one."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from knoll.hooks.hook import Hook
from knoll.registry import HOOKS, METRICS, UserError
from knoll.runner import Runner
from knoll.runner.metrics import MetricSet
from knoll.runner.processes.distributed import World
from knoll.runner.saving import saver
from knoll.runner.saving.checkpoint import load
from knoll.runner.stopping import Stopping
from knoll.tools import cli, train

LAST = "run/checkpoints/last.pt"


@HOOKS.register_module()
class RaisesAfterEval(Hook):
    def __init__(self, step: int) -> None:
        self.step = step

    def after_eval(self, runner, metrics) -> None:
        if runner.step == self.step:
            raise RuntimeError


@pytest.fixture
def stopped_in_evaluation(tiny, monkeypatch) -> dict:
    """The run of `tiny`, stopped in its first evaluation, after step 4: its state."""
    tiny["hooks"]["checkpoint"] |= dict(every=99)
    with monkeypatch.context() as patch:
        patch.setattr(Runner, "evaluate", lambda runner: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            Runner(tiny, "run").train()
    state = load(LAST)
    assert (state["step"], state["left"]) == (4, ["evaluation", "lr_schedule"])
    return state


def test_an_error_after_an_evaluation_is_not_saved_for_some_hooks_have_acted_on_it(tiny):
    tiny["hooks"] |= dict(raises=dict(type="RaisesAfterEval", step=8))
    tiny["hooks"]["checkpoint"] |= dict(every=3, keep=9)
    with pytest.raises(RuntimeError):
        Runner(tiny, "run").train()
    assert load(LAST)["step"] == 6


@pytest.mark.usefixtures("stopped_in_evaluation")
def test_workers_are_started_when_nothing_is_being_written(tiny, monkeypatch):
    """A process that is forked while a thread writes has that thread's locks."""
    tiny["hooks"]["checkpoint"] |= dict(every=1)
    written = []
    save = saver.save_step
    monkeypatch.setattr(saver, "save_step", lambda *all: (time.sleep(0.5), save(*all), written.append(all[0]["step"])))
    resumed = Runner(tiny, "run", resume=LAST)
    batches, at_first_batch = resumed.train_loader.batches, []

    def watched(*arguments):
        for batch in batches(*arguments):
            at_first_batch.append(list(written))
            yield batch

    monkeypatch.setattr(resumed.train_loader, "batches", watched)
    resumed.train()
    assert at_first_batch[0] == [4]


@pytest.mark.usefixtures("stopped_in_evaluation")
def test_torch_raises_no_false_alarm_about_the_schedule(tiny):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Runner(tiny, "run", resume=LAST).train()


@pytest.mark.usefixtures("stopped_in_evaluation")
def test_a_hook_that_had_not_acted_and_is_gone_is_named(tiny, logged):
    tiny["hooks"]["measuring"] = tiny["hooks"].pop("evaluation")
    Runner(tiny, "run", resume=LAST).train()
    assert any("before the hook evaluation had acted in step 4" in line for line in logged)


def test_a_runner_trains_once(tiny):
    runner = Runner(tiny | dict(duration=2), "run")
    runner.train()
    with pytest.raises(UserError, match=r"a Runner trains once.*Runner\(config, 'run', resume='run/checkpoints/last.p"):
        runner.train()


def test_other_labels_of_as_many_images_are_refused(tiny):
    Runner(tiny | dict(duration=2), "run").train()
    with np.load("arrays.npz") as arrays:
        parts = dict(arrays)
    parts["train_labels"] = parts["train_labels"][::-1]
    np.savez("arrays.npz", **parts)
    with pytest.raises(UserError, match="trained on other data: as many images"):
        Runner(tiny | dict(duration=2), "run", resume=LAST)


def test_a_time_limit_outside_the_main_thread_is_refused_before_anything_is_written(tiny):
    runner, refused = Runner(tiny, "run"), []

    def in_a_thread() -> None:
        try:
            runner.train(time.monotonic() + 60)
        except UserError as error:
            refused.append(str(error))

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert "the main thread" in refused[0]
    assert not Path("run").exists()


def test_a_time_limit_that_no_clock_reaches(capsys):
    with pytest.raises(SystemExit):
        train.main(["config.py", "--time-limit", "999999999999d"])
    assert "'999999999999d' is more than a hundred years" in capsys.readouterr().err


def test_a_metric_that_is_no_module():
    @METRICS.register_module(force=True)
    class Own:
        def __init__(self, num_classes: int) -> None:
            self.images = 0

        def to(self, device) -> Own:
            return self

        def update(self, logits, labels) -> None:
            self.images += len(labels)

        def compute(self) -> int:
            return self.images

        def reset(self) -> None:
            self.images = 0

    metrics = MetricSet(dict(own=dict(type="Own")), 3)
    metrics.update(torch.zeros(5, 3), torch.zeros(5, dtype=torch.long))
    assert metrics.compute() == {"own": 5.0}
    assert metrics.state_dict() == {}


@pytest.fixture
def listening():
    """A Stopping that listens to this process's signals."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    made = []

    def listen(**options) -> Stopping:
        made.append(Stopping(**options))
        made[0].listen()
        return made[0]

    yield listen
    made[0].ignore()
    assert before == {each: signal.getsignal(each) for each in before}


def test_one_ctrl_c_after_sigterm_is_the_first(listening, capfd):
    stopping = listening()
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    assert not stopping.in_haste
    assert capfd.readouterr().err.endswith("interrupted: the run ends after this step. Once more ends it at once.\n")
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    assert stopping.in_haste


def test_of_several_processes_the_first_tells_whoever_was_asked(listening, capfd, monkeypatch):
    monkeypatch.setattr(World, "largest", lambda world, asked, save: [int(signal.SIGINT), 0])  # some process was
    for rank, said in ((1, ""), (0, "interrupted: the run ends after this step. Once more ends it at once.\n")):
        stopping = Stopping(World(rank, 2))
        with pytest.raises(KeyboardInterrupt):
            stopping.check()
        assert capfd.readouterr().err == said
    listening(world=World(1, 2))
    os.kill(os.getpid(), signal.SIGINT)
    assert capfd.readouterr().err == ""


def test_without_a_checkpoint_hook_it_is_said_that_nothing_is_saved(listening, capfd, tiny):
    assert Runner(tiny, "run").stopping.saves
    del tiny["hooks"]["checkpoint"]
    assert not Runner(tiny, "run").stopping.saves
    capfd.readouterr()
    stopping = listening(saves=False)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert capfd.readouterr().err == "SIGUSR1: Nothing is saved: the config has no Checkpoint hook.\n"
    assert not stopping.save_now
    os.kill(os.getpid(), signal.SIGTERM)
    assert "Nothing is saved" in capfd.readouterr().err


def test_no_checkpoint_is_named_that_there_is_not(tiny, capsys):
    del tiny["hooks"]["checkpoint"]
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny | dict(duration=1)))
    assert cli.run(train.main, ["tiny.yaml", "--work-dir", "run"]) == 0
    assert "checkpoint:" not in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "said"), [((), "interrupted\n"), (("so",), "interrupted; so\n")])
def test_what_ctrl_c_says_is_the_tool_s(arguments, said, capsys, monkeypatch):
    def tool(_) -> int:
        raise KeyboardInterrupt(*arguments)

    monkeypatch.setattr(cli, "_leave", lambda status: None)
    cli.run(tool, [])
    assert capsys.readouterr().err == said
    monkeypatch.setenv("RANK", "1")
    cli.run(tool, [])
    assert capsys.readouterr().err == ""
