"""What is left when a run stops at numbers that are not finite: the run as it was before, and the images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from knoll.hooks.hook import Hook
from knoll.registry import HOOKS, LOSSES, UserError
from knoll.runner import Runner
from knoll.runner.inference.picture_grid import GAP, LINE, SIDE
from knoll.runner.saving.checkpoint import load


class Spoil(Hook):
    """Makes the second image of a batch NaN before a step."""

    only_records = True

    def __init__(self, step: int | None = None, batch: int = 0) -> None:
        self.step, self.batch = step, batch

    def before_iter(self, runner: Runner) -> None:
        if runner.step == self.step:
            runner.batches[self.batch].images[1, 0, 3, 3:5] = float("nan")


class Counted(Spoil):
    """As that, with a state that a step moves before it is known whether the step is taken."""

    def before_iter(self, runner: Runner) -> None:
        super().before_iter(runner)
        self.steps = runner.step + 1

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}


class Explode(Hook):
    """Lets one step of the optimizer overflow: 2 * 3e38 is no float32."""

    def __init__(self, step: int) -> None:
        self.step = step

    def setup(self, runner: Runner) -> None:
        runner.experiment.clip_norm = None

    def before_update(self, runner: Runner) -> None:
        if runner.step == self.step:
            runner.optimizer.param_groups[0]["lr"] = 3e38
            for parameter in runner.model.parameters():
                parameter.grad = torch.full_like(parameter, 2)


class CountingLoss(nn.CrossEntropyLoss):
    """Cross-entropy that counts its calls in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(logits, labels)


@pytest.fixture(autouse=True)
def registered():
    for hook in (Spoil, Counted, Explode):
        HOOKS.register_module(module=hook)
    LOSSES.register_module(module=CountingLoss)
    yield
    del LOSSES.module_dict["CountingLoss"]
    for hook in (Spoil, Counted, Explode):
        del HOOKS.module_dict[hook.__name__]


def message(runner: Runner) -> str:
    with pytest.raises(UserError) as error:
        runner.train()
    return str(error.value)


def steps_saved() -> list[str]:
    return sorted(file.name for file in Path("run/checkpoints").glob("step*.pt"))


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, Tensor) else one == other


@pytest.fixture
def restless(tiny) -> dict[str, Any]:
    """With all that a forward pass moves: dropout's generator, BatchNorm's averages, a loss with a buffer, mixing."""
    backbone = dict(type="CIFARResNet", depth=20, in_channels=1)
    tiny["model"] |= dict(backbone=backbone)
    tiny["hooks"] |= dict(spoil=dict(type="Spoil"), mix=dict(type="Mix"))
    return tiny | dict(loss=dict(type="CountingLoss"))


@pytest.mark.row(31)
def test_the_steps_since_the_last_checkpoint_are_kept(restless, figure):
    """The images are spoilt before the sixth step, by which the second batch has moved all that moves."""
    restless["hooks"]["checkpoint"] |= dict(every=1, keep=20)
    Runner(restless | dict(duration="3ep"), "whole").train()
    before = load("whole/checkpoints/step_00000005.pt")

    restless["hooks"]["checkpoint"] |= dict(every="3ep")
    restless["hooks"]["spoil"] |= dict(step=5, batch=1)
    said = message(Runner(restless, "run"))
    assert said.startswith("step 6 (epoch 2): the loss is nan.")
    # Of step 4 because it is the best.
    assert steps_saved() == ["step_00000004.pt", "step_00000005.pt"]
    kept = load("run/checkpoints/step_00000005.pt")
    parts = ["model", "loss", "optimizer", "scaler", "hooks", "random", "step", "metrics", "evaluated_at"]
    equal = [part for part in parts if same(kept[part], before[part])]
    assert equal == parts

    again = Runner(restless, "run", resume="run/checkpoints/step_00000005.pt")
    assert message(again) == said
    figure(f"saved as before the step: {len(equal)} of {len(parts)} parts equal; resumed, it stops with the same words")


def test_what_a_hook_did_to_its_state_cannot_be_taken_back_so_it_is_not_saved(tiny):
    tiny["hooks"]["checkpoint"]["every"] = 4
    tiny["hooks"]["spoil"] = dict(type="Counted", step=5)
    message(Runner(tiny, "run"))
    assert steps_saved() == ["step_00000004.pt"]


