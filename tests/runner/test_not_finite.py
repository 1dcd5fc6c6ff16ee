"""A loss or a gradient that is not finite: the run stops, nothing of the model has changed, the images are named."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from knoll.hooks.hook import Hook
from knoll.registry import HOOKS, LOSSES, UserError
from knoll.runner import Runner

pytestmark = pytest.mark.row(31)


def sha(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()


class Spoil(Hook):
    """Makes one image of a batch NaN before a step."""

    def __init__(self, step: int, batch: int = 0, value: float = float("nan")) -> None:
        self.step, self.batch, self.value = step, batch, value
        self.before = self.spoilt = ""

    def before_iter(self, runner: Runner) -> None:
        if runner.step == self.step:
            batch = runner.batches[self.batch]
            batch.images[1, 0, 3, 3] = self.value
            self.spoilt = runner.train_loader.dataset.name(int(batch.indices[1]))
            self.before = sha(runner.model)


class InTheGradient(nn.Module):
    """Cross-entropy whose third call has a gradient that is not finite, while its own value is."""

    def __init__(self, factor: float = float("inf")) -> None:
        super().__init__()
        self.factor = factor
        self.calls = 0

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        if logits.requires_grad:
            self.calls += 1
        if self.calls == 3 and logits.requires_grad:
            logits.register_hook(lambda gradient: gradient * self.factor)
        return nn.functional.cross_entropy(logits, labels)


@pytest.fixture(autouse=True)
def registered():
    HOOKS.register_module(module=Spoil)
    LOSSES.register_module(module=InTheGradient)
    yield
    del HOOKS.module_dict["Spoil"], LOSSES.module_dict["InTheGradient"]


@pytest.fixture
def normalised(tiny) -> dict[str, Any]:
    """With BatchNorm, whose running averages a forward pass changes."""
    backbone = dict(type="CIFARResNet", depth=20, in_channels=1)
    tiny["model"] = dict(type="ImageClassifier", backbone=backbone, head=dict(type="LinearHead", num_classes=4))
    return tiny


def names_of(runner: Runner, numbers: range) -> list[str]:
    """The images of the batches of those numbers, from a loader that nothing has spoilt."""
    batches = runner.train_loader.batches(numbers.start, numbers.stop)
    return [runner.train_loader.dataset.name(index) for batch in batches for index in batch.indices.tolist()]


@pytest.mark.row(31)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_loss_that_is_not_finite_stops_the_run(normalised, value, precision, figure):
    """The fourth update is of one batch; the third of the batches 6 to 8, and the second of them is spoilt."""
    normalised["hooks"]["spoil"] = dict(type="Spoil", step=2, batch=1, value=value)
    runner = Runner(normalised | dict(precision=precision), "run")
    with pytest.raises(UserError) as error:
        runner.train()
    spoil: Any = runner.hooks.by_name["spoil"]
    same = "the same" if sha(runner.model) == spoil.before else "others"
    figure(f"{value} in {precision}: stopped after step {runner.step}, the weights are {same}")
    assert sha(runner.model) == spoil.before
    assert runner.step == 2
    said = str(error.value)
    assert said.startswith("step 3 (epoch 1): the loss is nan. The weights are what they were before it.")
    assert f"Their images are not finite: {spoil.spoilt}\n" in said
    assert f"All images of that batch: {', '.join(names_of(runner, range(7, 8)))}\n" in said
    saved = torch.load("run/checkpoints/last.pt", weights_only=True)
    assert saved["step"] == 2
    assert all(value.isfinite().all() for value in saved["model"].values())
    figure(f"{precision}, {value}: stopped in step {runner.step + 1}; 1 of 1 spoilt image named; SHA as before it")


@pytest.mark.row(31)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("factor", [float("inf"), float("nan")])
def test_a_gradient_that_is_not_finite_stops_the_run_too(normalised, precision, factor):
    normalised |= dict(loss=dict(type="InTheGradient", factor=factor), accumulate=1, precision=precision, duration=6)
    runner = Runner(normalised, "run")
    seen = []
    before = runner.update.step
    runner.update.step = lambda: (before(), seen.append(sha(runner.model)))[0]
    with pytest.raises(UserError) as error:
        runner.train()
    assert len(seen) == 2  # the third is not taken
    assert sha(runner.model) == seen[-1]
    said = str(error.value)
    assert said.startswith("step 3 (epoch 1): the loss is finite, but its gradient is not.")
    assert f"All images of that batch: {', '.join(names_of(runner, range(2, 3)))}\n" in said


@pytest.mark.row(31)
def test_gradients_that_overflow_in_fp16_are_the_scalers_business(tiny, figure):
    """It leaves out the step, halves its scale, and the run goes on."""
    tiny |= dict(loss=dict(type="InTheGradient"), accumulate=1, precision="fp16", duration=6)
    runner = Runner(tiny, "run")
    scale, weights = [], []
    step = runner.update.step

    def watched() -> None:
        step()
        scale.append(runner.update.scaler.get_scale())
        weights.append(sha(runner.model))

    runner.update.step = watched
    runner.train()
    assert runner.step == 6
    assert scale[1:3] == [65536.0, 32768.0]
    assert weights[2] == weights[1]
    assert len(set(weights)) == 5
    figure(f"fp16 overflow: the scale falls from {scale[1]:.0f} to {scale[2]:.0f}, {runner.step} of 6 steps go on")


def test_a_config_can_go_on(tiny):
    tiny["hooks"]["spoil"] = dict(type="Spoil", step=2)
    runner = Runner(tiny | dict(stop_at_nan=False), "run")
    runner.train()
    assert runner.step == 12
    assert any(value.isnan().any() for value in runner.model.state_dict().values())


def test_a_run_that_stopped_may_be_continued_without_stopping(tiny):
    tiny["hooks"]["checkpoint"]["keep"] = 9
    Runner(tiny | dict(duration=4), "run").train()
    assert Runner(tiny | dict(duration=4, stop_at_nan=False), "run", resume="run/checkpoints/last.pt").step == 4


def test_looking_changes_nothing(normalised):
    states = []
    for stop in (True, False):
        runner = Runner(normalised | dict(duration=3, stop_at_nan=stop), f"run_{stop}")
        runner.train()
        states.append(sha(runner.model))
    assert states[0] == states[1]


def test_the_tool_ends_cleanly_and_names_the_image(tiny, tool, working_directory):
    """Logits that overflow because of the data: values whose squares are no float32, as an array of floats may hold."""
    arrays = dict(np.load("arrays.npz"))
    arrays["train_labels"] = np.arange(42, dtype=np.float64)[:, None] / 42
    arrays["train_labels"][17] = 1e30
    np.savez("arrays.npz", **arrays)
    tiny["model"]["head"]["num_classes"] = 1
    tiny |= dict(loss=dict(type="MSELoss"), metrics={}, evaluation={}, accumulate=1)
    del tiny["hooks"]["checkpoint"]["best"]
    (working_directory / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    done = tool("train", "tiny.yaml", "--work-dir", "run")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "error: step " in done.stderr
    assert "the loss is inf" in done.stderr
    assert "train/00017" in done.stderr
