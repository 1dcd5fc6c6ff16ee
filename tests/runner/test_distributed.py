"""Several processes train as one would, and measure as one would."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from knoll.datasets.loading.randomness import random_state
from knoll.hooks.hook import Hook
from knoll.models.outputs import Outputs
from knoll.registry import BACKBONES, HOOKS, LOSSES, MODELS
from knoll.runner import Runner
from knoll.runner.processes.distributed import ALONE, World
from knoll.runner.saving.checkpoint import load


def train(config: dict[str, Any], folder: str, resume: str | None = None) -> dict[str, Any]:
    runner = Runner(config, folder, resume=resume)
    metrics = runner.train()
    return copy.deepcopy(runner.state_dict()) | dict(metrics=metrics)


def furthest(found: dict[str, Any], wanted: dict[str, Any], part: str = "model") -> float:
    return max(float((found[part][name] - value).abs().max()) for name, value in wanted[part].items())


def equal(first: Any, second: Any) -> bool:
    """To the bit."""
    if isinstance(first, Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second


@pytest.fixture
def plain(tiny) -> dict[str, Any]:
    """Without what is drawn for a process and not for a sample: dropout. 42 images: an epoch's last batch is smaller,
    and in three processes uneven; the last update of an epoch is of one batch."""
    tiny["model"]["head"]["dropout"] = 0.0
    tiny["train"]["drop_last"] = False
    return tiny


class CentredLoss(nn.CrossEntropyLoss):
    """With a parameter, which no DistributedDataParallel sees."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return super().forward(logits * self.scale, labels)


class Skipping(nn.Module):
    """One of its layers takes part in every other step only, and never in evaluation."""

    num_features = 8
    example_shape = (1, 28, 28)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(784, 8), nn.Linear(8, 8)
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += self.training
        features = self.first(images.flatten(1))
        return self.second(features) if self.training and self.calls % 2 else features


class Auxiliary(nn.Module):
    """With two auxiliary heads in training."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(784, num_classes) for _ in range(3))

    def forward(self, images: Tensor) -> Tensor | Outputs:
        logits, *auxiliary = (layer(images.flatten(1)) for layer in self.layers)
        return Outputs(logits, tuple(auxiliary), 0.3) if self.training else logits


class SpoilSecond(Hook):
    """In the second process, makes one image NaN before a step."""

    def before_iter(self, runner: Runner) -> None:
        if runner.step == 2 and runner.world.rank == 1:
            runner.batches[1].images[1, 0, 3, 3] = float("nan")


@pytest.fixture(autouse=True)
def registered():
    own_ones = ((LOSSES, CentredLoss), (BACKBONES, Skipping), (MODELS, Auxiliary), (HOOKS, SpoilSecond))
    for registry, own in own_ones:
        registry.register_module(module=own)
    yield
    for registry, own in own_ones:
        del registry.module_dict[own.__name__]


@pytest.mark.parametrize(
    "change",
    [
        {},
        dict(loss=dict(type="CentredLoss")),
        dict(
            model=dict(
                type="ImageClassifier", backbone=dict(type="Skipping"), head=dict(type="LinearHead", num_classes=4)
            )
        ),
        dict(model=dict(type="Auxiliary", num_classes=4)),
        dict(freeze={"backbone": "1ep"}),
    ],
    ids=["plain", "loss with parameters", "layers left out", "auxiliary heads", "thaw"],
)
@pytest.mark.parametrize("count", [2, 3])
def test_the_weights_are_those_of_one_process(plain, processes, count, change):
    """With as many images in a step, augmented, accumulated, clipped; to the rounding of another order of adding."""
    plain |= copy.deepcopy(change)
    plain["train"]["batch_size"] = 6
    whole = train(plain, "whole")
    plain["train"]["batch_size"] = 6 // count
    found = processes(count, train, plain, "parts")
    assert [each.status for each in found] == [0] * count, found
    assert found[0].value["step"] == whole["step"] == 9
    for each in found:
        assert furthest(each.value, whole) < 1e-6
        assert not whole["loss"] or furthest(each.value, whole, "loss") < 1e-6
        assert each.value["metrics"] == pytest.approx(whole["metrics"], abs=1e-6)
        assert equal(each.value["model"], found[0].value["model"])
    assert equal(load("parts/checkpoints/last.pt")["model"], found[0].value["model"])


def measured(config: dict[str, Any]) -> dict[str, float]:
    """Metrics of a model as it begins."""
    return Runner(config, "unused").evaluate()


@pytest.mark.row(45)
@pytest.mark.parametrize("views", [[], [dict(type="RandomHorizontalFlip", p=p) for p in (0.0, 1.0)]], ids=["", "views"])
def test_an_evaluation_gives_the_figures_of_one_process(tiny, processes, views, figure):
    """18 images in batches of 5: four batches, for two processes two rounds, for three a round and a third."""
    tiny["evaluation"]["val"]["views"] = views
    tiny["metrics"] |= dict(
        f1=dict(type="torchmetrics/MulticlassF1Score"),
        auroc=dict(type="torchmetrics/MulticlassAUROC"),
        calibration=dict(type="torchmetrics/MulticlassCalibrationError"),
    )
    whole = measured(tiny)
    found = [each for count in (2, 3) for each in processes(count, measured, tiny)]
    same = sum(each.value == whole for each in found)
    what = f"loss and {len(whole) - 1} metrics" + (", by several views" if views else "")
    figure(f"in {same} of {len(found)} processes (2, then 3): {what} equal to those of one process to the bit")
    assert same == len(found) == 5, found


@pytest.fixture
def normalised(tiny) -> dict[str, Any]:
    """With dropout and BatchNorm, of which each process has its own."""
    tiny["model"]["backbone"] = dict(type="CIFARResNet", depth=8, in_channels=1)
    tiny["train"]["batch_size"] = 2
    tiny["hooks"]["checkpoint"]["keep"] = 99
    return tiny


def test_what_is_measured_is_what_is_saved(normalised, processes):
    """The first process's running averages count, in all of them."""
    found = processes(2, train, normalised, "run")
    state = load("run/checkpoints/last.pt")
    normalised["train"]["batch_size"] *= 2
    one = Runner(normalised, "unused")
    one.load_state_dict(state)
    assert one.evaluate() == state["metrics"] == found[0].value["metrics"] == found[1].value["metrics"]


