"""Runs that freeze parts of a model, give them learning rates of their own, and continue."""

from __future__ import annotations

import copy
import logging
import re

import pytest
import torch
from torch import nn

from knoll.hooks.hook import Hook
from knoll.registry import BACKBONES, HOOKS, ConfigError, UserError
from knoll.runner import Runner
from knoll.runner.evaluate import evaluation_mode


class Normed(nn.Module):
    """Two blocks with batch normalisation and dropout."""

    num_features = 8

    def __init__(self) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(1, 4, 5, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2))
        self.block2 = nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2))

    def forward(self, images):
        return self.block2(self.block1(images))


class CallsTrain(Hook):
    """Switches the model to training whenever it can."""

    def before_iter(self, runner):
        runner.model.train()


@pytest.fixture
def normed(tiny):
    """`tiny`, with batch normalisation and weight decay, and every checkpoint kept."""
    BACKBONES.register_module(module=Normed)
    HOOKS.register_module(module=CallsTrain)
    tiny["model"]["backbone"] = dict(type="Normed")
    tiny["optimizer"] |= dict(weight_decay=0.05)
    tiny["hooks"]["checkpoint"]["keep"] = 9
    yield tiny
    del BACKBONES.module_dict["Normed"]
    del HOOKS.module_dict["CallsTrain"]


def state(runner: Runner) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


def changed(before: dict, runner: Runner) -> set[str]:
    return {name for name, value in runner.model.state_dict().items() if not torch.equal(value, before[name])}


def watch(runner: Runner, look) -> list:
    """What `look` sees just before each step of the optimizer."""
    seen, step = [], runner.update.step
    runner.update.step = lambda: (seen.append(look()), step())
    return seen


OPTIMIZER_KINDS = [
    dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=0.05),
    dict(type="AdamW", lr=0.01, weight_decay=0.05),
    dict(type="timm/lamb", lr=0.01, weight_decay=0.05),
]


@pytest.mark.parametrize("optimizer", OPTIMIZER_KINDS, ids=lambda config: config["type"])
def test_after_50_steps_every_frozen_tensor_is_bit_equal_and_the_optimizer_knows_none(normed, optimizer):
    """Buffers of batch normalisation included, with evaluations in between."""
    runner = Runner(normed | dict(freeze=["backbone.block1"], optimizer=optimizer, duration=50), "run")
    before = state(runner)
    runner.train()
    assert changed(before, runner) == {name for name in before if not name.startswith("backbone.block1.")}
    assert "backbone.block2.1.num_batches_tracked" in changed(before, runner)
    known = {id(each) for group in runner.optimizer.param_groups for each in group["params"]}
    known |= {id(each) for each in runner.optimizer.state}
    frozen = {id(each) for each in runner.model.backbone.block1.parameters()}
    assert len(frozen) == 4
    assert not known & frozen


@pytest.mark.parametrize("rude", [False, True])
def test_frozen_modules_are_in_evaluation_mode_whatever_calls_train(normed, rude):
    if rude:
        normed["hooks"]["rude"] = dict(type="CallsTrain")
    normed["hooks"]["evaluation"]["every"] = 1
    runner = Runner(normed | dict(freeze={"backbone.block1": 3, "*.block2.1": "100%"}, duration=5), "run")
    seen = watch(runner, lambda: {name for name, module in runner.model.named_modules() if not module.training})
    runner.train()
    block1 = {"backbone.block1", *(f"backbone.block1.{number}" for number in range(4))}
    assert seen == [{*block1, "backbone.block2.1"}] * 3 + [{"backbone.block2.1"}] * 2


