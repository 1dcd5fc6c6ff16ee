"""Learning rates for another number of images in a step: reckoned by hand, counted over accumulation and processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from knoll.registry import ConfigError, check, config_from_dict, make_experiment
from knoll.registry.batch_size import lr_factor, note
from knoll.runner import Runner
from knoll.tools.check import main


def factor(tiny: dict[str, Any], processes: int, batch_size: int, accumulate: int, **keys: Any) -> float:
    config = tiny | dict(train=tiny["train"] | dict(batch_size=batch_size), accumulate=accumulate, **keys)
    assert check(config_from_dict(config)) == []
    return lr_factor(make_experiment(config), processes)


def test_it_counts_batches_and_processes(tiny):
    """For 256 images: 32 x 2 x 2 are half, 128 x 2 x 4 four times as many."""
    linear = dict(base_batch=256, lr_scaling="linear")
    assert factor(tiny, 2, 32, 2, **linear) == 0.5
    assert factor(tiny, 4, 128, 2, **linear) == 4
    assert factor(tiny, 1, 64, 4, **linear) == 1
    assert factor(tiny, 4, 128, 2, base_batch=256, lr_scaling="sqrt") == 2
    assert factor(tiny, 1, 100, 1, base_batch=200, lr_scaling="sqrt") == pytest.approx(0.70710678)
    assert factor(tiny, 7, 100, 3) == 1


def test_without_a_choice_it_must_be_the_batch(tiny):
    assert factor(tiny, 2, 64, 2, base_batch=256) == 1
    with pytest.raises(ConfigError) as error:
        factor(tiny, 1, 64, 2, base_batch=256)
    assert str(error.value) == (
        "base_batch: the learning rates are for 256 images in a step, and one has 128 (batch_size 64 x accumulate 2). "
        "Write lr_scaling='linear' (usual with SGD) or lr_scaling='sqrt' (with Adam and its like); or base_batch=128, "
        "to leave the rates as they are"
    )


@pytest.mark.parametrize(
    ("keys", "path", "said"),
    [
        (dict(lr_scaling="linear"), "lr_scaling", "from which batch? Write base_batch"),
        (dict(base_batch=100), "base_batch", "no number of processes has 100 images in a step: one has 4 x 3"),
        (dict(base_batch=6), "base_batch", "no number of processes has 6 images in a step: one has 4 x 3"),
        (dict(base_batch=0), "base_batch", "expected"),
        (dict(base_batch="256", lr_scaling="cubic"), "base_batch", "expected"),
    ],
)
def test_what_can_never_be_right_is_found_by_the_check(tiny, keys, path, said):
    problems = check(config_from_dict(tiny | keys))
    assert problems[0].path == (path,)
    assert said in problems[0].message
    assert len(problems) == (2 if len(keys) == 2 else 1)
    assert check(config_from_dict(tiny | dict(base_batch=24))) == []  # of two processes


def test_a_run_is_made_at_the_scaled_rates_and_says_so(tiny, logged):
    """12 images a step for 48: a quarter of the rate, of its warm-up, and of the rate that the schedule ends with."""
    tiny |= dict(base_batch=48, lr_scaling="linear")
    schedule = dict(type="CosineAnnealingLR", T_max="100%", eta_min=0.02)
    tiny["hooks"]["lr_schedule"] |= dict(scheduler=schedule, warmup_start=0.5)
    runner = Runner(tiny, "run")
    assert "lr 0.05 for 48 images -> 0.0125 for 12 (batch_size 4 x accumulate 3), by linear scaling" in logged
    assert runner.learning_rate == pytest.approx(0.05 / 4 / 2)
    runner.train()
    assert runner.learning_rate == pytest.approx(0.02 / 4)
    assert "-> 0.0125 for 12" in Path("run/log.txt").read_text()


def test_a_run_without_a_choice_ends_before_anything_is_read(tiny):
    Path("arrays.npz").unlink()
    with pytest.raises(ConfigError, match="the learning rates are for 24 images in a step, and one has 12"):
        Runner(tiny | dict(base_batch=24), "run")
    assert not Path("run").exists()


def test_the_check_tells_what_one_process_makes_of_it(tiny, capsys):
    sam, adam = dict(type="SAM", base_optimizer=dict(type="AdamW", lr=0.1)), dict(type="AdamW")
    for optimizer, base, scaling, said in [
        (sam, 3, "sqrt", "lr 0.1 for 3 images -> 0.2 for 12 (batch_size 4 x accumulate 3), by sqrt scaling; with N"),
        (adam, 48, "sqrt", "the default lr for 48 images -> 0.5 times it for 12"),
        (
            sam,
            24,
            None,
            "base_batch=24: trained by one process, a step has 12 (batch_size 4 x accumulate 3) images",
        ),
    ]:
        keys = dict(optimizer=optimizer, base_batch=base, lr_scaling=scaling)
        Path("config.yaml").write_text(yaml.safe_dump(tiny | keys))
        assert main(["config.yaml"]) == 0
        printed = capsys.readouterr().out
        assert f"note: {said}" in printed
        assert ("the run is refused" in printed and "or start 2 processes" in printed) == (scaling is None)
    assert note(make_experiment(tiny)) == ""
