"""Which learning rate: a run in which it rises from far too small to far too large tells (Smith 2017)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...hooks.hook import Hook
from ...registry import Config, ConfigError, UserError
from .trial import Enough, for_trial, run_trial

if TYPE_CHECKING:
    from ..runner import Runner

FEWEST = 10  # steps: below, there is no curve
AROUND = "base_optimizer"  # of SAM and Lookahead: the optimizer whose rate it is
_MEMORY = 0.9  # of the running mean that tells whether the loss explodes
_EXPLODED = 4  # times the smallest loss so far


class Curve(NamedTuple):
    """The loss against the learning rate.

    Attributes:
        rates: what `optimizer.lr` stood for in each step.
        losses: the loss of each step's images, before that step moved the weights.
        smoothed: these without their noise.
        steps: how many there would have been; fewer were made if the loss exploded.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    steps: int


class Suggestions(NamedTuple):
    """Learning rates that a curve suggests.

    Attributes:
        steepest: where the loss falls fastest.
        tenth: a tenth of the rate at which the loss is smallest.
        lowest: that rate itself.
    """

    steepest: float
    tenth: float
    lowest: float


def learning_rate_curve(config: Config, steps: int = 100, start: float = 1e-7, end: float = 10.0) -> Curve:
    """Train a few steps of an experiment, each at a higher learning rate than the one before.

    The range test of Smith: Cyclical Learning Rates for Training Neural Networks (2017, section 3.3), as fastai made it
    usual: the rate rises exponentially and not linearly, and the test ends when the loss has become four times what it
    was at best, or is no longer a number. fastai smooths the loss by what came before, so that its curve lags behind
    the rates by half of the test; here it is smoothed to both sides.

    Everything else is the experiment's own: data, model, freezing, groups, which keep their ratios, precision. Its
    schedule and warm-up are left out, and a duration in percent is a share of the test.

    Raises:
        ConfigError: the range is empty, or the optimizer has no learning rate to set.
        UserError: the loss exploded before there was a curve; or as a Runner does.
    """
    if not 0 < start < end < math.inf:
        raise ConfigError(f"the learning rate cannot rise from {start:g} to {end:g}: expected 0 < start < end")
    if steps < FEWEST:
        raise ConfigError(f"{steps} steps make no curve: expected at least {FEWEST}")
    growth = (end / start) ** (1 / (steps - 1))
    rise = dict(type="LRSchedule", scheduler=dict(type="ExponentialLR", gamma=growth))
    hooks = dict(lr_schedule=rise, progress_bar=dict(type="ProgressBar"))
    settings = dict(optimizer=_at_rate(config.data["optimizer"], start), duration=steps, stop_at_nan=False)
    watch = _LossWatch()
    run_trial(for_trial(config, settings, hooks), watch)
    found = len(watch.losses)
    if found < FEWEST:
        raise UserError(
            f"the loss exploded after {found} of {steps} steps, at a learning rate of {start * growth**found:.1e}: "
            f"there is no curve yet. Start lower than {start:g}"
        )
    losses = np.array(watch.losses)
    return Curve(start * growth ** np.arange(found), losses, smooth(losses, steps / 40), steps)


def suggest(curve: Curve) -> Suggestions:
    """What a curve suggests.

    `steepest` and `tenth` are what fastai calls steep and minimum. Its default, the valley, is the middle of the
    longest fall. On a curve that does not lag it lies where the fall begins: at a fourth of the others or less, by the
    configs of LeNet-5 and Tudui. It is left out.

    Raises:
        UserError: the loss did not fall, or by no more than twice its noise's deviation.
    """
    rates, smoothed = curve.rates, curve.smoothed
    lowest = int(smoothed.argmin())
    fall = smoothed[: max(1, len(rates) // 10)].mean() - smoothed[lowest]
    # From step to step a noise of deviation 1 changes by 0.954, in the median; which an explosion hardly changes.
    noise = float(np.median(np.abs(np.diff(curve.losses)))) / 0.954
    if lowest < 2 or fall <= 2 * noise:
        raise UserError(
            f"the loss did not fall at any learning rate from {rates[0]:.1e} to {rates[-1]:.1e}, or by no more "
            f"({fall:.3g}) than its noise explains (a deviation of {noise:.3g}). Take more steps or larger batches, "
            "begin lower, or look at the data"
        )
    slopes = np.gradient(smoothed, np.log(rates))
    return Suggestions(
        steepest=float(rates[slopes[: lowest + 1].argmin()]),
        tenth=float(rates[lowest]) / 10,
        lowest=float(rates[lowest]),
    )


def rate_keys(config: Config) -> list[str]:
    """Where a config says its learning rate: for the optimizer, and for a schedule that sets its own (OneCycleLR)."""
    hooks, optimizer, key = config.data.get("hooks", {}), config.data["optimizer"], "optimizer"
    while AROUND in optimizer:
        optimizer, key = optimizer[AROUND], f"{key}.{AROUND}"
    own = [name for name, hook in hooks.items() if "max_lr" in (hook.get("scheduler") or {})]
    return [f"{key}.lr", *(f"hooks.{name}.scheduler.max_lr" for name in own)]


def _at_rate(optimizer: dict, rate: float) -> dict:
    if AROUND in optimizer:
        return {**optimizer, AROUND: _at_rate(optimizer[AROUND], rate)}
    return {**optimizer, "lr": rate}


def smooth(values: np.ndarray, width: float) -> np.ndarray:
    """A mean of the neighbours to both sides, weighted by a Gaussian of that deviation; at the ends, of those there
    are."""
    reach = math.ceil(3 * width)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    middle = slice(reach, reach + len(values))
    return np.convolve(values, weights)[middle] / np.convolve(np.ones(len(values)), weights)[middle]


class _LossWatch(Hook):
    """Keeps the loss of every step, until it explodes."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.mean = 0.0
        self.best = math.inf

    def after_update(self, runner: Runner) -> None:
        loss = float(runner.loss)
        if not math.isfinite(loss):
            raise Enough
        self.losses.append(loss)
        self.mean = _MEMORY * self.mean + (1 - _MEMORY) * loss
        unbiased = self.mean / (1 - _MEMORY ** len(self.losses))
        self.best = min(self.best, unbiased)
        if unbiased > self.best + (_EXPLODED - 1) * abs(self.best):  # there are losses below zero
            raise Enough