@pytest.mark.parametrize("optimizer", OPTIMIZER_KINDS, ids=lambda config: config["type"])
def test_until_it_thaws_a_part_has_neither_gradient_nor_state_but_its_group(normed, optimizer):
    runner = Runner(normed | dict(freeze={"backbone": "1ep"}, optimizer=optimizer, duration="2ep"), "run")
    backbone, head = list(runner.model.backbone.parameters()), list(runner.model.head.parameters())
    before = state(runner)

    def look():
        grads = sum(each.grad is not None for each in backbone)
        return grads, sum(each in runner.optimizer.state for each in backbone), bool(changed(before, runner))

    seen = watch(runner, look)
    groups = [[len(group["params"]) for group in runner.optimizer.param_groups]]
    runner.train()
    # 4 steps are an epoch. Before the first step nothing has changed; before the fifth there is no state yet.
    assert seen == [(0, 0, step > 0) for step in range(4)] + [(8, 0, True)] + [(8, 8, True)] * 3
    groups.append([len(group["params"]) for group in runner.optimizer.param_groups])
    assert groups == [[len(backbone) + len(head)]] * 2


def test_a_run_that_thaws_equals_a_loop_written_by_hand(normed):
    normed["model"]["head"]["dropout"] = 0.0
    normed |= dict(accumulate=1, clip_norm=0.5, duration=12, freeze={"backbone": 5})
    del normed["hooks"]["lr_schedule"], normed["hooks"]["evaluation"]
    del normed["hooks"]["checkpoint"]["best"]
    by_hand = Runner(normed | dict(freeze=[]), "unused")
    model = by_hand.model
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.05, momentum=0.9, weight_decay=0.05, fused=True)
    for step, batch in enumerate(by_hand.train_loader.batches(0, 12)):
        model.train()
        if step < 5:
            model.backbone.eval()
        if step == 5:
            optimizer.add_param_group(dict(params=model.backbone.parameters()))
        trained = [each for group in optimizer.param_groups for each in group["params"]]
        model.zero_grad()
        nn.functional.cross_entropy(model(batch.images), batch.labels).backward()
        ordered = [each for each in model.parameters() if any(each is other for other in trained)]
        nn.utils.clip_grad_norm_(ordered, 0.5)
        optimizer.step()
    runner = Runner(normed, "run")
    runner.train()
    assert changed(model.state_dict(), runner) == set()


@pytest.mark.row(11)
@pytest.mark.parametrize("at", [2, 4, 6, 8])
def test_resumed_before_at_or_after_the_thaw_equals_uninterrupted(normed, at):
    """With accumulation, clipping, warm-up and cosine; parts thaw at steps 4 and 5."""
    patterns = {"backbone": dict(lr_scale=0.1), "*.bias": dict(weight_decay=0.0)}
    normed |= dict(freeze={"backbone": 5, "backbone.block2": "1ep"}, param_groups=dict(patterns=patterns))
    whole = Runner(normed, "whole")
    whole.train()
    resumed = Runner(normed, "resumed", resume=f"whole/checkpoints/step_{at:08d}.pt")
    resumed.train()
    assert changed(whole.model.state_dict(), resumed) == set()
    optimizers = whole.optimizer.state_dict(), resumed.optimizer.state_dict()
    assert optimizers[0]["param_groups"] == optimizers[1]["param_groups"]
    for key, of_parameter in optimizers[0]["state"].items():
        assert torch.equal(of_parameter["momentum_buffer"], optimizers[1]["state"][key]["momentum_buffer"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["freeze"].update(backbone=6), "freeze.backbone: was 5, is 6"),
        (lambda c: c.update(freeze=["backbone"]), "freeze.backbone: was 5, is '(not set)'"),
        (
            lambda c: c["param_groups"]["patterns"]["head"].update(lr_scale=2.0),
            "param_groups.patterns.head.lr_scale: was 3.0, is 2.0",
        ),
        (lambda c: c["param_groups"].update(layer_decay=0.9), "param_groups.layer_decay: was None, is 0.9"),
        (lambda c: c.pop("param_groups"), "param_groups: was '(not set)', is None"),
        (
            lambda c: c["param_groups"].update(patterns=dict(reversed(c["param_groups"]["patterns"].items()))),
            "order of param_groups.0: was 'head', is '*.bias'",
        ),
    ],
)
def test_a_run_is_not_continued_with_other_parts(normed, change, message):
    patterns = {"head": dict(lr_scale=3.0), "*.bias": dict(weight_decay=0.0)}
    normed |= dict(freeze={"backbone": 5}, param_groups=dict(patterns=patterns), duration=2)
    Runner(normed, "run").train()
    other = copy.deepcopy(normed)
    change(other)
    with pytest.raises(UserError) as error:
        Runner(other, "run", resume="run/checkpoints/last.pt")
    assert message in str(error.value)


