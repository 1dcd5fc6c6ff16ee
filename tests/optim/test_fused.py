"""The fused form of an optimizer takes the steps of the plain one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from knoll.optim.fused import fuse

CPU = torch.device("cpu")
KINDS = [
    (torch.optim.SGD, dict(lr=0.1)),
    (torch.optim.SGD, dict(lr=0.1, momentum=0.9)),
    (torch.optim.SGD, dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)),
    (torch.optim.Adam, dict(lr=0.1, weight_decay=0.1)),
    (torch.optim.AdamW, dict(lr=0.1, amsgrad=True)),
]
kinds = pytest.mark.parametrize(("kind", "options"), KINDS)


def parameters() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(4, 3, 3, 3)), nn.Parameter(torch.randn(5))]


def set_gradients(owned: list[nn.Parameter], step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for each in owned:
        gradient = torch.randn(each.shape, generator=generator)
        each.grad = torch.empty_like(each).copy_(gradient)  # in the parameter's memory order, as backward leaves it


def both(
    kind: Callable[..., torch.optim.Optimizer], options: dict
) -> list[tuple[list[nn.Parameter], torch.optim.Optimizer]]:
    """Torch's plain form, by torch itself, and ours."""
    plain, ours = parameters(), parameters()
    optimizers = kind(plain, foreach=False, **options), kind(ours, **options)
    fuse(optimizers[1], CPU)
    assert optimizers[1].param_groups[0]["fused"] is True
    return [(plain, optimizers[0]), (ours, optimizers[1])]


def require_close(pairs: list) -> None:
    (plain, _), (ours, _) = pairs
    for expected, got in zip(plain, ours, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


@kinds
def test_it_is_the_plain_form_but_for_rounding(kind, options):
    pairs = both(kind, options)
    for owned, optimizer in pairs:
        for step in range(4):
            set_gradients(owned, step)
            optimizer.step()
    require_close(pairs)


@kinds
def test_a_first_gradient_may_come_later(kind, options):
    pairs = both(kind, options)
    for owned, optimizer in pairs:
        for step in range(4):
            set_gradients(owned, step)
            if step < 2:
                owned[1].grad = None  # frozen until then
            optimizer.step()
            assert bool(optimizer.state.get(owned[1])) is (step >= 2 and bool(optimizer.state.get(owned[0])))
    require_close(pairs)


@kinds
def test_a_state_is_laid_out_as_the_parameters_are(kind, options):
    """A run that began with channels_last goes on contiguous, on another device."""
    pairs = both(kind, options)
    for owned, optimizer in pairs:
        owned[0].data = owned[0].data.contiguous(memory_format=torch.channels_last)
        for step in range(4):
            if step == 2:
                state = optimizer.state_dict()
                owned[0].data = owned[0].data.contiguous()
                optimizer.load_state_dict(state)
            set_gradients(owned, step)
            optimizer.step()
    require_close(pairs)


@kinds
def test_a_first_step_that_fp16_leaves_out_leaves_no_trace(kind, options):
    pairs = both(kind, options)
    for owned, optimizer in pairs:
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        for step in range(3):
            set_gradients(owned, step)
            for each in owned:
                assert each.grad is not None
                each.grad *= torch.inf if step == 0 else scaler.get_scale()
            scaler.scale(torch.zeros(()))  # which is where it makes its scale
            scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
        assert scaler.get_scale() == 2.0
    require_close(pairs)


@pytest.mark.parametrize(
    "said", [dict(fused=False), dict(foreach=True), dict(differentiable=True), dict(dampening=0.1)]
)
def test_what_the_config_says_stays(said):
    optimizer = torch.optim.SGD(parameters(), lr=0.1, momentum=0.9, **said)
    fuse(optimizer, CPU)
    assert not optimizer.param_groups[0]["fused"]


def test_a_state_of_the_plain_form_goes_on_in_it():
    plain = torch.optim.SGD(parameters(), lr=0.1, momentum=0.9)
    owned = parameters()
    set_gradients(owned, 0)
    optimizer = torch.optim.SGD(owned, lr=0.1, momentum=0.9)
    fuse(optimizer, CPU)
    optimizer.load_state_dict(plain.state_dict())
    assert not optimizer.param_groups[0]["fused"]
    optimizer.step()
