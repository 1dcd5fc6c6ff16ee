"""SAM in a run: the second pass is the first one at other weights, and nothing else in the run knows of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from knoll.registry import BACKBONES, UserError, config_from_dict
from knoll.runner import Runner
from knoll.runner.verification import verify

SGD = dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=0.01)


class Normed(nn.Module):
    """Batch normalisation and dropout."""

    num_features = 4

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 5, stride=4)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.2)

    def forward(self, images: Tensor) -> Tensor:
        return self.drop(self.norm(self.conv(images)).relu())


@pytest.fixture(autouse=True)
def registered():
    BACKBONES.register_module(module=Normed)
    yield
    del BACKBONES.module_dict["Normed"]


def with_optimizer(config: dict[str, Any], optimizer: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return copy.deepcopy(config) | dict(optimizer=optimizer) | changes


def test_a_few_steps_equal_a_loop_written_by_hand(tiny):
    """With dropout, batch normalisation, momentum, weight decay and clipping; a batch is a step."""
    tiny["model"]["backbone"] = dict(type="Normed")
    del tiny["hooks"]["lr_schedule"]
    tiny = with_optimizer(tiny, dict(type="SAM", base_optimizer=SGD, rho=0.2), accumulate=1, duration=7, clip_norm=0.5)
    by_hand = Runner(tiny, "unused")
    model = by_hand.model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    for batch in by_hand.train_loader.batches(0, 7):
        generator = torch.get_rng_state()
        loss = cross_entropy(model(batch.images), batch.labels)
        first = torch.autograd.grad(loss, list(model.parameters()))
        length = sum(each.double().square().sum() for each in first) ** 0.5
        uphill = copy.deepcopy(model)
        for weight, gradient in zip(uphill.parameters(), first, strict=True):
            weight.data += 0.2 * gradient / length
        torch.set_rng_state(generator)
        second = torch.autograd.grad(cross_entropy(uphill(batch.images), batch.labels), list(uphill.parameters()))
        for weight, gradient in zip(model.parameters(), second, strict=True):
            weight.grad = gradient
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    drawn = torch.get_rng_state()
    runner = Runner(tiny, "run")
    runner.train()
    assert torch.equal(torch.get_rng_state(), drawn)
    assert float(runner.loss) == pytest.approx(loss.item(), rel=1e-5)  # the one at the weights, not above them
    for name, value in model.state_dict().items():
        torch.testing.assert_close(runner.model.state_dict()[name], value, rtol=1e-4, atol=1e-6, msg=name)
    assert int(runner.model.state_dict()["backbone.norm.num_batches_tracked"]) == 7


def test_without_a_distance_it_is_the_base_to_the_bit(tiny, differences):
    """The second pass at the same weights, with the same dropout, in the same batches: the same gradient."""
    tiny["model"]["backbone"] = dict(type="Normed")
    tiny["hooks"]["ema"] = dict(type="EMA", decay=0.9)
    states = []
    for name, optimizer in dict(base=SGD, sam=dict(type="SAM", base_optimizer=SGD, rho=0)).items():
        runner = Runner(with_optimizer(tiny, optimizer), name)
        runner.train()
        states.append(copy.deepcopy(runner.state_dict()))
    assert states[0]["step"] == 12
    parts = ("model", "optimizer", "hooks", "random", "metrics")
    assert [each for part in parts for each in differences(states[0][part], states[1][part])] == []


def test_accumulated_batches_are_one_large_batch(tiny):
    """Both passes go over all batches of the step: e is that of their mean gradient."""
    tiny["model"]["head"]["dropout"] = 0.0
    tiny["train"]["transforms"] = tiny["train"]["transforms"][1:]
    sam = dict(type="SAM", base_optimizer=dict(type="SGD", lr=0.05), rho=0.2, adaptive=True)
    found = []
    for batch_size, accumulate in ((4, 3), (12, 1)):
        config = with_optimizer(tiny, sam, accumulate=accumulate, duration=3)
        config["train"] = config["train"] | dict(batch_size=batch_size)
        runner = Runner(config, f"run_{batch_size}")
        runner.train()
        found.append(copy.deepcopy(runner.model.state_dict()))
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_in_low_precision_a_step_is_near_the_one_in_fp32(tiny, precision):
    tiny["model"]["head"]["dropout"] = 0.0
    del tiny["hooks"]["lr_schedule"]
    sam = dict(type="SAM", base_optimizer=dict(type="SGD", lr=0.05), rho=0.05)
    moved = {}
    for name in ("fp32", precision):
        runner = Runner(with_optimizer(tiny, sam, duration=1, clip_norm=None, precision=name), f"run_{name}")
        before = torch.cat([each.detach().flatten().clone() for each in runner.model.parameters()])
        runner.train()
        moved[name] = torch.cat([each.detach().flatten() for each in runner.model.parameters()]) - before
    assert (moved[precision] - moved["fp32"]).norm() < 0.05 * moved["fp32"].norm()


def test_fp16_leaves_out_a_step_whose_gradients_overflow(tiny):
    runner = Runner(with_optimizer(tiny, dict(type="SAM", base_optimizer=SGD), precision="fp16"), "run")
    runner.update.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    before = copy.deepcopy(runner.model.state_dict())
    runner.update.backward(list(runner.train_loader.batches(0, 3)))
    runner.update.step()
    assert all(torch.equal(value, runner.model.state_dict()[name]) for name, value in before.items())
    assert runner.update.scaler.get_scale() == 2.0**39


def test_an_image_that_is_not_finite_stops_the_run_with_its_weights(tiny):
    tiny["model"]["backbone"] = dict(type="Normed")
    runner = Runner(with_optimizer(tiny, dict(type="SAM", base_optimizer=SGD)), "run")
    before = copy.deepcopy(runner.model.state_dict())
    backward = runner.update.backward

    def spoilt(batches):
        batches[1].images[2] = float("nan")
        return backward(batches)

    runner.update.backward = spoilt
    with pytest.raises(UserError, match=r"step 1 \(epoch 1\): the loss is nan. The weights are what they were"):
        runner.train()
    assert all(torch.equal(value, runner.model.state_dict()[name]) for name, value in before.items())


@pytest.mark.parametrize(
    "optimizer",
    [
        dict(type="SAM", base_optimizer=SGD, rho=0.2),
        dict(type="Lookahead", base_optimizer=dict(type="AdamW", lr=0.01), k=2),
        dict(type="SAM", base_optimizer=dict(type="Lookahead", base_optimizer=SGD, k=2), rho=0.2, adaptive=True),
    ],
    ids=["SAM", "Lookahead", "SAM of Lookahead"],
)
@pytest.mark.row(12)
def test_it_is_resumed_to_the_bit(tiny, figure, optimizer):
    """Stopped before, at and after the steps at which slow weights move."""
    tiny["model"]["backbone"] = dict(type="Normed")
    report = verify(config_from_dict(with_optimizer(tiny, optimizer)), steps=6, stops=[1, 2, 3])
    assert report.explanation == []
    parts = [optimizer["type"], optimizer["base_optimizer"]["type"]]
    figure(f"{' of '.join(parts)}: stopped {len(report.stops)} times, every entry equal")


def train(config: dict[str, Any], folder: str) -> dict[str, Any]:
    runner = Runner(config, folder)
    runner.train()
    return copy.deepcopy(runner.model.state_dict())


def test_two_processes_are_one_with_the_same_batch(tiny, processes):
    tiny["model"]["head"]["dropout"] = 0.0
    tiny = with_optimizer(
        tiny, dict(type="SAM", base_optimizer=dict(type="Lookahead", base_optimizer=SGD, k=2), rho=0.2)
    )
    whole = train(tiny, "whole")
    tiny["train"]["batch_size"] = 2
    found = processes(2, train, tiny, "parts")
    assert [each.status for each in found] == [0, 0], found
    for name, value in whole.items():
        assert float((found[0].value[name] - value).abs().max()) < 1e-6
        assert torch.equal(found[0].value[name], found[1].value[name])
