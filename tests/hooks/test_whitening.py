"""Whitening: what comes out of the layer is uncorrelated and of variance one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from knoll.hooks.whitening import whitening
from knoll.registry import ConfigError
from knoll.runner import Runner


@pytest.fixture
def experiment(working_directory) -> dict[str, Any]:
    """64 smooth colour images of 32x32, and a network whose first layer is to whiten them."""
    rng = np.random.default_rng(0)
    images = np.cumsum(rng.integers(-20, 21, (64, 32, 32, 3)), axis=2).clip(-120, 120) + 128
    np.savez("colours.npz", train_images=images.astype(np.uint8), train_labels=np.arange(64) % 4)
    return dict(
        model=dict(
            type="ImageClassifier",
            backbone=dict(type="AirBench", widths=[4, 4, 4]),
            head=dict(type="LinearHead", num_classes=4),
        ),
        loss=dict(type="CrossEntropyLoss"),
        optimizer=dict(type="SGD", lr=0.01),
        train=dict(
            dataset=dict(type="ArrayFile", path="colours.npz", split="train"),
            transforms=[dict(type="ToImage"), dict(type="ToDtype", dtype="float32", scale=True)],
            batch_size=16,
        ),
        hooks=dict(whitening=dict(type="Whitening", images=64, eps=0.0)),
        duration=1,
    )


def weight(runner: Runner) -> torch.Tensor:
    return runner.model.get_submodule("backbone.whiten").get_parameter("weight").detach().clone()


def test_the_layer_whitens_what_it_sees(experiment):
    runner = Runner(experiment, "run")
    runner.train()
    whiten = runner.model.get_submodule("backbone.whiten")
    with torch.no_grad():
        images = torch.cat([batch.images for batch in runner.train_loader.batches(0, 4)])
        outputs = whiten(images) - whiten.get_parameter("bias").view(-1, 1, 1)
    of_directions = outputs[:, :12].transpose(0, 1).flatten(1)
    covariance = of_directions @ of_directions.T / of_directions.shape[1]
    torch.testing.assert_close(covariance, torch.eye(12), atol=1e-3, rtol=0)
    torch.testing.assert_close(outputs[:, 12:], -outputs[:, :12])


def test_small_variances_are_not_blown_up():
    rows = whitening(torch.diag(torch.tensor([4.0, 1e-8])), eps=0.01)
    expected = torch.tensor([[4.01**-0.5, 0], [0, 0.01**-0.5]], dtype=torch.double)
    torch.testing.assert_close(rows.abs(), torch.cat([expected, expected]), rtol=1e-5, atol=1e-12)
    torch.testing.assert_close(rows[2:], -rows[:2])


def test_the_layer_is_not_trained_and_a_resumed_run_keeps_it(experiment):
    hooks = experiment["hooks"] | dict(checkpoint=dict(type="Checkpoint"))
    runner = Runner(experiment | dict(hooks=hooks, duration=8), "run")
    runner.train()
    saved = torch.load("run/checkpoints/step_00000004.pt", weights_only=True)["model"]["backbone.whiten.weight"]
    assert torch.equal(saved, weight(runner))
    longer = Runner(experiment | dict(hooks=hooks, duration=8), "run", resume="run/checkpoints/step_00000004.pt")
    longer.train_loader.dataset.images[:] = 0  # what would be made of these is another layer
    longer.train()
    assert torch.equal(saved, weight(longer))


def test_weights_that_are_brought_stay(experiment):
    first = Runner(experiment, "first")
    state = first.model.state_dict()
    torch.save(state, "weights.pth")
    before = weight(first)
    second = Runner(experiment | dict(weights="weights.pth"), "second")
    second.train()
    assert torch.equal(weight(second), before)


def test_mistakes(experiment):
    for layer, message in [
        ("backbone.whitten", "'backbone.whitten' is no convolution of the model; the first is backbone.whiten"),
        ("backbone.block1.conv1", "has 4 outputs in 1 groups; for patches of 216 numbers it needs 432"),
    ]:
        with pytest.raises(ConfigError, match=message):
            Runner(experiment | dict(hooks=dict(whitening=dict(type="Whitening", layer=layer))), "run")