def test_evaluation_leaves_each_module_in_its_own_mode():
    model = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.BatchNorm1d(1), nn.Dropout()))
    for root in (True, False):
        model.train(root)
        model[1][0].eval()
        modes = [module.training for module in model.modules()]
        with evaluation_mode(model):
            assert not any(module.training for module in model.modules())
        assert [module.training for module in model.modules()] == modes
        with pytest.raises(ZeroDivisionError), evaluation_mode(model):
            1 / 0  # noqa: B018
        assert [module.training for module in model.modules()] == modes


def table(config: dict, monkeypatch) -> list[list[str]]:
    """What a run logs when it is built, its notes aside, in columns."""
    lines: list[str] = []
    monkeypatch.setattr(logging.getLogger("knoll"), "handle", lambda record: lines.append(record.getMessage()))
    Runner(config, "run")
    return [re.split("  +", line) for text in lines if text[:5] != "note:" for line in text.split("\n")]


def test_a_table_says_how_each_part_is_trained(normed, monkeypatch):
    normed["hooks"] = {}
    assert table(copy.deepcopy(normed), monkeypatch) == []
    patterns = {"*.block2": dict(lr_scale=0.1, weight_decay=0.5)}
    normed |= dict(freeze={"*.block1": "50%", "*.0": "100%"}, param_groups=dict(patterns=patterns))
    # 1 x 4 x 25 + 4 and 4 x 8 x 9 + 8 in the convolutions, 2 x 4 and 2 x 8 in the norms, 8 x 4 + 4 in the head.
    assert table(normed, monkeypatch) == [
        ["part of the model", "tensors", "parameters", "learning rate", "weight decay", "frozen"],
        ["*.0", "4", "400", "whole run"],
        ["*.block1", "2", "8", "0.05", "0.05", "until step 6"],
        ["*.block2", "2", "16", "0.005", "0.5"],
        ["the rest", "2", "36", "0.05", "0.05"],
    ]


def test_the_table_has_a_line_for_each_layer(normed, monkeypatch):
    normed |= dict(hooks={}, param_groups=dict(layer_decay=0.5, decay_norms_and_biases=False))
    rows = table(normed, monkeypatch)
    names = [f"layer {2 * block + part} (backbone.block{block + 1}.{part})" for block in (0, 1) for part in (0, 1)]
    assert [row[0] for row in rows[1:]] == [*names, "layer 4 (head.fc)"]
    assert [float(row[3]) for row in rows[1:]] == pytest.approx(
        [0.05 / 2**power for power in (4, 3, 2, 1, 0)], rel=0.01
    )
    assert [row[4] for row in rows[1:]] == ["0, 0.05", "0", "0, 0.05", "0", "0, 0.05"]


def test_a_pattern_for_nothing_is_said_before_the_run(normed, working_directory):
    for key in (dict(freeze=["backbone.block3"]), dict(param_groups=dict(patterns={"backbone.block3": {}}))):
        with pytest.raises(ConfigError, match=r"`backbone.block3` covers nothing .* Did you mean `backbone.block"):
            Runner(normed | key, "run")
    assert not (working_directory / "run").exists()


def test_random_numbers_that_are_frozen_for_good_are_told(tiny, capsys):
    told = "note: the config names no weights: what is frozen stays at the random numbers it began with"
    Runner(tiny | dict(freeze=["backbone.c1"]), "run")
    assert told in capsys.readouterr().out
    Runner(tiny | dict(freeze={"backbone.c1": "1ep"}), "run")
    assert told not in capsys.readouterr().out
