"""What changes the result of a run and what does not: workers, batch size, seed, hooks that record."""

from __future__ import annotations

from pathlib import Path

import pytest

from knoll.registry import UserError
from knoll.runner import Runner
from knoll.runner.saving.checkpoint import newest

LAST = Path("checkpoints/last.pt")


def with_workers(config: dict, workers: int) -> dict:
    return config | dict(train=config["train"] | dict(num_workers=workers))


@pytest.mark.row(22)
def test_two_fresh_runs_are_equal_whatever_the_workers(tiny, fingerprint, figure):
    prints = {}
    for workers in (0, 2):
        Runner(with_workers(tiny, workers), f"run_{workers}").train()
        prints[workers] = fingerprint(Path(f"run_{workers}") / LAST)
    Runner(tiny | dict(seed=1), "other").train()
    other = fingerprint(Path("other") / LAST)
    distinct = {*prints.values()}
    figure(f"0 and 2 workers: {len(distinct)} SHA-256; with a run of another seed {len({*distinct, other})}")
    assert prints[0] == prints[2] != other


@pytest.mark.row(15)
def test_another_number_of_workers_when_resuming(tiny, fingerprint, figure):
    """1, 2 and no workers, one after the other in one run that is broken off in the middle of an epoch each time."""
    Runner(tiny, "whole").train()
    for workers, end in ((1, 5), (2, 9), (0, 12)):
        runner = Runner(with_workers(tiny, workers), "run", resume=newest(Path("run")))
        update = runner.update.step
        runner.update.step = lambda update=update, runner=runner, end=end: 1 / 0 if runner.step == end else update()
        if end < 12:
            with pytest.raises(ZeroDivisionError):
                runner.train()
        else:
            runner.train()
    assert fingerprint(Path("run") / LAST) == fingerprint(Path("whole") / LAST)
    figure("1, 2 and 0 workers in one run: the SHA of a run with none")


def changed(config: dict, path: str, value: object) -> dict:
    """A copy of a config with another value at a path."""
    key, _, rest = path.partition(".")
    return config | {key: changed(config[key], rest, value) if rest else value}


@pytest.mark.row(16)
def test_another_experiment_is_refused_with_both_values(tiny, figure):
    Runner(tiny | dict(duration=4), "run").train()
    changes = {
        "train.batch_size": (4, 2),
        "seed": (0, 7),
        "accumulate": (3, 1),
        "duration": (4, 8),
        "optimizer.lr": (0.05, 0.5),
        "clip_norm": (1.0, None),
        "hooks.lr_schedule.warmup": (3, 2),
        "model.head.dropout": (0.2, 0.1),
        "loss.label_smoothing": ("(not set)", 0.1),
        "precision": ("fp32", "bf16"),
    }
    named = 0
    before = sorted(str(each) for each in Path("run").rglob("*"))
    for path, (was, now) in changes.items():
        with pytest.raises(UserError) as error:
            Runner(changed(tiny | dict(duration=4), path, now), "run", resume="run/checkpoints/last.pt")
        message = str(error.value)
        assert f"{path}: was {was!r}, is {now!r}" in message
        assert message.count("\n") < 9
        named += 1
    assert sorted(str(each) for each in Path("run").rglob("*")) == before
    figure(f"{named} of {len(changes)} changes refused with both values")


@pytest.mark.row(16)
def test_what_only_records_or_reads_may_change_freely(tiny, fingerprint, figure):
    """Logging, saving, measuring, reading: with the same result to the bit."""
    Runner(tiny, "whole").train()
    runner = Runner(tiny, "run")
    update = runner.update.step
    runner.update.step = lambda: 1 / 0 if runner.step == 6 else update()
    with pytest.raises(ZeroDivisionError):
        runner.train()
    hooks = tiny["hooks"] | dict(
        progress_bar=dict(type="ProgressBar", seconds=0),
        tensorboard=dict(type="TensorBoard", every=1),
        json_log=dict(type="JSONLog", every=3),
        checkpoint=dict(type="Checkpoint", every=1, keep=1),
        evaluation=dict(type="Evaluation", every=3),
    )
    other = tiny | dict(hooks=hooks, metrics=dict(top3=dict(type="Accuracy", top_k=3)))
    Runner(with_workers(other, 1), "run", resume=newest(Path("run"))).train()
    assert fingerprint(Path("run") / LAST) == fingerprint(Path("whole") / LAST)
    figure(f"{len(hooks)} hooks, metrics and workers changed: the SHA of the run that kept them")
