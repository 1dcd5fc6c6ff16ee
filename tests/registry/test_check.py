"""Every mistake of a config at once, with its place and the nearest name."""

from __future__ import annotations

import copy
import random
import string
import subprocess
import sys
from pathlib import Path

import pytest

from knoll.registry import Config, check, config_from_dict, load_config

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.py"))

SEVEN = """\
size = 32
transforms = [
    dict(type="Rsize", size=size),
    dict(type="ToImage"),
]
config = dict(
    model=dict(
        type="ImageClassifier",
        backbone=dict(type="ResNet", dept=34),
        head=dict(type="LinearHead", num_classes="five"),
    ),
    loss=dict(type="CrossEntropyLos"),
    optimizer=dict(type="SGD", lr=0.1),
    train=dict(dataset=dict(type="DrawnFlowers"), transforms=transforms, batch_sise=8),
    evaluation=dict(val=dict(dataset=dict(type="DrawnFlowers", split="val"), transforms=transforms[1:])),
    metrics=dict(top1=dict(type="Accuracy")),
    hooks=dict(evaluation=dict(type="Evaluation"), checkpoint=dict(type="Checkpoint", best="val/top_1")),
    duration="3 epocs",
)
"""


def test_seven_mistakes_are_all_printed_with_place_and_nearest_name(tmp_path):
    (tmp_path / "seven.py").write_text(SEVEN)
    done = subprocess.run(
        [sys.executable, ROOT / "tools/train.py", "seven.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
    for place, hint in [
        ("model.backbone.dept (seven.py:9)", "Did you mean `depth`?"),
        ("model.head.num_classes (seven.py:10)", "expected a whole number, got 'five' (str)"),
        ("loss.type (seven.py:12)", "Did you mean `CrossEntropyLoss`"),
        ("train.batch_sise (seven.py:14)", "Did you mean `batch_size`?"),
        ("train.transforms.0.type (seven.py:3)", "Did you mean `Resize`"),
        ("hooks.checkpoint.best (seven.py:17)", "Did you mean `val/top1`?"),
        ("duration (seven.py:18)", "epochs ('5ep')"),
    ]:
        line = next(line for line in done.stderr.splitlines() if place in line)
        assert hint in line
    assert "has 7 mistakes" in done.stderr


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configs_here_have_no_mistake(path):
    assert check(load_config(path)) == []


def paths_of_keys(value, path=()):
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from paths_of_keys(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths_of_keys(item, (*path, index))


def misspell(word: str, rng: random.Random) -> str:
    """The word with one character replaced, removed, added, or two exchanged."""
    while True:
        at, letter = rng.randrange(len(word)), rng.choice(string.ascii_lowercase + "_")
        edited = rng.choice(
            [
                word[:at] + letter + word[at + 1 :],
                word[:at] + word[at + 1 :],
                word[:at] + letter + word[at:],
                word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :],
            ]
        )
        if edited and edited != word:
            return edited


def renamed(data: dict, path: tuple, new: str) -> dict:
    data = copy.deepcopy(data)
    holder = data
    for key in path[:-1]:
        holder = holder[key]
    items = [(new if key == path[-1] else key, value) for key, value in holder.items()]
    holder.clear()
    holder.update(items)
    return data


@pytest.mark.row(39)
def test_two_hundred_misspelt_keys_are_all_caught(figure):
    """Every key of a real config counts, names of hooks, metrics and sets among them."""
    data = load_config(ROOT / "configs/resnet34_flowers.py").data
    rng = random.Random(0)
    paths = list(paths_of_keys(data))
    missed = []
    for _ in range(200):
        path = rng.choice(paths)
        new = misspell(str(path[-1]), rng)
        if not check(Config(renamed(data, path, new))):
            missed.append((path, new))
    figure(f"{200 - len(missed)} of 200 keys with one character changed in a file: refused")
    assert missed == []


@pytest.mark.row(39)
def test_two_hundred_misspelt_overrides_are_all_caught(figure):
    data = load_config(ROOT / "configs/resnet34_flowers.py").data
    rng = random.Random(1)
    paths = [path for path in paths_of_keys(data) if path[-1] != "type"]
    missed = []
    for _ in range(200):
        path = list(map(str, rng.choice(paths)))
        at = rng.choice([index for index, key in enumerate(path) if not key.isdecimal()])
        path[at] = misspell(path[at], rng)
        try:
            problems = check(config_from_dict(data, [".".join(path) + "=12345"]))
        except ValueError:
            continue
        if not problems:
            missed.append(".".join(path))
    figure(f"{200 - len(missed)} of 200 overrides with one character changed: refused")
    assert missed == []


def minimal(**changes) -> dict:
    data = dict(
        model=dict(type="ImageClassifier", backbone=dict(type="LeNet5"), head=dict(type="LinearHead", num_classes=10)),
        loss=dict(type="CrossEntropyLoss"),
        optimizer=dict(type="SGD", lr=0.1),
        train=dict(dataset=dict(type="MNIST")),
        duration=10,
    )
    return data | changes


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        (dict(train=dict(dataset=dict(type="MNIST"), batch_size=0)), "train.batch_size", "at least 1"),
        (dict(train=dict(dataset=dict(type="MNIST"), batch_size=True)), "train.batch_size", "a whole number"),
        (dict(precision="fp8"), "precision", "one of 'fp32', 'bf16', 'fp16'"),
        (dict(model=minimal()["model"] | dict(num_classes=5)), "model.num_classes", "mean `model.head.num_classes`?"),
        (dict(metrics=dict(top1="Accuracy")), "metrics.top1", "expected dict(type=...)"),
        (dict(loss=dict(typ="MSELoss")), "loss", "Did you mean `type` where it says `typ`?"),
        (dict(loss=dict(type=3)), "loss", "it is a registered name"),
        (dict(loss=dict(type="ResNet")), "loss.type", "it is not a loss"),
        (dict(optimizer=dict(type="SGD", params=[])), "optimizer.params", "filled in by Knoll"),
        (dict(optimizer=dict(type="timm/lam")), "optimizer.type", "Did you mean `timm/lamb`"),
        (dict(evaluation=dict(val=dict(batch_size=3))), "evaluation.val", "`dataset` is missing"),
        (dict(imports=["no_such_module"]), "imports", "there is no module `no_such_module`"),
        (dict(plugins=["no_such_folder"]), "plugins", "there is no folder"),
        (
            dict(hooks=dict(lr=dict(type="LRSchedule", scheduler=dict(type="StepLR", step_size="3ep", gama=1)))),
            "hooks.lr.scheduler.gama",
            "Did you mean `gamma`?",
        ),
        (
            dict(train=dict(dataset=dict(type="FirstAvailable", datasets=[dict(type="MNITS")]))),
            "train.dataset.datasets.0.type",
            "Did you mean `MNIST`",
        ),
        (dict(hooks=dict(chekpoint=dict(type="Checkpoint"))), "hooks.chekpoint", "`checkpoint`"),
        (dict(hooks=dict(a=dict(type="Checkpoint", best="val/top1"))), "hooks.a.best", "No hook evaluates"),
        (dict(evaluation=dict(train=dict(dataset=dict(type="MNIST")))), "evaluation.train", "choose another name"),
        (dict(metrics=dict(loss=dict(type="Accuracy"))), "metrics.loss", "choose another name"),
        (dict(metrics={"a/b": dict(type="Accuracy")}), "metrics.a/b", "no `/`"),
        (dict(evaluation=3), "evaluation", "expected a dict, got 3"),
        (dict(evaluation=dict(val=None)), "evaluation", "expected a dict at 'val'"),
        (dict(train=None), "train", "expected a dict, got None"),
        (dict(train=dict(dataset=dict(type="MNIST"), transforms=["ToImage"])), "train.transforms.0", "dict(type=...)"),
        (dict(duration="10%"), "duration", "cannot be a share of itself"),
        (dict(freze=["backbone"]), "freze", "Did you mean `freeze`?"),
        (dict(lr=0.1), "lr", "Did you mean `optimizer.lr`?"),
        (dict(batch_size=8), "batch_size", "Did you mean `train.batch_size`?"),
        (dict(checkpoint={}, hooks=dict(checkpoint=dict(type="Checkpoint"))), "checkpoint", "`hooks.checkpoint`?"),
        (dict(max_epochs=8), "max_epochs", "Did you mean `duration='5ep'`?"),
        (dict(freeze="backbone"), "freeze", "expected a list or a dict, got 'backbone'"),
        (dict(freeze=["backbone", 3]), "freeze", "expected a string at 1"),
        (dict(freeze={"backbone": "3 weeks"}), "freeze", "expected steps (500), epochs ('5ep')"),
        (dict(freeze={"backbone": -1}), "freeze", "steps that are not negative at 'backbone'"),
        (dict(param_groups=["backbone"]), "param_groups", "expected a dict or None"),
        (dict(param_groups=dict(layer_deay=0.5)), "param_groups.layer_deay", "Did you mean `layer_decay`?"),
        (dict(param_groups=dict(layer_decay="0.5x")), "param_groups.layer_decay", "expected a number or None"),
        (dict(param_groups=dict(patterns=dict(head=0.1))), "param_groups.patterns", "expected a dict at 'head'"),
        (
            dict(param_groups=dict(patterns={"*.bn1": dict(lr_scal=0.1)})),
            "param_groups.patterns.*.bn1.lr_scal",
            "Did you mean `lr_scale`?",
        ),
        (
            dict(param_groups=dict(patterns={"head": dict(weight_decay=-0.1)})),
            "param_groups.patterns.head.weight_decay",
            "at least 0",
        ),
        (dict(duration=0), "duration", "at least 1 step"),
        (dict(loss=dict(type="CrossEntropyLoss", weight=["a"])), "loss.weight", "a list of numbers"),
        (
            dict(metrics=dict(f1=dict(type="torchmetrics/MulticlassF1Score", avrage="macro"))),
            "metrics.f1.avrage",
            "Did you mean `average`?",
        ),
        (
            dict(hooks=dict(lr=dict(type="LRSchedule", scheduler=dict(type="StepLR", step_size=3, gamma="5%")))),
            "hooks.lr.scheduler.gamma",
            "expected a number, got '5%'",
        ),
    ],
)
@pytest.mark.row(40)
def test_one_mistake_one_message(changes, path, message):
    problems = check(Config(minimal(**changes)))
    assert [".".join(map(str, problem.path)) for problem in problems] == [path]
    assert message in problems[0].message


