"""Checkpoints that are whole, verified, and of something else: refused, with what is wrong in them."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from knoll.registry import UserError
from knoll.runner import Runner, Trained
from knoll.runner.saving import checkpoint


@pytest.fixture
def state(tiny) -> dict:
    """Of the tiny run after one step."""
    tiny |= dict(duration=1)
    del tiny["hooks"]["evaluation"], tiny["hooks"]["checkpoint"]["best"]
    Runner(tiny, "run").train()
    return checkpoint.load("run/checkpoints/last.pt")


def refusal(state: dict, tiny: dict) -> str:
    """What resuming says; `test` refuses the file too."""
    checkpoint.save({key: value for key, value in state.items() if key != "format"}, Path("odd.pt"))
    with pytest.raises(UserError) as error:
        Runner(tiny, "resumed", resume="odd.pt")
    assert not Path("resumed").exists()
    return str(error.value)


@pytest.mark.row(42)
@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("step", "3", "under `step` it holds '3' (str); expected a whole number"),
        ("step", -1, "under `step` it holds -1 (int); expected at least 0"),
        ("config", [1], "under `config` it holds [1] (list); expected a dict"),
        ("optimizer", None, "under `optimizer` it holds None (NoneType); expected a dict"),
        ("model", {"a": 1}, "tensors, not 1 (int) at 'a'"),
        ("classes", "abcd", "under `classes` it holds 'abcd' (str); expected a list"),
        ("metrics", {"val/loss": "x"}, "expected a number at 'val/loss'"),
    ],
)
def test_a_part_of_another_kind_is_named(state, tiny, key, value, message):
    said = refusal(state | {key: value}, tiny)
    assert said.startswith("odd.pt is not a checkpoint of a run: ")
    assert message in said
    with pytest.raises(UserError):
        Trained("odd.pt", device="cpu")


@pytest.mark.row(42)
@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["optimizer"].clear(),
        lambda state: state["optimizer"].update(param_groups=[]),
        lambda state: state["random"].update(torch=torch.zeros(3)),
        lambda state: state["model"].popitem(),
        lambda state: state["hooks"]["lr_schedule"].update(scheduler="x"),
        lambda state: state["config"].update(hooks=[1]),
    ],
)
def test_what_does_not_fit_inside_of_a_part_names_the_file(state, tiny, change):
    state = copy.deepcopy(state)
    change(state)
    said = refusal(state, tiny)
    assert "odd.pt" in said
    assert len(said.splitlines()) < 10


@pytest.mark.row(42)
@pytest.mark.parametrize("imports", ["os", ["antigravity"], {"antigravity": 1}, 3])
def test_nothing_that_a_checkpoint_names_is_imported(state, imports):
    state["config"]["imports"] = imports
    checkpoint.save({key: value for key, value in state.items() if key != "format"}, Path("odd.pt"))
    with pytest.raises(UserError, match="asks to import code of yours: "):
        Trained("odd.pt", device="cpu")
