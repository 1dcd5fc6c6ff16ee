"""Whether loss and gradients are finite, asked of the device once."""

from __future__ import annotations

import pytest
import torch

from knoll.runner.step.finite import FiniteCheck, are_finite

CPU = torch.device("cpu")
ORDERS = [torch.contiguous_format, torch.channels_last]


def gradients(dtype: torch.dtype = torch.float32, order: torch.memory_format = torch.contiguous_format) -> list:
    generator = torch.Generator().manual_seed(0)
    shapes = (8, 3, 5, 5), (8, 7, 3, 3)
    made = [torch.randn(shape, generator=generator).to(dtype, memory_format=order) for shape in shapes]
    made[0][0, 0, 0] = torch.tensor([0.0, -0.0, 1e-45, 3e38, -3e38]).to(dtype)[: made[0].shape[-1]]
    return made


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("bad", [None, torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("where", ["loss", "first", "last"])
def test_one_number_that_is_not_finite_is_found(dtype, order, bad, where):
    found, loss = gradients(dtype, order), torch.tensor(0.5)
    if dtype != torch.float32:
        found[0][0, 0, 0] = 1  # squared in a norm, the largest overflow: of float32 they are not
    check = FiniteCheck(CPU, found)
    assert check(loss, found)
    if bad is not None:
        {"loss": loss, "first": found[0][0, 0, 0, 0], "last": found[-1][-1, -1, -1, -1]}[where].fill_(bad)
        assert not check(loss, found)
        assert not check(loss, found)
        assert check(torch.tensor(0.5), [torch.ones(3, dtype=dtype)]), "it remembers nothing of the last time"


@pytest.mark.parametrize("order", ORDERS)
def test_numbers_are_what_they_were_to_the_bit(order):
    found, loss = gradients(order=order), torch.tensor(0.1)
    before = [each.clone().view(torch.int32) for each in (loss, *found)]
    FiniteCheck(CPU, found)(loss, found)
    assert all(torch.equal(each.view(torch.int32), was) for each, was in zip((loss, *found), before, strict=True))


def test_the_largest_numbers_do_not_overflow():
    largest = [torch.full((4, 4), torch.finfo(torch.float32).max)]
    assert FiniteCheck(CPU, largest)(torch.tensor(1.0), largest)
    assert are_finite([torch.tensor(1e38), torch.tensor(1.0)])
    assert not are_finite([torch.tensor(1.0), torch.tensor(torch.nan)])


def test_gradients_that_cannot_be_written_to_are_looked_at_all_the_same():
    """Sparse ones, and those that a hook has put in their place as a view of one number."""
    expanded, sparse = torch.tensor(1.0).expand(3, 3), torch.eye(3).to_sparse()
    for made in (expanded, sparse):
        check = FiniteCheck(CPU, [torch.ones(3, 3)])
        assert check(torch.tensor(1.0), [torch.ones(2), made])
        assert check(torch.tensor(1.0), [made])
        assert not check(torch.tensor(1.0), [made, torch.tensor([torch.nan])])
        assert not check(torch.tensor(1.0), [made * torch.inf])