@pytest.mark.parametrize(
    ("head", "path", "message"),
    [
        (dict(type="LinerHead", num_classes=10), "model.auxiliary_head.type", "Did you mean `LinearHead`"),
        (dict(type="LinearHead"), "model.auxiliary_head", "`num_classes` is missing"),
        (dict(type="LinearHead", num_classes=10, in_features=3), "model.auxiliary_head.in_features", "by Knoll"),
        (dict(type="LinearHead", num_classes=10, drop=0.1), "model.auxiliary_head.drop", "Did you mean `dropout`?"),
        (dict(type="LeNet5"), "model.auxiliary_head.type", "it is not a head"),
    ],
)
def test_an_auxiliary_head_is_a_head(head, path, message):
    model = minimal()["model"] | dict(backbone=dict(type="GoogLeNet"), auxiliary_head=head)
    problems = check(Config(minimal(model=model)))
    assert [".".join(map(str, problem.path)) for problem in problems] == [path]
    assert message in problems[0].message


def test_what_is_filled_in_is_no_place_for_a_key():
    """A head takes `in_features`, but not from a config."""
    assert [problem.message for problem in check(Config(minimal(in_features=8)))] == ["unknown key."]


def test_what_a_subclass_passes_to_its_base_is_not_missing():
    metrics = dict(f1=dict(type="torchmetrics/MulticlassF1Score", average="macro"))
    assert check(Config(minimal(metrics=metrics))) == []


def test_a_second_hook_of_a_type_may_be_numbered():
    evaluation = dict(type="Evaluation")
    assert check(Config(minimal(hooks=dict(evaluation=evaluation, evaluation_2=evaluation)))) == []


def test_parts_of_a_model_are_told_by_patterns_of_any_name():
    groups = dict(patterns={"*.bn?": dict(lr_scale=1, weight_decay=None), "head": {}}, layer_decay=0.75)
    for freeze in (["backbone.layer*"], {"backbone": "3ep", "head.fc": 0, "*": "100%", "*.bn1": "200img"}):
        assert check(Config(minimal(freeze=freeze, param_groups=groups))) == []


def test_the_minimal_config_is_right():
    assert check(Config(minimal())) == []
    assert check(Config(minimal(optimizer=dict(type="timm/lamb", lr=0.1, trust_clip=True)))) == []
