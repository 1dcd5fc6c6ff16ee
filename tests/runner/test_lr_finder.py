"""The learning rate that is found: rates and losses as they were, suggestions where a known curve has them."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest

from knoll.hooks import Hook
from knoll.registry import HOOKS, ConfigError, UserError, config_from_dict
from knoll.runner import Runner
from knoll.runner.finding.lr_finder import Curve, learning_rate_curve, rate_keys, smooth, suggest

SEEN: list[list[float]] = []


@HOOKS.register_module()
class RatesSeenByATest(Hook):
    """Keeps what the optimizer's groups have when it steps."""

    def before_update(self, runner: Runner) -> None:
        SEEN.append([group["lr"] for group in runner.optimizer.param_groups])


def curve_of(losses: np.ndarray, rates: np.ndarray) -> Curve:
    return Curve(rates, losses, smooth(losses, len(rates) / 40), len(rates))


def test_suggestions_lie_where_a_known_curve_has_them():
    # A loss that falls as a logistic function of log(lr) around 1e-3, and rises as lr^2: its slope is steepest near
    # 1e-3, and its minimum where the derivatives cancel, both found on a grid a hundred times as fine.
    def loss(rates: np.ndarray) -> np.ndarray:
        return 2 / (1 + (rates / 1e-3) ** 2) + 10 * rates**2

    rates, fine = np.geomspace(1e-7, 1, 100), np.geomspace(1e-7, 1, 10_000)
    found = suggest(curve_of(loss(rates), rates))
    lowest = fine[loss(fine).argmin()]
    steepest = fine[np.gradient(loss(fine), np.log(fine)).argmin()]
    assert found.lowest == pytest.approx(lowest, rel=0.35)  # two steps of the grid
    assert found.tenth == found.lowest / 10
    assert found.steepest == pytest.approx(steepest, rel=0.2)  # one


def test_noise_alone_suggests_nothing():
    rates = np.geomspace(1e-7, 10, 100)
    for seed in range(50):
        losses = 2.3 + 0.1 * np.random.default_rng(seed).normal(size=100)
        with pytest.raises(UserError, match="did not fall at any learning rate from"):
            suggest(curve_of(losses, rates))
    with pytest.raises(UserError, match="did not fall"):
        suggest(curve_of(np.linspace(1, 2, 100), rates))


def test_smoothing_is_a_mean_to_both_sides():
    line = np.linspace(0, 1, 41)
    np.testing.assert_allclose(smooth(line, 2.0)[6:-6], line[6:-6], atol=1e-12)  # no lag
    np.testing.assert_allclose(smooth(np.ones(41), 2.0), 1)
    by_hand = [math.exp(-0.5 * k**2) for k in range(-3, 4)]
    peak = np.zeros(11)
    peak[5] = 1
    np.testing.assert_allclose(smooth(peak, 1.0)[5], 1 / sum(by_hand))


def test_rates_rise_evenly_for_all_groups_and_nothing_is_left(tiny, working_directory):
    groups = dict(patterns={"head": dict(lr_scale=5.0)})
    experiment = tiny | dict(param_groups=groups, hooks=tiny["hooks"] | dict(seen=dict(type="RatesSeenByATest")))
    config = config_from_dict(experiment)
    before = copy.deepcopy(config.data)
    SEEN.clear()
    curve = learning_rate_curve(config, steps=20, start=1e-5, end=1e-2)
    expected = [1e-5 * 1000 ** (step / 19) for step in range(20)]
    np.testing.assert_allclose(curve.rates, expected)
    np.testing.assert_allclose(SEEN, [[rate, 5 * rate] for rate in expected])  # 0.05 of `tiny` counts for nothing
    assert config.data == before
    assert [path.name for path in working_directory.iterdir()] == ["arrays.npz"]


def test_losses_are_those_of_the_experiment(tiny):
    """At rates that move nothing, each step's loss is that of the untrained network."""
    curve = learning_rate_curve(config_from_dict(tiny), steps=10, start=1e-30, end=1e-29)
    losses = []

    class Keep(Hook):
        def after_update(self, runner: Runner) -> None:
            losses.append(float(runner.loss))

    unchanged = tiny | dict(duration=10, optimizer=dict(type="SGD", lr=0.0), hooks={})
    runner = Runner(unchanged, "run")
    runner.hooks = type(runner.hooks)({"keep": Keep()})
    runner.train()
    np.testing.assert_allclose(curve.losses, losses, rtol=1e-6)


def test_it_ends_where_the_loss_explodes(tiny, logged):
    curve = learning_rate_curve(config_from_dict(tiny), steps=60, start=1e-3, end=1e6)
    assert len(curve.rates) < 60
    assert np.isfinite(curve.losses).all()
    assert not logged  # neither of a run, nor that it failed


def test_every_optimizer_with_a_rate(tiny):
    around = dict(type="Lookahead", base_optimizer=tiny["optimizer"])
    for optimizer in (dict(type="AdamW"), dict(type="timm/lamb", lr=1.0), around):
        seen = dict(seen=dict(type="RatesSeenByATest"))
        config = config_from_dict(tiny | dict(optimizer=optimizer, hooks=seen))
        SEEN.clear()
        curve = learning_rate_curve(config, steps=10, start=1e-5, end=1e-3)
        np.testing.assert_allclose([rates[0] for rates in SEEN], curve.rates)
    assert rate_keys(config) == ["optimizer.base_optimizer.lr"]


def test_rates_are_those_of_the_config_whatever_the_batch(tiny):
    """With `base_batch`, the optimizer's own are others: 12 images of 48 in a step, a fourth."""
    scaled = dict(base_batch=48, lr_scaling="linear", hooks=dict(seen=dict(type="RatesSeenByATest")))
    SEEN.clear()
    curve = learning_rate_curve(config_from_dict(tiny | scaled), steps=10, start=1e-5, end=1e-3)
    np.testing.assert_allclose(curve.rates, np.geomspace(1e-5, 1e-3, 10))
    np.testing.assert_allclose([rates[0] for rates in SEEN], curve.rates / 4)


def test_mistakes(tiny):
    config = config_from_dict(tiny)
    with pytest.raises(ConfigError, match=r"cannot rise from 1 to 0\.1"):
        learning_rate_curve(config, start=1.0, end=0.1)
    with pytest.raises(ConfigError, match="3 steps make no curve: expected at least 10"):
        learning_rate_curve(config, steps=3)
    with pytest.raises(UserError, match=r"exploded after \d of 50 steps.*Start lower than 1e\+20"):
        learning_rate_curve(config, steps=50, start=1e20, end=1e30)
    with pytest.raises(UserError, match=r"there is no file gone\.npz"):
        learning_rate_curve(config_from_dict(tiny, ["train.dataset.path=gone.npz"]))
    assert not Path("runs").exists()
