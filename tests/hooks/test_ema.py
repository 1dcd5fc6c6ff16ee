"""The average of the weights: timm's, a formula's, and the same whether a run is interrupted or not."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from knoll.hooks.ema import EMA, _OncePerTensor
from knoll.hooks.hook import Hook
from knoll.registry import BACKBONES, HOOKS, UserError
from knoll.runner import Runner
from knoll.runner.evaluate import evaluate
from knoll.runner.saving.checkpoint import load

LAST = "run/checkpoints/last.pt"


class Normed(nn.Module):
    """Batch normalisation, dropout, and a buffer that is no number with a point."""

    num_features = 4

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 5, stride=4)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.2)

    def forward(self, images):
        return self.drop(self.norm(self.conv(images)).relu())


class Tied(Normed):
    """The same weights in two places, under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.again = self.conv

    def forward(self, images):
        return super().forward(images) + self.again(images)


class Follows(Hook):
    """The average by a loop written by hand: timm's class, told every step."""

    def __init__(self, options: dict) -> None:
        self.options = options

    def before_run(self, runner):
        self.average = ModelEmaV3(runner.model, **self.options)
        self.weights = []

    def after_iter(self, runner):
        self.average.update(runner.model, step=runner.step)
        self.weights.append(copy.deepcopy(runner.model.state_dict()))


@pytest.fixture
def averaged(tiny):
    """`tiny` with batch normalisation and an average, 12 steps of 4 an epoch, every checkpoint kept."""
    for kind in (Normed, Tied):
        BACKBONES.register_module(module=kind)
    HOOKS.register_module(module=Follows)
    tiny["model"]["backbone"] = dict(type="Normed")
    tiny["hooks"]["ema"] = dict(type="EMA", decay=0.9)
    tiny["hooks"]["checkpoint"]["keep"] = 9
    yield tiny
    for kind in (Normed, Tied):
        del BACKBONES.module_dict[kind.__name__]
    del HOOKS.module_dict["Follows"]


def average_of(runner: Runner) -> dict[str, torch.Tensor]:
    return runner.hooks.by_name["ema"].model.state_dict()


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(expected)
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize(
    "options",
    [
        dict(decay=0.9),
        dict(decay=0.95, use_warmup=True, warmup_gamma=2.0, warmup_power=0.75),
        dict(decay=0.9, exclude_buffers=True, update_after_step=3),
    ],
)
def test_every_value_is_that_of_timm(averaged, options):
    averaged["hooks"] |= dict(ema=dict(type="EMA", **options), follows=dict(type="Follows", options=options))
    runner = Runner(averaged, "run")
    runner.train()
    theirs = runner.hooks.by_name["follows"].average.module.state_dict()
    assert_equal(average_of(runner), theirs)
    differing = [name for name, value in runner.model.state_dict().items() if not torch.equal(value, theirs[name])]
    assert {"backbone.conv.weight", "head.fc.bias"} <= set(differing)
    assert ("backbone.norm.running_mean" in differing) != options.get("exclude_buffers", False)


def test_the_average_is_the_sum_that_the_formula_says(averaged):
    """After n steps: weights 1 at decay ** (n - 1), and each later one at (1 - decay) * decay ** (steps since)."""
    averaged["hooks"]["follows"] = dict(type="Follows", options={})
    runner = Runner(averaged, "run")
    runner.train()
    seen = [weights["head.fc.weight"].double() for weights in runner.hooks.by_name["follows"].weights]
    shares = [0.9**11, *(0.1 * 0.9**since for since in range(10, -1, -1))]
    assert sum(shares) == pytest.approx(1)
    expected = sum(share * weights for share, weights in zip(shares, seen, strict=True))
    torch.testing.assert_close(average_of(runner)["head.fc.weight"].double(), expected, rtol=1e-5, atol=1e-7)


def test_with_a_gamma_and_a_power_of_one_it_is_the_plain_mean_of_every_third_step(averaged):
    averaged["hooks"] |= dict(
        ema=dict(type="EMA", decay=1.0, use_warmup=True, warmup_gamma=1.0, warmup_power=1.0, every=3),
        follows=dict(type="Follows", options={}),
    )
    runner = Runner(averaged, "run")
    runner.train()
    seen = [weights["backbone.conv.weight"] for weights in runner.hooks.by_name["follows"].weights]
    torch.testing.assert_close(average_of(runner)["backbone.conv.weight"], torch.stack(seen[2::3]).mean(0))


def test_weights_in_two_places_are_averaged_once(averaged):
    """timm goes through the names, so there such an average moves twice in a step."""
    averaged["model"]["backbone"] = dict(type="Tied")
    averaged["hooks"]["follows"] = dict(type="Follows", options=dict(decay=0.9))
    runner = Runner(averaged | dict(duration=3), "run")
    runner.train()
    first, second, third = (each["backbone.conv.weight"] for each in runner.hooks.by_name["follows"].weights)
    expected = 0.81 * first + 0.09 * second + 0.1 * third
    torch.testing.assert_close(average_of(runner)["backbone.conv.weight"], expected)
    own = runner.hooks.by_name["ema"].model
    assert own.backbone.again is own.backbone.conv


def test_a_state_that_is_no_tensor_is_left_alone():
    class Extra(nn.Linear):
        def get_extra_state(self):
            return dict(calls=3)

    model = Extra(2, 1)
    assert list(_OncePerTensor(model).state_dict()) == ["weight", "bias"]
    average = ModelEmaV3(_OncePerTensor(model))
    average.update(_OncePerTensor(model), step=5)
    assert torch.equal(average.module.model.weight, model.weight)


