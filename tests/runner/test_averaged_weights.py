"""Averaged weights beside the others: their figures, the checkpoint that is the best by them, and the tools."""

from __future__ import annotations

import copy
import json

import pytest
import torch

from knoll.registry import ConfigError, UserError, config_from_dict
from knoll.registry.check import check
from knoll.runner import Runner, Trained
from knoll.runner.evaluate import evaluate
from knoll.runner.saving.checkpoint import load

LAST = "run/checkpoints/last.pt"
BY_AVERAGE = "averaged weights, as the run's best is by val_ema/top1 (--no-ema takes the others)"


@pytest.fixture
def averaged(tiny):
    """`tiny` with an average of its weights, 12 steps of 4 an epoch, every checkpoint kept."""
    tiny["hooks"]["ema"] = dict(type="EMA", decay=0.9)
    tiny["hooks"]["checkpoint"]["keep"] = 9
    return tiny


def test_the_figures_are_those_of_a_model_with_the_averaged_weights(averaged):
    runner = Runner(averaged, "run")
    metrics = runner.train()
    other = Runner(averaged, "unused")
    other.model.load_state_dict(runner.hooks.by_name["ema"].model.state_dict())
    by_hand = evaluate(other.forward, other.evaluation_loaders, other.loss_function, other.new_metrics())
    for name, value in by_hand.items():
        assert metrics[name.replace("val/", "val_ema/")] == value
    assert metrics["val_ema/loss"] != metrics["val/loss"]
    assert runner.model.training
    assert not any(module.training for module in runner.hooks.by_name["ema"].model.modules())


def test_a_metric_of_the_average_can_be_named_if_there_is_one(averaged):
    averaged["hooks"]["checkpoint"]["best"] = "val_ema/top1"
    assert check(config_from_dict(averaged)) == []
    second = config_from_dict(averaged, ["hooks.ema_2.type=EMA"])
    assert [str(each) for each in check(second)] == [
        "hooks.ema_2 (command line): hooks.ema averages the weights already: leave one out."
    ]
    twice = copy.deepcopy(averaged)
    twice["evaluation"]["val_ema"] = twice["evaluation"]["val"]
    [problem] = check(config_from_dict(twice))
    assert "`val_ema` is what the figures of `val` by hooks.ema go by: choose another name" in str(problem)
    del averaged["hooks"]["ema"]
    with pytest.raises(
        ConfigError, match=r"called `val_ema/top1`. It is .* averaged weights: add hooks.ema=dict\(type"
    ):
        Runner(averaged, "run")
    averaged["hooks"]["checkpoint"]["best"] = "val_em/top1"
    assert "Did you mean `val/top1`" in str(check(config_from_dict(averaged))[0])


def test_logs_and_the_best_checkpoint_speak_of_the_average(averaged, capsys, working_directory):
    averaged["hooks"]["checkpoint"]["best"] = "val_ema/top1"
    averaged["hooks"] |= dict(json_log=dict(type="JSONLog"), tensorboard=dict(type="TensorBoard"))
    metrics = Runner(averaged, "run").train()
    records = [json.loads(line) for line in (working_directory / "run/log.jsonl").read_text().splitlines()]
    of_sets = [(record["set"], record["step"]) for record in records if record["set"] != "train"]
    assert of_sets == [(name, step) for step in (4, 8, 12) for name in ("val", "val_ema")]
    assert records[-1] == dict(
        step=12,
        epoch=3.0,
        set="val_ema",
        data="arrays",
        **{metric: metrics[f"val_ema/{metric}"] for metric in ("loss", "top1", "top2")},
    )
    said = capsys.readouterr().out
    assert f"step 12  val_ema: loss {metrics['val_ema/loss']:.4f}" in said
    best = load("run/checkpoints/best.pt")
    top1 = {step: load(f"run/checkpoints/step_{step:08d}.pt")["metrics"]["val_ema/top1"] for step in (4, 8, 12)}
    assert best["metrics"]["val_ema/top1"] == max(top1.values())
    assert f"best val_ema/top1: {max(top1.values()):.4f} (arrays)" in said
    assert sorted(each.name for each in (working_directory / "run/tensorboard").iterdir()) == [
        "train",
        "val",
        "val_ema",
    ]


def measure(trained: Trained) -> dict[str, float]:
    parts = trained.forward, trained.evaluation_loaders(), trained.loss, trained.new_metrics()
    return evaluate(*parts, suffix=trained.suffix)


def test_a_checkpoint_is_measured_by_the_weights_that_its_best_is_chosen_by(averaged):
    for best, name, told in [
        ("val/top1", "val", "weights that are not averaged (--ema takes those)"),
        (
            "val_ema/top1",
            "val_ema",
            "averaged weights, as the run's best is by val_ema/top1 (--no-ema takes the others)",
        ),
    ]:
        averaged["hooks"]["checkpoint"]["best"] = best
        metrics = Runner(averaged, best.replace("/", "_")).train()
        last = f"{best.replace('/', '_')}/checkpoints/last.pt"
        trained = Trained(last)
        assert trained.which == told
        assert measure(trained) == trained.recorded
        assert {each.partition("/")[0] for each in trained.recorded} == {name}
        for ema, other in ((True, "val_ema"), (False, "val")):
            asked = Trained(last, ema=ema)
            assert measure(asked) == asked.recorded
            assert asked.recorded == {each: value for each, value in metrics.items() if each.startswith(f"{other}/")}


def test_the_tools_say_which_weights_they_take(averaged, capsys, working_directory):
    from safetensors.torch import load_file

    from knoll.tools import export, test

    averaged["hooks"]["checkpoint"]["best"] = "val_ema/top1"
    runner = Runner(averaged, "run")
    metrics = runner.train()
    capsys.readouterr()
    assert test.main([LAST]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{LAST}  step 12  {BY_AVERAGE}"
    assert f"val_ema/loss: {metrics['val_ema/loss']!r}  (arrays)" in said
    assert test.main([LAST, "--no-ema"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{LAST}  step 12  weights that are not averaged"
    assert f"val/loss: {metrics['val/loss']!r}  (arrays)" in said
    assert export.main([LAST, "--ema", "--to", "model.safetensors"]) == 0
    assert f"{LAST}  step 12  averaged weights\n" in capsys.readouterr().out
    exported = load_file("model.safetensors")
    for name, value in runner.hooks.by_name["ema"].model.state_dict().items():
        assert torch.equal(exported[name], value)


def test_without_an_average_there_is_none_to_take(tiny):
    Runner(tiny | dict(duration=1), "run").train()
    assert Trained(LAST).which == ""
    with pytest.raises(UserError, match="holds no averaged weights: leave out --ema"):
        Trained(LAST, ema=True)
