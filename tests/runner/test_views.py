"""Test-time augmentation against torchvision and the formula by hand."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, nll_loss
from torchvision.transforms.v2 import functional as F

from knoll.datasets.loading.loader import Batch
from knoll.datasets.loading.randomness import random_state
from knoll.registry import ConfigError, UserError, check, config_from_dict
from knoll.runner import Runner, Trained
from knoll.runner.evaluate import evaluate
from knoll.runner.views import Views, build_views

PLAIN = dict(type="Identity")
FLIP = dict(type="RandomHorizontalFlip", p=1.0)


@pytest.fixture
def trained(tiny) -> dict[str, Any]:
    """A network that knows something: 28x28 pixels are all it takes."""
    tiny["hooks"].pop("lr_schedule")
    Runner(tiny | dict(duration="3ep"), "run").train()
    return tiny


def runner_with(config: dict, views: list, **val: Any) -> Runner:
    config["evaluation"]["val"] |= dict(views=views, **val)
    runner = Runner(config | dict(weights="run/checkpoints/last.pt"), "unused")
    runner.model.eval()
    return runner


def images_of(runner: Runner) -> tuple[Tensor, Tensor]:
    batches = list(runner.evaluation_loaders["val"])
    return torch.cat([batch.images for batch in batches]), torch.cat([batch.labels for batch in batches])


@torch.no_grad()
def by_hand(runner: Runner, views: list[Tensor], labels: Tensor) -> dict[str, float]:
    probabilities = torch.stack([runner.model(view).softmax(1) for view in views]).mean(0)
    order = probabilities.argsort(1, descending=True)
    return {
        "val/loss": nll_loss(probabilities.log(), labels).item(),
        "val/top1": (order[:, 0] == labels).float().mean().item(),
        "val/top2": (order[:, :2] == labels[:, None]).any(1).float().mean().item(),
    }


def test_an_image_and_its_mirror_image(trained):
    runner = runner_with(trained, [PLAIN, FLIP])
    images, labels = images_of(runner)
    expected = by_hand(runner, [images, F.horizontal_flip(images)], labels)
    assert runner.evaluate() == pytest.approx(expected, abs=1e-6)
    assert runner.evaluate()["val/loss"] != pytest.approx(by_hand(runner, [images], labels)["val/loss"], abs=1e-4)


@pytest.mark.parametrize(("name", "crop"), [("FiveCrop", F.five_crop), ("TenCrop", F.ten_crop)])
def test_crops_are_as_many_views(trained, name, crop):
    """From images that the network could not take as they are."""
    larger = [dict(type="Resize", size=32), *trained["evaluation"]["val"]["transforms"]]
    runner = runner_with(trained, [dict(type=name, size=28)], transforms=larger)
    images, labels = images_of(runner)
    assert images.shape == (18, 1, 32, 32)
    assert runner.evaluate() == pytest.approx(by_hand(runner, list(crop(images, [28, 28])), labels), abs=1e-6)


def test_several_transforms_in_one_view_reach_every_crop(trained):
    larger = [dict(type="Resize", size=32), *trained["evaluation"]["val"]["transforms"]]
    both = dict(type="Compose", transforms=[dict(type="FiveCrop", size=28), FLIP])
    runner = runner_with(trained, [both], transforms=larger)
    images, labels = images_of(runner)
    views = [F.horizontal_flip(view) for view in F.five_crop(images, [28, 28])]
    assert runner.evaluate() == pytest.approx(by_hand(runner, views, labels), abs=1e-6)


def test_one_plain_view_is_none(trained):
    without = runner_with(trained, []).evaluate()
    assert runner_with(trained, [PLAIN]).evaluate() == without


def test_what_is_random_in_a_view_is_the_same_for_all_and_leaves_the_generators_alone(trained):
    """Also for another batch size, and in the next pass."""
    crop = dict(type="RandomCrop", size=28, padding=4)
    runner = runner_with(trained, [PLAIN, crop])
    before = random_state()["torch"]
    first = runner.evaluate()
    assert torch.equal(random_state()["torch"], before)
    torch.rand(3)
    assert runner.evaluate() == first
    assert runner_with(trained, [PLAIN, crop], batch_size=18).evaluate() == pytest.approx(first, abs=1e-6)
    assert runner_with(trained, [PLAIN]).evaluate()["val/loss"] != pytest.approx(first["val/loss"], abs=1e-4)


def test_every_image_is_counted_once(trained):
    runner = runner_with(trained, [PLAIN, FLIP])
    seen: list[int] = []

    def keep(_: str, batch: Batch, logits: Tensor) -> None:
        assert len(logits) == len(batch.indices)
        seen.extend(batch.indices.tolist())

    evaluate(
        runner.forward,
        runner.evaluation_loaders,
        runner.loss_function,
        runner.new_metrics(),
        keep,
        build_views(runner.experiment.evaluation, runner.evaluation_loaders, runner.model, runner.loss_function),
    )
    assert seen == list(range(18))


class Doubled(nn.Module):
    """Images (N, C, H, W) whose first pixels are the logits (N, 3)."""

    def forward(self, images: Tensor) -> Tensor:
        return 2 * images[:, 0, 0, :3]


def test_several_labels_by_the_mean_of_each_probability():
    images = torch.randn(5, 1, 2, 3, generator=torch.Generator().manual_seed(0))
    labels = (torch.rand(5, 3, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    logits = Views([PLAIN, FLIP], "labels", "views")(Doubled(), images)
    expected = torch.stack([Doubled()(view).sigmoid() for view in (images, images.flip(3))]).mean(0)
    torch.testing.assert_close(logits.sigmoid(), expected)
    loss = nn.functional.binary_cross_entropy_with_logits(logits, labels)
    torch.testing.assert_close(loss, binary_cross_entropy(expected, labels))


def test_measured_values_by_their_mean():
    images = torch.randn(5, 1, 2, 3)
    values = Views([PLAIN, FLIP], "values", "views")(Doubled(), images)
    torch.testing.assert_close(values, images[:, 0, 0] + images.flip(3)[:, 0, 0])


@pytest.mark.parametrize("meaning", ["class", "labels"])
def test_probabilities_that_round_to_nothing_leave_a_finite_loss(meaning):
    """Logits of 2000 and -2000: by hand the mean would be 0 or 1, and its logarithm infinite."""
    images = torch.full((2, 1, 1, 3), -1000.0)
    images[:, :, :, 1] = 1000.0
    logits = Views([PLAIN, FLIP], meaning, "views")(Doubled(), images)
    assert logits.isfinite().all()
    assert logits.argmax(1).tolist() == [1, 1]


def test_what_a_mean_is_of_follows_from_labels_and_loss(trained):
    arrays = dict(np.load("arrays.npz"))
    hot = {f"{split}_labels": np.arange(n)[:, None] // [1, 2, 4, 8] % 2 for split, n in (("train", 42), ("val", 18))}
    np.savez("arrays.npz", **arrays | hot)
    trained["evaluation"]["val"]["views"] = [PLAIN, FLIP]
    trained |= dict(loss=dict(type="BCEWithLogitsLoss"), metrics={}, hooks={})
    trained["model"]["head"] = dict(type="MultiLabelHead", num_classes=4)
    runner = Runner(trained, "several")
    images, labels = images_of(runner)
    runner.model.eval()
    with torch.no_grad():
        mean = torch.stack([runner.model(each).sigmoid() for each in (images, F.horizontal_flip(images))]).mean(0)
    assert runner.evaluate()["val/loss"] == pytest.approx(binary_cross_entropy(mean, labels).item(), abs=1e-6)


def test_mistakes_are_said_before_the_run(trained):
    trained["evaluation"]["val"]["views"] = [PLAIN, dict(type="RandomHorizontalFlp"), "Identity"]
    said = [str(problem) for problem in check(config_from_dict(trained))]
    assert any("evaluation.val.views.1.type" in each and "Did you mean `RandomHorizontalFlip`" in each for each in said)
    assert any("evaluation.val.views.2" in each and "expected dict(type=...)" in each for each in said)
    with pytest.raises(ConfigError, match="2 mistakes"):
        Runner(trained, "unused")
    for views, message in (
        (
            [dict(type="FiveCrop", size=40)],
            "evaluation.val.views.0 (FiveCrop) fails on images of the shape (1, 1, 28, 28)",
        ),
        (
            [PLAIN, dict(type="CenterCrop", size=20)],
            "the model fails on the view evaluation.val.views.1 (CenterCrop), of the shape (1, 1, 20, 20)",
        ),
    ):
        with pytest.raises(UserError) as error:
            runner_with(trained, views)
        assert message in str(error.value)


def test_the_tool_measures_by_views_that_an_override_names(trained, tool):
    """Also the probabilities that it writes down are those of the mean."""
    done = tool("test", "run/checkpoints/last.pt", f"evaluation.val.views={[PLAIN, FLIP]}", "--out", "out.csv")
    assert done.returncode == 0, done.stderr
    runner = runner_with(trained, [])
    images, labels = images_of(runner)
    expected = by_hand(runner, [images, F.horizontal_flip(images)], labels)
    said = dict(line.split(" ")[:2] for line in done.stdout.splitlines() if line.startswith("val/"))
    assert {name.rstrip(":"): float(value) for name, value in said.items()} == pytest.approx(expected, abs=1e-6)
    assert "(arrays, mean of several views)" in done.stdout
    with torch.no_grad():
        mean = torch.stack([runner.model(each).softmax(1) for each in (images, F.horizontal_flip(images))]).mean(0)
    with open("out.csv", newline="") as file:
        rows = [[float(row[f"p({number})"]) for number in range(4)] for row in csv.DictReader(file)]
    torch.testing.assert_close(torch.tensor(rows), mean, atol=1e-5, rtol=1e-4)


def test_a_checkpoint_remembers_its_views(trained):
    trained["evaluation"]["val"]["views"] = [PLAIN, FLIP]
    runner = Runner(trained | dict(duration=1), "viewed")
    metrics = runner.train()
    again = Trained("viewed/checkpoints/last.pt")
    loaders = again.evaluation_loaders()
    views = build_views(again.experiment.evaluation, loaders, again.forward.model, again.loss)
    assert evaluate(again.forward, loaders, again.loss, again.new_metrics(), views=views) == metrics
    assert evaluate(again.forward, loaders, again.loss, again.new_metrics()) != metrics