@pytest.mark.row(31)
def test_the_batch_is_kept_to_be_looked_at(tiny, figure):
    tiny["hooks"]["spoil"] = dict(type="Spoil", step=2, batch=1)
    runner = Runner(tiny, "run")
    said = message(runner)
    assert "\nThey are kept in run/not_finite/step_00000003\n" in said
    folder = Path("run/not_finite/step_00000003")
    kept = torch.load(folder / "batch.pt", weights_only=True)
    batch = runner.batches[1]
    assert torch.equal(kept["images"].nan_to_num(7), batch.images.nan_to_num(7))
    assert torch.equal(kept["labels"], batch.labels)
    assert torch.equal(kept["indices"], batch.indices)
    assert kept["names"] == [f"train/{index:05d}" for index in batch.indices.tolist()]
    assert torch.equal(kept["logits"].nan_to_num(7), runner.logits[1].nan_to_num(7))
    assert kept["losses"].isnan().tolist() == [False, True, False, False]
    expected = nn.functional.cross_entropy(runner.logits[1], batch.labels, reduction="none")
    torch.testing.assert_close(kept["losses"], expected, equal_nan=True)
    assert f"Their losses are not finite: {kept['names'][1]}\n" in said

    sheet = Image.open(folder / "images.png")
    assert sheet.size == (GAP + 4 * (SIDE + GAP), GAP + SIDE + 2 * LINE + GAP)
    frames = [sheet.getpixel((GAP + number * (SIDE + GAP) - 2, GAP + 40)) for number in range(4)]
    assert frames == [(200, 30, 30), *[(255, 255, 255)] * 3]  # the spoilt one comes first
    figure(f"{len(kept['names'])} images kept with names, labels, logits and losses; 1 in red")


def test_rows_of_a_table_are_kept_without_a_picture(tiny):
    """Features whose products with the weights are no float32."""
    rows = np.random.default_rng(0).normal(size=(42, 5))
    rows[17] = 3e38
    lines = [",".join(f"{value:.6g}" for value in [*row, number % 4]) for number, row in enumerate(rows)]
    Path("rows.csv").write_text("\n".join(lines))
    backbone = dict(type="MLP", in_shape=[5], widths=[40, 40])
    tiny["model"] = dict(type="ImageClassifier", backbone=backbone, head=dict(type="LinearHead", num_classes=4))
    tiny["train"] = dict(dataset=dict(type="Table", path="rows.csv"), batch_size=4)
    del tiny["hooks"]["checkpoint"]["best"]
    said = message(Runner(tiny | dict(evaluation={}), "run"))
    assert "Their logits are not finite: line 18\n" in said
    [folder] = Path("run/not_finite").iterdir()
    assert [file.name for file in folder.iterdir()] == ["batch.pt"]


def test_a_disk_that_takes_nothing_does_not_hide_the_message(tiny):
    tiny["hooks"]["spoil"] = dict(type="Spoil", step=2)
    runner = Runner(tiny, "run")
    Path("run").mkdir()
    Path("run/not_finite").write_text("a file")
    said = message(runner)
    assert said.startswith("step 3 (epoch 1): the loss is nan.")
    assert "could not be kept in run/not_finite/step_00000003: " in said


@pytest.mark.row(31)
def test_weights_that_the_optimizer_broke_take_no_checkpoints_place(tiny, figure):
    tiny["hooks"]["checkpoint"] |= dict(every=1, keep=1)
    tiny["hooks"]["explode"] = dict(type="Explode", step=2)
    said = message(Runner(tiny, "run"))
    assert said.startswith("step 3 (epoch 1): The weights themselves (")
    assert "The last whole checkpoint: run/checkpoints/step_00000002.pt." in said
    files = steps_saved()
    assert files == ["step_00000002.pt"]
    weights = load("run/checkpoints/last.pt")["model"].values()
    assert all(value.isfinite().all() for value in weights)
    figure(f"weights broken in step 3: not saved, {files[0]} stays, {len(weights)} of {len(weights)} tensors finite")


def test_broken_weights_are_told_from_a_bad_image(tiny):
    """Found by the loss of the next step, where nothing was to be saved between."""
    tiny["hooks"]["checkpoint"] |= dict(every="3ep")
    tiny["hooks"]["explode"] = dict(type="Explode", step=2)
    said = message(Runner(tiny, "run"))
    assert said.startswith("step 4 (epoch 1): the loss is nan.")
    assert "The weights themselves (" in said
    assert "not finite before it: the learning rate is too high for this model. There is no checkpoint before." in said
    assert steps_saved() == []


def test_a_config_can_save_them_all_the_same(tiny):
    tiny["hooks"]["explode"] = dict(type="Explode", step=2)
    Runner(tiny | dict(stop_at_nan=False, duration=4), "run").train()
    assert load("run/checkpoints/last.pt")["step"] == 4


def test_an_evaluation_whose_loss_is_not_finite_is_told_and_ends_nothing(tiny, capsys):
    arrays = dict(np.load("arrays.npz"))
    arrays |= {f"{part}_labels": arrays[f"{part}_labels"].astype(np.float64)[:, None] for part in ("train", "val")}
    arrays["val_labels"][7] = 1e30
    np.savez("arrays.npz", **arrays)
    tiny["model"]["head"]["num_classes"] = 1
    tiny["hooks"]["checkpoint"]["best"] = "val/loss"
    runner = Runner(tiny | dict(loss=dict(type="MSELoss"), metrics={}, duration="2ep"), "run")
    assert runner.train() == {"val/loss": float("inf")}
    assert runner.step == runner.total_steps
    assert capsys.readouterr().out.count("note: val/loss is inf; training goes on") == 2
