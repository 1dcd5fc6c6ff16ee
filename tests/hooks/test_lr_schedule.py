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


SCALES = {"head": 10.0, "backbone.c1": 0.01, "*.bias": 0.3}


def rates_of_groups(tiny, schedule: dict, steps: int = 12, **changes) -> list[list[float]]:
    """The learning rate of each group at each step; the groups are those of SCALES, after the one at the full rate."""
    tiny |= dict(param_groups=dict(patterns={pattern: dict(lr_scale=scale) for pattern, scale in SCALES.items()}))
    tiny["hooks"] = dict(lr=dict(type="LRSchedule", **schedule)) | changes
    tiny |= dict(duration=steps, optimizer=dict(type="SGD", lr=0.8, momentum=0.9))
    runner = Runner(tiny, "run")
    assert [group["lr"] for group in Runner(tiny | dict(hooks={}), "unused").optimizer.param_groups] == pytest.approx(
        [0.8, 0.8 * 0.01, 0.8 * 0.3, 0.8 * 10]  # in the order of the model
    )
    seen = []
    step = runner.update.step
    runner.update.step = lambda: (seen.append([group["lr"] for group in runner.optimizer.param_groups]), step())
    runner.train()
    assert [each[0] for each in seen] == pytest.approx(
        rates(tiny | dict(param_groups=None), schedule, steps, **changes)
    )
    return seen


@pytest.mark.parametrize(
    ("schedule", "changes"),
    [
        (dict(scheduler=dict(type="CosineAnnealingLR", T_max="100%"), warmup=4), {}),
        (dict(scheduler=dict(type="MultiStepLR", milestones=["1ep"]), warmup=2, by="epoch"), {}),
        (dict(scheduler=dict(type="PolynomialLR", total_iters="100%", power=2.0), warmup=3), {}),
        (dict(scheduler=dict(type="OneCycleLR", max_lr=0.4, total_steps="100%", pct_start=0.3)), {}),
        (dict(scheduler=dict(type="CyclicLR", base_lr=0.1, max_lr=0.6, step_size_up=3)), {}),
        (
            dict(
                scheduler=dict(
                    type="SequentialLR",
                    milestones=["1ep"],
                    schedulers=[
                        dict(type="LinearLR", start_factor=0.1, total_iters="1ep"),
                        dict(type="OneCycleLR", max_lr=0.5, total_steps=13),
                    ],
                )
            ),
            {},
        ),
        (dict(scheduler=dict(type="timm/CosineLRScheduler", t_initial="100%", warmup_t=3)), {}),
        (
            dict(scheduler=dict(type="ReduceLROnPlateau", patience=0, threshold=1e9), warmup=2, monitor="val/loss"),
            dict(evaluation=dict(type="Evaluation", every=2)),
        ),
    ],
    ids=lambda value: value.get("scheduler", {}).get("type", ""),
)
def test_every_group_keeps_its_ratio_to_the_first_at_each_step(tiny, schedule, changes):
    seen = rates_of_groups(tiny, schedule, **changes)
    assert len({first for first, *_ in seen}) > 1
    for first, *others in seen:
        assert others == pytest.approx([first * 0.01, first * 0.3, first * 10], rel=1e-9, abs=1e-12)


def test_a_smallest_rate_is_the_same_for_every_group(tiny):
    last = rates_of_groups(tiny, dict(scheduler=dict(type="CosineAnnealingLR", T_max=11, eta_min=0.001)))[-1]
    assert last == pytest.approx([0.001] * 4)


def test_bounds_for_each_group_may_be_given_one_by_one(tiny):
    bounds = [0.4, 0.3, 0.2, 0.1]
    tiny["param_groups"] = dict(patterns={pattern: dict(lr_scale=scale) for pattern, scale in SCALES.items()})
    tiny["hooks"] = dict(lr=dict(type="LRSchedule", scheduler=dict(type="OneCycleLR", max_lr=bounds, total_steps=12)))
    assert [group["max_lr"] for group in Runner(tiny, "run").optimizer.param_groups] == bounds


def test_groups_without_ratios_are_an_error(tiny):
    tiny["optimizer"] = dict(type="SGD", lr=0.0, momentum=0.9)
    tiny["hooks"] = dict(lr=dict(type="LRSchedule", scheduler=dict(type="OneCycleLR", max_lr=0.4, total_steps=12)))
    assert Runner(tiny, "run").learning_rate == pytest.approx(0.4 / 25)  # one group needs none
    tiny["param_groups"] = dict(patterns=dict(head=dict(weight_decay=0.1)))
    with pytest.raises(ConfigError, match=r"OneCycleLR: with optimizer.lr=0"):
        Runner(tiny, "run")
