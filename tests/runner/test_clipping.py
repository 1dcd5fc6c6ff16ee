"""Clipping by each of its formulas, and once the norm for both the check and the clipping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from knoll.registry import check, config_from_dict
from knoll.runner import Runner
from knoll.runner.step.clipping import Clipping


@pytest.fixture
def gradients(tiny) -> Callable[..., tuple[list[Tensor], list[Tensor], Runner]]:
    """The gradients of a first step before and after they are clipped as some keys say."""

    def compute(**keys: Any) -> tuple[list[Tensor], list[Tensor], Runner]:
        tiny["model"]["head"]["dropout"] = 0.0
        runner = Runner(tiny | dict(clip_norm=None) | keys, "run")
        runner.update.backward(list(runner.train_loader.batches(0, 3)))
        parameters = list(runner.model.parameters())
        before = [each.grad.clone() for each in parameters if each.grad is not None]
        weights = [each.detach().clone() for each in parameters]
        runner.update.step()
        for parameter, weight in zip(parameters, weights, strict=True):
            parameter.data = weight  # as they were when the gradients were clipped
        return before, [each.grad for each in parameters if each.grad is not None], runner

    return compute


def test_by_value(gradients):
    before, after, _ = gradients(clip_value=0.001)
    assert any(each.abs().max() > 0.001 for each in before)
    for was, is_now in zip(before, after, strict=True):
        assert torch.equal(is_now, was.clamp(-0.001, 0.001))


def test_in_proportion_to_the_weights(gradients):
    """Equation 3 of Brock et al. 2021: rows whose |g| / max(|w|, 1e-3) is above the factor are scaled down to it; a
    bias is one row; the last layer stays as it is."""
    before, after, runner = gradients(clip_agc=0.01)
    clipped = 0
    for (name, weight), was, is_now in zip(runner.model.named_parameters(), before, after, strict=True):
        if name.startswith("head."):
            assert torch.equal(is_now, was)
            continue
        rows = 1 if weight.ndim == 1 else len(weight)
        for w, g, found in zip(*(each.detach().reshape(rows, -1) for each in (weight, was, is_now)), strict=True):
            most = 0.01 * max(float(w.norm()), 1e-3)
            expected = g * most / g.norm() if g.norm() > most else g
            clipped += bool(g.norm() > most)
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-9)
    assert clipped > 20


def test_the_last_layers_are_those_with_the_classes():
    def left_out(model: nn.Module) -> set[str]:
        clipping = Clipping(agc=0.01, model=model)
        return {name for name, each in model.named_parameters() if each in clipping._left_out}

    import timm

    small = dict(num_classes=3, pretrained=False)
    assert left_out(timm.create_model("resnet10t", **small)) == {"fc.weight", "fc.bias"}
    assert left_out(timm.create_model("convnext_atto", **small)) == {"head.fc.weight", "head.fc.bias"}


@pytest.mark.parametrize("checked", [True, False])
def test_the_norm_is_found_once_in_a_step_and_is_that_of_what_is_clipped(tiny, monkeypatch, checked):
    """By the check for numbers that are not finite, or else for the clipping. Also after a hook has changed the
    gradients: what is clipped to 0.5 has that norm."""
    calls = []
    found = torch.nn.utils.get_total_norm

    def counted(*arguments: Any, **options: Any) -> Tensor:
        calls.append(found(*arguments, **options))
        return calls[-1]

    monkeypatch.setattr(torch.nn.utils, "get_total_norm", counted)
    runner = Runner(tiny | dict(clip_norm=0.5), "run")
    calls.clear()
    for step in range(2):
        runner.update.backward(list(runner.train_loader.batches(3 * step, 3 * step + 3)))
        for parameter in runner.model.parameters():
            parameter.grad *= 100
        assert not checked or runner.update.is_finite()
        runner.update.step()
        squares = sum(float(each.grad.double().square().sum()) for each in runner.model.parameters())
        assert squares**0.5 == pytest.approx(0.5, rel=1e-5)
    assert len(calls) == (0 if checked else 2)


def test_it_equals_torchs_own_to_the_bit():
    torch.manual_seed(0)
    ours, theirs = ([nn.Parameter(torch.ones(7, 5)), nn.Parameter(torch.ones(5))] for _ in range(2))
    for mine, other in zip(ours, theirs, strict=True):
        mine.grad = torch.randn_like(mine)
        other.grad = mine.grad.clone()
    torch.nn.utils.clip_grad_norm_(theirs, 0.3)
    Clipping(norm=0.3)(ours)
    assert all(torch.equal(mine.grad, other.grad) for mine, other in zip(ours, theirs, strict=True))


def test_two_ways_at_once_are_a_mistake(tiny):
    [problem] = check(config_from_dict(tiny | dict(clip_agc=0.01, clip_value=None)))
    assert problem.path == ("clip_agc",)
    assert "`clip_norm` is set as well: gradients are clipped in one way" in problem.message
    assert check(config_from_dict(tiny | dict(clip_agc=0.01, clip_norm=None))) == []
