"""What a pattern covers, what is frozen by it, and until when."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from knoll.models.classifier import ImageClassifier
from knoll.models.freezing import Freezing
from knoll.models.patterns import covering
from knoll.registry import ConfigError

NAMES = [
    *("backbone", "backbone.layer1", "backbone.layer1.bn1", "backbone.layer1.bn1.weight", "backbone.layer10.conv.bias"),
    *("head", "head.fc.weight", "head.fc.bias"),
]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 2, 3)
        self.bn1 = nn.BatchNorm2d(2)
        self.drop = nn.Dropout(0.5)


class Model(nn.Module):
    """Two blocks, an embedding of its own, a parameter that its author has fixed, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.ones(2))
        self.layer1 = Block()
        self.layer2 = Block()
        self.layer2.fixed = nn.Parameter(torch.ones(2), requires_grad=False)
        self.head = nn.Linear(2, 3)


def to_steps(duration: int | str) -> int:
    """A run of 50 steps, 10 an epoch."""
    return duration if isinstance(duration, int) else {"1ep": 10, "2ep": 20, "9ep": 90, "100%": 50}[duration]


def frozen(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


def evaluating(model: nn.Module) -> set[str]:
    return {name for name, module in model.named_modules() if not module.training}


BLOCK = {"conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias"}
LAYER1 = {f"layer1.{name}" for name in BLOCK}
LAYER2 = {f"layer2.{name}" for name in BLOCK}
FIXED = {"layer2.fixed"}


@pytest.mark.parametrize(
    ("pattern", "covered"),
    [
        ("backbone.layer1", NAMES[1:4]),
        ("backbone.layer*", NAMES[1:5]),
        ("*.bn1", NAMES[2:4]),
        ("*.bias", ["backbone.layer10.conv.bias", "head.fc.bias"]),
        ("head.fc.bias", ["head.fc.bias"]),
        ("[bh]*", NAMES),
    ],
)
def test_a_pattern_covers_what_it_matches_and_all_below(pattern, covered):
    assert covering([pattern], NAMES, "freeze") == dict.fromkeys(covered, pattern)


def test_of_several_patterns_the_last_one_counts():
    assert covering(["backbone", "*.bn1"], NAMES, "freeze")["backbone.layer1.bn1.weight"] == "*.bn1"
    assert covering(["*.bn1", "backbone"], NAMES, "freeze")["backbone.layer1.bn1.weight"] == "backbone"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (
            "backbone.layr1",
            r"freeze: the pattern `backbone.layr1` covers nothing of the model. Did you mean `backbone.layer1`",
        ),
        ("layer1", r"Did you mean `backbone.layer1`\?"),
        ("layer1?.*", r"Did you mean `backbone.layer10.conv`\?"),
        ("zzz*", "There is `backbone`, `head`."),
        ("x", "There is `backbone`, `head`."),
        ("Backbone", "Did you mean `backbone`?"),
    ],
)
def test_a_pattern_that_covers_nothing_is_an_error_with_near_names(pattern, message):
    with pytest.raises(ConfigError, match=message):
        covering([pattern], NAMES, "freeze")


def test_a_list_freezes_for_the_whole_run():
    model = Model()
    freezing = Freezing(model, ["layer1"], to_steps)
    for step in (0, 10, 49):
        freezing.apply(step)
        assert frozen(model) == LAYER1 | FIXED
        assert evaluating(model) == {"layer1", "layer1.conv1", "layer1.bn1", "layer1.drop"}
    assert freezing.whole_run == set(model.layer1.parameters())


def test_a_module_stands_still_when_its_own_parameters_do():
    model = Model()
    Freezing(model, ["*.bn1.weight", "*.bn1.bias", "layer1.conv1.weight", "embedding"], to_steps)
    # The root has a parameter of its own, which is frozen; its children have their own mode.
    assert evaluating(model) == {"", "layer1.bn1", "layer2.bn1"}


@pytest.mark.parametrize("freeze", [{"scale": 5}, {"scale": 5, "fixed": 5}])
def test_what_the_author_has_fixed_counts_as_frozen_and_is_never_thawed(freeze):
    model = Model().layer2
    model.scale, model.fixed = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2), requires_grad=False)
    freezing = Freezing(model, freeze, to_steps)
    assert evaluating(model) == {""}
    freezing.apply(5)
    assert frozen(model) == {"fixed"}
    assert evaluating(model) == set()


def test_a_module_without_parameters_may_be_named():
    model = Model()
    Freezing(model, ["*.drop"], to_steps)
    assert frozen(model) == FIXED
    assert evaluating(model) == {"layer1.drop", "layer2.drop"}


def test_parts_thaw_at_their_step_and_the_last_pattern_says_which():
    model = Model()
    freeze = {"*": "9ep", "layer*": "2ep", "layer2": 10, "*.bn1": "100%", "head": 0}
    freezing = Freezing(model, freeze, to_steps)
    norms = {name for name in LAYER1 | LAYER2 if ".bn1." in name}
    rest = {"embedding"} | norms | FIXED
    for step, expected in [(0, rest | LAYER1 | LAYER2), (9, rest | LAYER1 | LAYER2), (10, rest | LAYER1), (20, rest)]:
        freezing.apply(step)
        assert frozen(model) == expected
    assert evaluating(model) == {"", "layer1.bn1", "layer2.bn1"}
    assert freezing.whole_run == {parameter for name, parameter in model.named_parameters() if name in rest - FIXED}


def test_the_state_follows_from_the_step_alone():
    gone_through, at_once = Model(), Model()
    freeze = {"layer1": 3, "layer2.bn1": 5}
    step_by_step, resumed = (Freezing(model, freeze, to_steps) for model in (gone_through, at_once))
    for step in range(7):
        step_by_step.apply(step)
        gone_through.train()  # whoever does so
        step_by_step.apply(step)
        resumed.apply(step)
        assert frozen(gone_through) == frozen(at_once)
        assert evaluating(gone_through) == evaluating(at_once)
    assert evaluating(at_once) == set()


def test_a_parameter_with_two_names_is_frozen_by_either():
    model = nn.ModuleDict(dict(a=nn.Linear(2, 2), b=nn.Linear(2, 2)))
    model["b"].weight = model["a"].weight
    Freezing(model, ["b"], to_steps)
    assert not model["a"].weight.requires_grad
    assert model["a"].bias.requires_grad


@pytest.mark.parametrize("freeze", [["*"], ["embedding", "layer*", "head"], {"*": 5}, {"layer*": 5, "[eh]*": "1ep"}])
def test_nothing_left_to_train_is_an_error(freeze):
    with pytest.raises(ConfigError, match="every parameter of Model is frozen when the run begins"):
        Freezing(Model(), freeze, to_steps)


def test_a_pattern_that_covers_nothing_to_freeze_is_refused():
    """Pooling has no weights and no statistics: whoever names it means something else."""
    model = ImageClassifier(dict(type="LeNet5"), dict(type="LinearHead", num_classes=4, dropout=0.5))
    with pytest.raises(ConfigError, match=r"freeze: the pattern `backbone.s2` covers nothing that training changes"):
        Freezing(model, ["backbone.s2"], to_steps)
    Freezing(model, ["head.dropout"], to_steps)
