"""SAM against its formula, Lookahead against timm's and the paper's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.optim import Lookahead
from torch import Tensor, nn

from knoll.optim.param_groups import build_optimizer
from knoll.registry import OPTIMIZERS, BuildError, ConfigError, ParamGroup, ParamGroups, check, config_from_dict

SGD = dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=0.01)


def build(config: dict[str, Any], *params: Tensor) -> Any:
    return OPTIMIZERS.build(config, default_args=dict(params=params))


def bowl() -> tuple[nn.Parameter, nn.Parameter, Tensor]:
    """Two weights, and H of the loss w H w / 2 over both together: its gradient is H w."""
    torch.manual_seed(0)
    half = torch.randn(5, 5, dtype=torch.float64)
    first, second = (nn.Parameter(torch.randn(n, dtype=torch.float64)) for n in (2, 3))
    return first, second, half @ half.T


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_the_second_gradient_is_that_of_the_formula(adaptive, scale):
    first, second, hessian = bowl()
    optimizer = build(dict(type="SAM", base_optimizer=SGD, rho=0.5, adaptive=adaptive), first, second)

    def backward(factor: float = 1.0) -> Tensor:
        optimizer.zero_grad()
        weights = torch.cat([first, second])
        (factor * weights @ hessian @ weights / 2).backward()
        assert first.grad is not None
        assert second.grad is not None
        return torch.cat([first.grad, second.grad])

    w = torch.cat([first, second]).detach().clone()
    backward(scale)
    with optimizer.ascended():
        found = backward()
    assert torch.equal(torch.cat([first, second]), w)
    g = hessian @ w
    e = 0.5 * w**2 * g / (w * g).norm() if adaptive else 0.5 * g / g.norm()
    torch.testing.assert_close(found, hessian @ (w + e), rtol=1e-12, atol=1e-12)
    optimizer.step()
    torch.testing.assert_close(torch.cat([first, second]), w - 0.1 * (found + 0.01 * w), rtol=1e-12, atol=1e-12)


def test_the_weights_are_back_also_after_an_error_and_after_gradients_that_are_not_finite():
    first, second, _ = bowl()
    optimizer = build(dict(type="SAM", base_optimizer=SGD), first, second)
    before = [first.detach().clone(), second.detach().clone()]
    first.grad, second.grad = torch.full_like(first, float("inf")), torch.ones_like(second)
    seen = []

    def fail() -> None:
        with optimizer.ascended():
            seen.append(first.detach().clone())
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert seen[0].isnan().all()
    assert torch.equal(first, before[0])
    assert torch.equal(second, before[1])


def test_a_gradient_of_zero_leads_nowhere():
    first, second, _ = bowl()
    optimizer = build(dict(type="SAM", base_optimizer=SGD), first, second)
    first.grad = torch.zeros_like(first)
    before = first.detach().clone()
    with optimizer.ascended():
        assert torch.equal(first, before)


@pytest.mark.parametrize("kind", ["SAM", "Lookahead"])
def test_rates_and_state_are_those_of_the_base(kind):
    first, second, _ = bowl()
    optimizer = build(dict(type=kind, base_optimizer=dict(type="AdamW", lr=0.3)), first, second)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    for _ in range(3):
        first.grad, second.grad = torch.ones_like(first), torch.ones_like(second)
        optimizer.step()
        schedule.step()
    saved = optimizer.state_dict()
    assert saved["param_groups"][0]["lr"] == 0.3 / 8
    assert int(saved["state"][1]["step"]) == 3
    again = build(dict(type=kind, base_optimizer=dict(type="AdamW", lr=9.0)), first, second)
    later = torch.optim.lr_scheduler.StepLR(again, 1, 0.5)
    again.load_state_dict(saved)
    later.load_state_dict(schedule.state_dict())
    later.step()
    assert again.state_dict()["param_groups"][0]["lr"] == 0.3 / 16  # what steps, and not a list left behind


def test_lookahead_is_timms_to_the_bit():
    weights = {}
    for name in ("ours", "theirs"):
        first, second, hessian = bowl()
        if name == "ours":
            optimizer = build(dict(type="Lookahead", base_optimizer=SGD, alpha=0.3, k=2), first, second)
        else:
            inner = torch.optim.SGD([first, second], lr=0.1, momentum=0.9, weight_decay=0.01)
            optimizer = Lookahead(inner, 0.3, 2)
        for _ in range(7):
            optimizer.zero_grad()
            joined = torch.cat([first, second])
            (joined @ hessian @ joined / 100).backward()
            optimizer.step()
        weights[name] = torch.cat([first, second]).detach()
    assert torch.equal(weights["ours"], weights["theirs"])


def test_lookahead_after_its_first_k_steps_is_that_of_the_paper():
    """A gradient of 1 and a rate of 0.1: the fast weight goes down by 0.2 in two steps, the slow one by 0.3 of that."""
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = build(dict(type="Lookahead", base_optimizer=dict(type="SGD", lr=0.1), alpha=0.3, k=2), weight)
    seen = []
    for _ in range(6):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        seen.append(weight.item())
    assert seen == pytest.approx([-0.1, -0.2, -0.3, -0.26, -0.36, -0.32])


def test_groups_keep_their_rates_and_another_batch_scales_all_of_them():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    settings = ParamGroups({"1": ParamGroup(lr_scale=0.1)}, decay_norms_and_biases=False)
    for config in (SGD, dict(type="SAM", base_optimizer=SGD), dict(type="Lookahead", base_optimizer=SGD)):
        optimizer = build_optimizer(config, model, nn.CrossEntropyLoss(), settings, set(), lr_factor=4)
        rates = {each: group["lr"] for group in optimizer.param_groups for each in group["params"]}
        assert [rates[each] for each in model.parameters()] == pytest.approx([0.4, 0.4, 0.04, 0.04])
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0, 0.01, 0]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (dict(type="SAM", base_optimizer=dict(type="LBFGS", lr=1.0)), "LBFGS evaluates the loss several times"),
        (dict(type="Lookahead", base_optimizer=dict(type="SAM", base_optimizer=SGD)), "put SAM outside"),
    ],
)
def test_what_cannot_be_inside_is_refused(config, said):
    with pytest.raises(ConfigError, match=said):
        build_optimizer(config, nn.Linear(2, 2), nn.CrossEntropyLoss(), None, set())


def test_a_rate_that_the_optimizer_finds_itself_cannot_be_scaled():
    with pytest.raises(ConfigError, match="base_batch: timm/adafactor finds its learning rate itself"):
        build_optimizer(dict(type="timm/adafactor"), nn.Linear(2, 2), nn.CrossEntropyLoss(), None, set(), 2.0)


def test_mistakes_inside_are_found_by_the_check(tiny):
    tiny["optimizer"] = dict(type="SAM", base_optimizer=dict(type="SGD", lrr=0.1), rho=-1)
    rate, inner = check(config_from_dict(tiny))
    assert (rate.path, rate.message) == (("optimizer", "rho"), "expected at least 0, got -1 (int). (SAM)")
    assert inner.path == ("optimizer", "base_optimizer", "lrr")
    assert inner.message == "unknown key. Did you mean `lr`? (SGD)"
    with pytest.raises(BuildError, match="base_optimizer"):
        build(dict(type="SAM"), nn.Parameter(torch.ones(1)))
