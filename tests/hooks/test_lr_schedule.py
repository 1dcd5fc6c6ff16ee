"""Learning rates against their formulas."""

from __future__ import annotations

import math

import pytest

from knoll.registry import ConfigError
from knoll.runner import Runner


def rates(tiny, schedule: dict, steps: int = 12, **changes) -> list[float]:
    """The learning rate that each step was made with; 4 steps are an epoch."""
    tiny["hooks"] = dict(lr=dict(type="LRSchedule", **schedule)) | changes
    tiny |= dict(duration=steps)
    tiny["optimizer"] = dict(type="SGD", lr=0.8)
    runner = Runner(tiny, "run")
    seen = []
    step = runner.update.step
    runner.update.step = lambda: (seen.append(runner.learning_rate), step())
    runner.train()
    return seen


def test_cosine_after_warmup_reaches_its_end_with_the_run(tiny):
    got = rates(tiny, dict(scheduler=dict(type="CosineAnnealingLR", T_max="100%"), warmup=4, warmup_start=0.25))
    warmup = [0.8 * (0.25 + 0.75 * step / 4) for step in range(4)]
    cosine = [0.8 * (1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert got == pytest.approx(warmup + cosine)


def test_milestones_in_epochs_by_epoch(tiny):
    scheduler = dict(type="MultiStepLR", milestones=["1ep", "2ep"], gamma=0.1)
    assert rates(tiny, dict(scheduler=scheduler, by="epoch")) == pytest.approx([0.8] * 4 + [0.08] * 4 + [0.008] * 4)


def test_the_same_milestones_by_step_say_the_same(tiny):
    scheduler = dict(type="MultiStepLR", milestones=["1ep", "2ep"], gamma=0.1)
    assert rates(tiny, dict(scheduler=scheduler, by="step")) == pytest.approx([0.8] * 4 + [0.08] * 4 + [0.008] * 4)


def test_whole_numbers_count_in_the_unit(tiny):
    assert rates(tiny, dict(scheduler=dict(type="StepLR", step_size=2, gamma=0.5), by="epoch")) == pytest.approx(
        [0.8] * 8 + [0.4] * 4
    )


def test_a_schedule_of_schedules(tiny):
    scheduler = dict(
        type="SequentialLR",
        milestones=["50%"],
        schedulers=[dict(type="ConstantLR", factor=0.5, total_iters=100), dict(type="ExponentialLR", gamma=0.5)],
    )
    assert rates(tiny, dict(scheduler=scheduler)) == pytest.approx([0.4] * 6 + [0.8 * 0.5**k for k in range(6)])


def test_timms_cosine(tiny):
    scheduler = dict(type="timm/CosineLRScheduler", t_initial="100%", warmup_t=3, warmup_lr_init=0.2)
    got = rates(tiny, dict(scheduler=scheduler))
    # timm's formula, warmup_prefix off: linear to the full rate, then the cosine at the absolute time.
    expected = [0.2 + (0.8 - 0.2) * step / 3 for step in range(3)]
    expected += [0.8 * (1 + math.cos(math.pi * step / 12)) / 2 for step in range(3, 12)]
    assert got == pytest.approx(expected)


def test_on_plateau_watches_its_metric(tiny):
    schedule = dict(
        scheduler=dict(type="ReduceLROnPlateau", factor=0.5, patience=0, threshold=1e9, threshold_mode="abs"),
        monitor="val/loss",
    )
    got = rates(tiny, schedule, evaluation=dict(type="Evaluation", every="1ep"))
    assert got == pytest.approx([0.8] * 8 + [0.4] * 4)  # the second evaluation is no better than the first


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (dict(scheduler=dict(type="ReduceLROnPlateau")), "needs `monitor`"),
        (dict(scheduler=dict(type="timm/CosineLRScheduler", t_initial=3), warmup=2), "give `warmup_t` instead"),
        (dict(scheduler=dict(type="timm/PlateauLRScheduler")), "use torch's ReduceLROnPlateau"),
    ],
)
def test_what_does_not_go_together(tiny, schedule, message):
    with pytest.raises(ConfigError, match=message):
        rates(tiny, schedule)