def test_training_does_not_notice_the_average(averaged):
    with_average = Runner(averaged, "with")
    metrics = with_average.train()
    del averaged["hooks"]["ema"]
    without = Runner(averaged, "without")
    plain = without.train()
    assert_equal(with_average.model.state_dict(), without.model.state_dict())
    assert {name: metrics[name] for name in plain} == plain
    assert set(metrics) - set(plain) == {"val_ema/loss", "val_ema/top1", "val_ema/top2"}


def test_what_is_frozen_is_averaged_to_itself_and_what_thaws_follows(averaged):
    runner = Runner(averaged | dict(freeze={"backbone.conv": "100%", "head": 5}), "run")
    begun = copy.deepcopy(runner.model.state_dict())
    runner.train()
    average = average_of(runner)
    for name in ("backbone.conv.weight", "backbone.conv.bias"):
        assert torch.equal(average[name], begun[name])
    assert not torch.equal(average["head.fc.weight"], begun["head.fc.weight"])


@pytest.mark.parametrize(
    "changes",
    [
        dict(memory_format="channels_last"),
        dict(precision="bf16"),
        pytest.param(dict(compile=True), marks=pytest.mark.slow),
    ],
)
def test_it_is_measured_as_the_model_is(averaged, changes):
    averaged["hooks"]["follows"] = dict(type="Follows", options=dict(decay=0.9))
    runner = Runner(averaged | changes | dict(duration=2), "run")
    metrics = runner.train()
    assert_equal(average_of(runner), runner.hooks.by_name["follows"].average.module.state_dict())
    again = evaluate(
        runner.measured["_ema"], runner.evaluation_loaders, runner.loss_function, runner.new_metrics(), suffix="_ema"
    )
    assert again == {name: value for name, value in metrics.items() if name.startswith("val_ema")}
    kernel = average_of(runner)["backbone.conv.weight"]
    assert kernel.stride() == runner.model.state_dict()["backbone.conv.weight"].stride()


def test_it_begins_with_the_weights_that_the_run_begins_with(averaged):
    torch.save(Runner(averaged | dict(seed=9), "unused").model.state_dict(), "begin.pth")
    runner = Runner(averaged | dict(weights="begin.pth", duration=1), "run")
    runner.hooks.call("before_run", runner)
    assert_equal(average_of(runner), torch.load("begin.pth"))


@pytest.mark.row(11)
@pytest.mark.parametrize("at", [2, 6, 8])
def test_resumed_it_goes_on_to_the_bit(averaged, at):
    averaged["hooks"]["ema"] |= dict(use_warmup=True, every=3)
    whole = Runner(averaged, "whole")
    metrics = whole.train()
    resumed = Runner(averaged, "resumed", resume=f"whole/checkpoints/step_{at:08d}.pt")
    assert resumed.train() == metrics
    assert_equal(average_of(resumed), average_of(whole))


def test_a_state_is_kept_until_the_run_begins(averaged):
    Runner(averaged, "run").train()
    resumed = Runner(averaged, "run", resume=LAST)
    assert_equal(resumed.state_dict()["hooks"]["ema"]["model"], load(LAST)["hooks"]["ema"]["model"])


def test_a_run_does_not_go_on_with_another_average(averaged):
    without = {name: hook for name, hook in averaged["hooks"].items() if name != "ema"}
    Runner(averaged | dict(duration=2), "run").train()
    Runner(averaged | dict(duration=2, hooks=without), "plain").train()
    for hooks, checkpoint, message in [
        (averaged["hooks"] | dict(ema=dict(type="EMA", decay=0.99)), LAST, "hooks.ema.decay: was 0.9, is 0.99"),
        (without, LAST, "hooks.ema.type: was 'EMA', is '(not set)'"),
        (averaged["hooks"], "plain/checkpoints/last.pt", "hooks.ema.type: was '(not set)', is 'EMA'"),
    ]:
        with pytest.raises(UserError) as error:
            Runner(averaged | dict(duration=2, hooks=hooks), "other", resume=checkpoint)
        assert message in str(error.value)


@pytest.mark.row(31)
def test_what_is_no_number_reaches_neither_the_weights_nor_their_average(averaged):
    """The run stops at step 7, and what is left of it is what step 6 left of a whole one."""

    class Spoils(Hook):
        def before_iter(self, runner):
            if runner.step == 6:
                runner.batches[0].images.fill_(float("nan"))

    whole = Runner(averaged | dict(duration="3ep"), "whole")
    whole.train()
    stopped = Runner(averaged, "run")
    stopped.hooks._methods["before_iter"].append(Spoils().before_iter.__get__(Spoils()))
    with pytest.raises(UserError, match=r"step 7 .*the loss is nan"):
        stopped.train()
    saved = load("whole/checkpoints/step_00000006.pt")
    assert_equal(stopped.model.state_dict(), saved["model"])
    assert_equal(average_of(stopped), saved["hooks"]["ema"]["model"])


def test_nothing_waits_for_the_device(averaged):
    """No number is read back from a tensor while the average is updated."""
    runner = Runner(averaged | dict(duration=1), "run")
    runner.train()
    hook = runner.hooks.by_name["ema"]
    assert isinstance(hook, EMA)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        hook.after_update(runner)
    called = {event.key for event in profile.key_averages()}
    assert "aten::_foreach_lerp_" in called
    assert not called & {"aten::item", "aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal"}