@pytest.mark.parametrize("count", [2, 3])
def test_a_resumed_run_ends_with_the_same_bits(normalised, processes, count):
    """Saved by the first alone."""
    whole = processes(count, train, normalised, "whole")
    resumed = processes(count, train, normalised, "resumed", "whole/checkpoints/step_00000004.pt")
    assert [each.status for each in (*whole, *resumed)] == [0] * count * 2
    last, again = (load(f"{folder}/checkpoints/last.pt") for folder in ("whole", "resumed"))
    assert last["step"] == again["step"] > 4
    for part in ("model", "optimizer", "hooks", "metrics", "random"):
        assert equal(last[part], again[part]), part
    assert all(equal(each.value["optimizer"], last["optimizer"]) for each in (*whole, *resumed))


@pytest.mark.row(16)
def test_another_number_of_processes_is_refused(tiny, processes, figure):
    assert [each.status for each in processes(2, train, tiny | dict(duration=2), "run")] == [0, 0]
    others = {count: processes(count, train, tiny, "run", "run/checkpoints/last.pt") for count in (1, 3)}
    assert [each.status for found in others.values() for each in found] == [1] * 4
    # Whoever looks first says so; the others may find that one gone before they have looked.
    said = {count: "\n".join(each.value for each in found) for count, found in others.items()}
    refused = [count for count in said if f"was written by 2 processes, now there are {count}" in said[count]]
    figure(f"a world size of {' and of '.join(map(str, refused))} in place of 2 refused, both numbers named")
    assert refused == [1, 3]


def test_a_loss_that_is_nan_in_one_process_stops_all(tiny, processes):
    """The message names that process's images, and only those."""
    tiny["hooks"]["spoil"] = dict(type="SpoilSecond")
    tiny["train"]["batch_size"] = 2
    first, second = processes(2, train, tiny, "run")
    assert first.status == second.status == 1
    said = first.value
    assert said.startswith("UserError: step 3 (epoch 1): the loss is nan. The weights are what they were before it.")
    assert "process 1 ends for the reason that process 0 gives" in second.value
    state = load("run/checkpoints/last.pt")
    assert state["step"] == 2
    loader = Runner(tiny, "unused").train_loader
    order = loader.sampler.order(0)
    # Batches 6 to 8 make the third step: of batch 7, images 28 to 31, the second process has the last two.
    names = [loader.dataset.name(order[place]) for place in (30, 31)]
    assert f"Their images are not finite: {names[1]}\n" in said
    assert f"All images of that batch: {', '.join(names)}\n" in said


def of_the_second(config: dict[str, Any]) -> None:
    import os

    if os.environ["RANK"] == "1":
        with np.load("arrays.npz") as arrays:
            parts = dict(arrays)
        parts |= dict(train_images=parts["train_images"][:-1], train_labels=parts["train_labels"][:-1])
        np.savez("others.npz", **parts)
        config["train"]["dataset"]["path"] = "others.npz"
    Runner(config, "run")


def test_processes_with_other_data_are_refused(tiny, processes):
    first, second = processes(2, of_the_second, tiny)
    assert first.status == second.status == 1
    wanted = "differ in the config's train.dataset.path: 'arrays.npz' in process 0, 'others.npz' in process 1"
    assert wanted in first.value


def test_each_process_draws_its_own_in_every_step():
    def drawn(world: World, step: int) -> tuple[float, ...]:
        torch.manual_seed(1)
        world.seed_step(0, step)
        return float(torch.rand(())), float(np.random.rand()), random.random()

    several = {(rank, step): drawn(World(rank, 2), step) for rank in (0, 1) for step in (0, 1)}
    assert len(set(several.values())) == 4
    assert all(drawn(World(rank, 2), step) == each for (rank, step), each in several.items())
    before = random_state()
    ALONE.seed_step(0, 0)
    assert equal(random_state(), before)
