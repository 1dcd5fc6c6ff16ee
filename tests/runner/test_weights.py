"""A run that begins with weights: what is logged, what is refused before anything is built, and what resuming needs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from knoll.registry import ConfigError, UserError, config_from_dict
from knoll.registry.check import check
from knoll.runner import Runner


@pytest.fixture
def saved(tiny):
    """Weights of the tiny experiment's network, for ten classes instead of four: `ten.pth`."""
    ten = dict(tiny["model"], head=dict(type="LinearHead", num_classes=10))
    from knoll.registry import MODELS

    model = MODELS.build(ten)
    torch.save(model.state_dict(), "ten.pth")
    return model


@pytest.mark.row(37)
def test_the_backbone_is_taken_and_the_head_made_anew(tiny, saved, capsys) -> None:
    runner = Runner(tiny | dict(weights="ten.pth"), "run")
    assert torch.equal(runner.model.backbone.c1.weight, saved.backbone.c1.weight)
    assert runner.model.head.fc.out_features == 4
    runner.train()
    printed = capsys.readouterr().out
    logged = Path("run/log.txt").read_text()
    assert [line.partition(" ")[2].partition(" ")[2] for line in logged.splitlines()] == printed.splitlines()
    assert "weights: ten.pth (SHA-256 " in printed
    assert "  matched 8 of 10 tensors\n  made anew: head.fc (10 -> 4)\n" in printed


def test_the_same_begins_the_same(tiny, saved) -> None:
    """The head is made from the run's seed, whatever the weights did to the random state."""
    first, second = (Runner(tiny | dict(weights="ten.pth"), "run").model for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (dict(sorce="ten.pth"), "weights.sorce (experiment:1): unknown key. Did you mean `source`?"),
        (dict(source="ten.pth", least="half"), "weights.least (experiment:1): expected a number, got 'half' (str)."),
        (3, "weights (experiment:1): expected a string or a dict or None, got 3 (int)."),
    ],
)
def test_mistakes_are_found_before_anything_is_built(tiny, weights, message: str) -> None:
    assert message in [str(problem) for problem in check(config_from_dict(tiny | dict(weights=weights)))]


def test_a_missing_file_is_said_by_the_tool_without_a_traceback(tiny, tool, tmp_path) -> None:
    (tmp_path / "x.py").write_text(f"config = {tiny!r}")
    done = tool("train", "x.py", "weights=nothing.pth")
    assert done.returncode == 2
    assert done.stderr == f"error: weights: {tmp_path / 'nothing.pth'} does not exist\n"
    assert not (tmp_path / "runs").exists()


@pytest.mark.row(37)
def test_a_head_without_the_datas_classes_is_refused(tiny, saved) -> None:
    tiny["model"]["head"]["num_classes"] = 10
    with pytest.raises(UserError, match=r"model\.head\.num_classes is 10, but the training data has 4 classes"):
        Runner(tiny | dict(weights="ten.pth"), "run")


def test_a_run_resumes_with_the_weights_it_began_with(tiny, saved) -> None:
    runner = Runner(tiny | dict(weights="ten.pth", duration=2), "run")
    runner.train()
    with pytest.raises((ConfigError, UserError), match=r"weights\.source: was 'ten\.pth', is 'other\.pth'"):
        Runner(tiny | dict(weights="other.pth", duration=2), "run", resume="run/checkpoints/last.pt")
