"""A model from a checkpoint: measured as training measured it, on its data or on other data."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from knoll.registry import UserError
from knoll.runner import Runner, Trained
from knoll.runner.evaluate import evaluate


def test_testing_a_checkpoint_gives_the_metrics_of_training_to_the_last_digit(tiny, working_directory):
    metrics = Runner(tiny, "run").train()
    trained = Trained(working_directory / "run/checkpoints/last.pt")
    again = evaluate(trained.forward, trained.evaluation_loaders(), trained.loss, trained.new_metrics())
    assert again == metrics == trained.recorded


def test_another_data_set_may_be_tested_and_is_named(tiny, working_directory):
    Runner(tiny | dict(duration=1), "run").train()
    override = "evaluation.val.dataset={'type': 'ArrayFile', 'path': 'arrays.npz', 'split': 'val', 'source': 'new'}"
    trained = Trained(working_directory / "run/checkpoints/last.pt", [override])
    trained.evaluation_loaders()
    assert trained.sources["val"] == "new"


def test_a_checkpoint_does_not_need_the_file_that_its_weights_began_with(tiny, working_directory):
    torch.save(Runner(tiny, "unused").model.state_dict(), "begin.pth")
    tiny["weights"] = "begin.pth"
    Runner(tiny | dict(duration=2), "run").train()
    (working_directory / "begin.pth").unlink()
    last = working_directory / "run/checkpoints/last.pt"
    assert Trained(last).step == Runner(tiny | dict(duration=2), "run", resume=last).step == 2


def test_of_the_same_candidates_training_and_evaluation_take_the_same(tiny, arrays, working_directory):
    whole = dict(np.load(arrays))
    candidates = [
        dict(type="ArrayFile", path="gone.npz", source="gone"),
        dict(type="ArrayFile", path="arrays.npz", source="second"),
    ]
    for part, split in ((tiny["train"], "train"), (tiny["evaluation"]["val"], "val")):
        part["dataset"] = dict(type="FirstAvailable", datasets=candidates, split=split)
    runner = Runner(tiny | dict(duration=1), "run")
    assert runner.sources == dict(train="second", val="second")
    runner.train()

    # On another day the first one is there too: what continues the run, or tests it, still takes the second.
    np.savez(working_directory / "gone.npz", **whole)
    last = working_directory / "run/checkpoints/last.pt"
    assert Runner(tiny | dict(duration=1), "run", resume=last).sources == dict(train="second", val="second")
    trained = Trained(last)
    trained.evaluation_loaders()
    assert trained.sources["val"] == "second"
    assert Runner(tiny, "new").sources == dict(train="gone", val="gone")

    (working_directory / "arrays.npz").unlink()
    with pytest.raises(UserError, match="only second will do"):
        Trained(last).evaluation_loaders()


def test_weights_are_measured_only_as_the_model_that_was_trained(tiny, working_directory):
    """Not with classes in another order, not with a last layer of random numbers, not beside a checkpoint's own."""
    tiny["train"]["dataset"]["classes"] = tiny["evaluation"]["val"]["dataset"]["classes"] = list("abcd")
    Runner(tiny | dict(duration=2), "run").train()
    last = "run/checkpoints/last.pt"

    def measure(config, *overrides):
        (working_directory / "x.py").write_text(f"config = {config!r}")
        trained = Trained("x.py", [f"weights={last}", *overrides])
        return evaluate(trained.forward, trained.evaluation_loaders(), trained.loss, trained.new_metrics())

    assert measure(tiny) == Trained(last).recorded
    tiny["evaluation"]["val"]["dataset"]["classes"] = list("dcba")
    with pytest.raises(UserError, match=r"evaluation.val has the classes .*'d', 'c', 'b', 'a'.*; the model knows"):
        measure(tiny)
    with pytest.raises(UserError, match=r"(?s)made anew: head.fc \(4 -> 5\).*head.fc.bias, head.fc.weight would be"):
        measure(tiny, "model.head.num_classes=5")
    with pytest.raises(
        UserError, match=r"weights=other.pth: a checkpoint holds its weights. To measure others, name a"
    ):
        Trained(last, ["weights=other.pth"])


def test_a_loss_of_yes_and_no_says_that_several_classes_are_told(tiny):
    """A whole model of a library has no head to say so."""
    with np.load("arrays.npz") as arrays:
        rows = {key: np.eye(4, dtype=np.uint8)[arrays[key]] for key in arrays.files if key.endswith("_labels")}
        np.savez("arrays.npz", **{**arrays, **rows})
    tiny["hooks"]["checkpoint"] = dict(type="Checkpoint")
    tiny["model"]["head"] = dict(type="LinearHead", num_classes=4)
    changes = dict(loss=dict(type="BCEWithLogitsLoss"), metrics={}, duration=1)
    Runner(tiny | changes, "run").train()
    trained = Trained("run/checkpoints/last.pt")
    assert trained.multi_label
    logits = torch.tensor([[0.0, 2.0, -2.0, 4.0]])
    torch.testing.assert_close(trained.probabilities(logits), 1 / (1 + (-logits).exp()))
