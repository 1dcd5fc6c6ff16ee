"""Batch sizes that are measured: which, what keeps the number of images in a step, and what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from knoll.registry import ConfigError, UserError, check, config_from_dict, make_experiment
from knoll.registry.batch_size import lr_factor
from knoll.runner.finding.batch_finder import Measured, _trial, fast_enough, measured_sizes, smallest

BREAKS = '''\
import os, signal
import torch
from knoll.hooks import Hook
from knoll.registry import HOOKS, UserError


@HOOKS.register_module()
class BreaksBy_HOW(Hook):
    """Fails as a batch of more than 6 images would that does not fit."""

    def __init__(self, how: str) -> None:
        self.how = how

    def before_update(self, runner) -> None:
        if len(runner.batches[0].labels) > 6:
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise {"memory": torch.OutOfMemoryError("CUDA out of memory"), "user": UserError("mend this"),
                   "bug": KeyError("x")}[self.how]
'''


def test_sizes_are_halves_and_doubles_of_the_images_in_a_step(tiny, working_directory):
    # 4 images, 3 times: 12 can be halved once. 42 images are there.
    rates_are_for = dict(base_batch=12)  # and no scaling is chosen: what a size is measured with needs none
    sizes = list(measured_sizes(config_from_dict(tiny | rates_are_for), seconds=0.01))
    assert [(each.batch_size, each.accumulate) for each in sizes] == [(6, 2), (12, 1), (24, 1)]
    assert all(each.fits and each.speed > 0 and each.device == "cpu" and each.available == 42 for each in sizes)
    assert all(50 * 2**20 < each.memory < 8 * 2**30 for each in sizes)  # torch alone takes more than the one
    assert [path.name for path in working_directory.iterdir()] == ["arrays.npz"]


def test_a_batch_that_learning_rates_are_for_is_no_hindrance(tiny):
    config = config_from_dict(tiny | dict(base_batch=12))
    data, *_ = _trial(config, 24, 12)
    assert check(config_from_dict(data)) == []
    assert lr_factor(make_experiment(data), 1) == 1


@pytest.mark.parametrize("how", ["memory", "killed"])
def test_what_does_not_fit_ends_it(tiny, how):
    Path("mine").mkdir()
    Path("mine/breaks.py").write_text(BREAKS.replace("HOW", how))
    hooks = tiny["hooks"] | dict(breaks=dict(type=f"BreaksBy_{how}", how=how))
    sizes = list(measured_sizes(config_from_dict(tiny | dict(plugins=["mine"], hooks=hooks)), seconds=0.01))
    assert [(each.batch_size, each.fits) for each in sizes] == [(6, True), (12, False)]
    assert fast_enough(sizes).batch_size == 6


@pytest.mark.parametrize(("how", "message"), [("user", "mend this"), ("bug", "ended with the status 1; what it said")])
def test_another_failure_is_told(tiny, how, message):
    Path("mine").mkdir()
    Path("mine/breaks.py").write_text(BREAKS.replace("HOW", how))
    hooks = tiny["hooks"] | dict(breaks=dict(type=f"BreaksBy_{how}", how=how))
    with pytest.raises(UserError, match=message):
        list(measured_sizes(config_from_dict(tiny | dict(plugins=["mine"], hooks=hooks)), seconds=0.01))


def test_the_smallest_that_is_fast():
    sizes = [Measured(size, 1, True, 1, speed) for size, speed in [(4, 50.0), (8, 94.9), (16, 95.0), (32, 100.0)]]
    assert fast_enough(sizes).batch_size == 16
    assert fast_enough([*sizes, Measured(64, 1)]).batch_size == 16
    with pytest.raises(UserError, match="not enough memory for a batch of 4 images"):
        fast_enough([Measured(4, 1)])


def test_the_first_size():
    assert [smallest(total) for total in (1, 4, 8, 12, 96, 100, 128, 250)] == [1, 4, 4, 6, 6, 25, 4, 125]


def test_mistakes(tiny, monkeypatch):
    config = config_from_dict(tiny)
    with pytest.raises(ConfigError, match="no batch size up to 3: the first would be 6"):
        list(measured_sizes(config, largest=3))
    with pytest.raises(ConfigError, match="expected more than 0"):
        list(measured_sizes(config, seconds=0))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="without torchrun"):
        list(measured_sizes(config))
