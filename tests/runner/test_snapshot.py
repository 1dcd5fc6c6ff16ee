"""What a checkpoint holds is what there was, whatever training does meanwhile."""

from __future__ import annotations

import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from knoll.registry import UserError
from knoll.runner.saving.checkpoint import save
from knoll.runner.saving.snapshot import Snapshot

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
EIGHT_BITS = (torch.float8_e4m3fn, torch.float8_e5m2)
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
COMPLEX = (torch.complex64, torch.complex128)


def everything() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(4, 6, generator=generator)
    shared = torch.arange(24.0)
    return {
        "plain": [None, True, 0, -(2**80), 1e-300, float("inf"), "", "蚂蚁\n", b"\x00\xff", (1, (2.5, "x")), {1, 2}],
        "nested": {"a": {"b": {"c": [[], {}, ()]}}, 7: "a number as a key", "ordered": OrderedDict(b=1, a=2)},
        "kinds": {str(kind): drawn.to(kind) for kind in (*FLOATS, *EIGHT_BITS, *COMPLEX)},
        "integers": {str(kind): (drawn * 50).abs().to(kind) for kind in INTEGERS},
        "bool": drawn > 0,
        "scalar": torch.tensor(3.5),
        "empty": [torch.empty(0), torch.empty(0, 3), torch.empty(2, 0, dtype=torch.int64)],
        "shared": [shared, shared.view(4, 6), shared[3:9], shared.view(4, 6).t()],
        "not contiguous": [drawn[:, ::2], drawn.t(), drawn.to(memory_format=torch.contiguous_format).expand(2, 4, 6)],
        "conjugated": torch.randn(3, dtype=torch.complex64, generator=generator).conj(),
        "sparse": torch.eye(3).to_sparse(),
        "parameter": nn.Parameter(drawn.clone()),
        "other": [torch.Size((2, 3)), torch.float16, torch.device("cpu")],
    }


def same(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor):
        alike = type(first) is type(second) and first.dtype == second.dtype and first.shape == second.shape
        if not alike or first.layout != second.layout or first.requires_grad != second.requires_grad:
            return False
        if first.layout is torch.strided and not first.is_conj():
            alike = first.stride() == second.stride()
        first, second = (each.detach().to_dense().resolve_conj().contiguous() for each in (first, second))
        return alike and first.view(-1).view(torch.uint8).equal(second.view(-1).view(torch.uint8))
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


def test_the_comparison_sees_a_difference():
    state = everything()
    assert same(state, everything())
    for key in state:
        other = everything()
        other[key] = None
        assert not same(state, other), key
    changed = everything()
    changed["kinds"]["torch.float16"][0, 0] += 1
    assert not same(state, changed)


def test_every_kind_of_value_goes_through_a_copy_and_a_file(working_directory):
    state = everything()
    copied = Snapshot(state).state
    assert same(copied, state)
    save(copied, working_directory / "x.pt")
    read = torch.load(working_directory / "x.pt", weights_only=True)
    assert read.pop("format") == 2
    assert same(read, state)


def test_what_shares_memory_shares_it_in_the_copy_and_is_written_once(working_directory):
    weight = torch.randn(1000, 100)
    copied = Snapshot({"embedding": weight, "head": weight.t(), "rows": weight[3:5]})
    assert copied.nbytes == weight.nbytes
    save(copied.state, working_directory / "x.pt")
    with zipfile.ZipFile(working_directory / "x.pt") as archive:
        assert [each.file_size for each in archive.infolist() if "/data/" in each.filename] == [weight.nbytes]
    read = torch.load(working_directory / "x.pt", weights_only=True)
    read["embedding"][3, 0] = 7
    assert read["head"][0, 3] == read["rows"][0, 0] == 7


def test_the_copy_stays_as_it_is_while_training_goes_on():
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    metrics = {"val/top1": 0.5}
    state = {"model": network.state_dict(), "optimizer": optimizer.state_dict(), "metrics": metrics}
    network(torch.ones(4, 3).normal_()).square().sum().backward()
    optimizer.step()
    copied = Snapshot(state | {"optimizer": optimizer.state_dict()}).state
    before = {name: value.clone() for name, value in network.state_dict().items()}
    averages = [each["exp_avg"].clone() for each in optimizer.state.values()]

    network(torch.ones(4, 3).normal_()).square().sum().backward()
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 9.0
    metrics["val/top1"] = 0.9

    assert same(dict(copied["model"]), before)
    assert copied["model"]._metadata == network.state_dict()._metadata  # layers' versions  # pyright: ignore
    assert same([each["exp_avg"] for each in copied["optimizer"]["state"].values()], averages)
    assert copied["optimizer"]["param_groups"][0]["lr"] == 0.1
    assert copied["metrics"] == {"val/top1": 0.5}


@pytest.mark.parametrize("value", [np.float64(0.5), np.zeros(2), Path("x"), range(3), torch.nn.ReLU()])
def test_what_could_not_be_read_again_is_refused_with_its_place(value):
    with pytest.raises(UserError) as error:
        Snapshot({"hooks": {"mine": {"history": [0.5, value]}}})
    kind = type(value)
    assert str(error.value).startswith(
        f"the run's state cannot be saved: hooks.mine.history.1 is a {kind.__module__}.{kind.__qualname__}, and"
    )
