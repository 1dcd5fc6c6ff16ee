"""Mixup and cutmix: what they make of images and labels, what they draw from, and which losses can take it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot
from torchvision.transforms import v2

from knoll.datasets.loading.loader import Batch
from knoll.datasets.loading.randomness import random_state
from knoll.hooks.mix import Mix
from knoll.models.outputs import Outputs
from knoll.registry import ConfigError, UserError
from knoll.runner import Runner
from knoll.runner.processes.distributed import ALONE
from knoll.runner.step.forward import Forward
from knoll.runner.step.update import Update

CLASSES = 10


def batch_of(size: int, rows: bool = False) -> Batch:
    """Image number i is everywhere i, and of the class i: from a label of shares follows what the image should be."""
    numbers = torch.arange(size)
    images = numbers.float()[:, None, None, None].expand(size, 2, 16, 12).contiguous()
    return Batch(images, one_hot(numbers, CLASSES).float() if rows else numbers, 100 + numbers)


def mix(*batches: Batch, step: int = 0, seed: int = 0, **settings: Any) -> list[Batch]:
    hook = Mix(**settings)
    runner: Any = SimpleNamespace(
        batches=list(batches), step=step, num_classes=CLASSES, experiment=SimpleNamespace(seed=seed), world=ALONE
    )
    runner.to_steps = {"100%": 10**6}.get
    hook.setup(runner)
    hook.before_run(runner)
    hook.before_iter(runner)
    return runner.batches


def of_images(labels: Tensor) -> Tensor:
    """The mean of the image that a row of shares tells of."""
    return labels @ torch.arange(float(CLASSES))


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("settings", [dict(mixup=1.0, cutmix=0), dict(mixup=0, cutmix=1.0), dict(mixup=1, cutmix=1)])
def test_labels_are_the_shares_of_the_images(settings, rows):
    for step in range(50):
        [(images, labels, indices)] = mix(batch_of(7, rows), step=step, **settings)
        assert labels.shape == (7, CLASSES)
        torch.testing.assert_close(labels.sum(1), torch.ones(7))
        torch.testing.assert_close(images.mean((1, 2, 3)), of_images(labels))
        assert sorted(indices.tolist()) == list(range(100, 107))
        larger = labels[torch.arange(7), indices - 100]  # each is still itself by one of two shares
        torch.testing.assert_close(larger, larger[:1].expand(7))


def test_mixup_adds_and_cutmix_lays_a_piece_into_another():
    for step in range(20):
        [(added, _, _)] = mix(batch_of(5), step=step, cutmix=0)
        assert all(len(image.unique()) == 1 for image in added)
        [(cut, labels, indices)] = mix(batch_of(5), step=step, mixup=0)
        for image, label, index in zip(cut, labels, indices, strict=True):
            assert set(image.unique().tolist()) <= set(label.nonzero()[:, 0].tolist()) | {float(index - 100)}
            inside = image[0] != float(index - 100)  # a rectangle: full between its first and last row and column
            rows, columns = inside.any(1).nonzero()[:, 0], inside.any(0).nonzero()[:, 0]
            assert int(inside.sum()) == len(rows) * len(columns)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_lambda_is_beta_distributed(alpha):
    """Mean 1/2 and variance 1 / (4 (2 alpha + 1)), within four standard errors of 2000 draws."""
    drawn = []
    for step in range(2000):
        [(_, labels, indices)] = mix(batch_of(2), step=step, mixup=alpha, cutmix=0)
        drawn.append(float(labels[0, indices[0] - 100]))
    values = np.array(drawn)
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(values.mean() - 0.5) < 4 * (variance / 2000) ** 0.5
    assert abs(values.var() - variance) < 4 * ((values - 0.5) ** 2).std() / 2000**0.5


def test_how_often_which(monkeypatch):
    """`prob` of the batches are mixed, `switch_prob` of those are cut: each within four standard errors of 1000."""
    kinds = dict(plain=0, added=0, cut=0)
    for step in range(1000):
        [(images, labels, _)] = mix(batch_of(4), step=step, mixup=1, cutmix=1, prob=0.6, switch_prob=0.3)
        whole = bool((labels.max(1).values == 1).all())
        one_value = all(len(image.unique()) == 1 for image in images)
        kinds["plain" if whole else "added" if one_value else "cut"] += 1
    # A piece may be smaller than a pixel: for 16x12 pixels lambda above 1 - 1/48 or so, a batch in fifty.
    for kind, share in dict(plain=0.4, added=0.42, cut=0.18).items():
        slack = 0.01 if kind != "added" else 0
        assert abs(kinds[kind] / 1000 - share) < 4 * (share * (1 - share) / 1000) ** 0.5 + slack, kinds


def test_it_is_torchvisions_own(monkeypatch):
    """The same numbers drawn, by torchvision alone."""
    batch = batch_of(6)
    [(images, labels, indices)] = mix(batch, mixup=0, cutmix=1.0)
    monkeypatch.setattr("knoll.hooks.mix.seed_sample", lambda _: torch.manual_seed(5))
    [(images, labels, indices)] = mix(batch, mixup=0, cutmix=1.0)
    torch.manual_seed(5)
    order = torch.randperm(6)
    torch.rand(1), torch.multinomial(torch.ones(1), 1)  # what decides whether, and which
    theirs = v2.CutMix(alpha=1.0, num_classes=CLASSES)(batch.images[order], batch.labels[order])
    assert torch.equal(images, theirs[0])
    assert torch.equal(labels, theirs[1])
    assert torch.equal(indices, batch.indices[order])


def test_draws_follow_from_seed_step_and_place_and_leave_the_generators_alone():
    before = random_state()
    first, second = mix(batch_of(8), batch_of(8), step=3)
    after = random_state()
    assert torch.equal(before["torch"], after["torch"])
    assert before["python"] == after["python"]
    assert torch.equal(before["numpy"][1], after["numpy"][1])
    assert not torch.equal(first.labels, second.labels)

    torch.rand(7)
    again = mix(batch_of(8), batch_of(8), step=3)
    for one, other in zip((*first, *second), (*again[0], *again[1]), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(first.labels, mix(batch_of(8), step=4)[0].labels)
    assert not torch.equal(first.labels, mix(batch_of(8), step=3, seed=1)[0].labels)


def test_a_batch_of_one_stays_as_it_is():
    for step in range(20):
        three = Batch(torch.full((1, 1, 4, 4), 3.0), torch.tensor([3]), torch.tensor([0]))
        [(images, labels, _)] = mix(three, step=step)
        torch.testing.assert_close(images, three.images)
        torch.testing.assert_close(labels, one_hot(three.labels, CLASSES).float())


def test_rows_of_a_table_are_refused():
    with pytest.raises(UserError, match=r"Mix does not take a batch of the shape \(3, 8\)"):
        mix(Batch(torch.rand(3, 8), torch.arange(3), torch.arange(3)))


def test_a_hook_that_would_mix_nothing_is_refused():
    with pytest.raises(ConfigError, match="mixup and cutmix are both 0"):
        Mix(mixup=0, cutmix=0)


def recorded_training() -> dict[str, Any]:
    records = map(json.loads, Path("run/log.jsonl").read_text().splitlines())
    [record] = [each for each in records if each["set"] == "train"]
    return record


def test_until(tiny):
    """12 steps, half of them mixed; labels are rows in all of them, so that a record may span both."""
    tiny["hooks"] |= dict(mix=dict(type="Mix", until="50%", mixup=1.0), json_log=dict(type="JSONLog", every=12))
    runner = Runner(tiny, "run")
    mixed = []
    after = runner.update.step
    runner.update.step = lambda: (
        after(),
        mixed.append(any(bool((batch.labels.max(1).values < 1).any()) for batch in runner.batches)),
    )[0]
    runner.train()
    assert mixed == [True] * 6 + [False] * 6
    assert recorded_training()["step"] == 12


def test_trainings_metrics_count_the_largest_share(tiny):
    tiny["hooks"] |= dict(mix=dict(type="Mix", mixup=1.0, cutmix=1.0), json_log=dict(type="JSONLog", every=12))
    runner = Runner(tiny, "run")
    seen: list[Tensor] = []
    step = runner.update.step
    runner.update.step = lambda: (
        step(),
        seen.extend(x.argmax(1) == b.labels.argmax(1) for x, b in zip(runner.logits, runner.batches, strict=True)),
    )[0]
    runner.train()
    assert recorded_training()["top1"] == pytest.approx(torch.stack(seen).float().mean().item(), abs=1e-6)


def test_resumed_to_the_bit(tiny):
    tiny["hooks"] |= dict(mix=dict(type="Mix", mixup=0.2))
    tiny["hooks"]["checkpoint"]["keep"] = 9
    whole = Runner(tiny, "whole")
    whole.train()
    resumed = Runner(tiny, "resumed", resume="whole/checkpoints/step_00000006.pt")
    resumed.train()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    tiny["hooks"]["mix"]["mixup"] = 0.3
    with pytest.raises(UserError, match=r"hooks\.mix\.mixup: was 0.2, is 0.3"):
        Runner(tiny, "other", resume="whole/checkpoints/step_00000006.pt")


def test_multi_hot_labels_are_mixed_and_measured_values_are_refused(tiny):
    arrays = dict(np.load("arrays.npz"))
    hot = {f"{split}_labels": np.arange(n)[:, None] // [1, 2, 4, 8] % 2 for split, n in (("train", 42), ("val", 18))}
    np.savez("arrays.npz", **arrays | hot)
    tiny["hooks"] = dict(mix=dict(type="Mix", mixup=1.0, cutmix=0))
    tiny |= dict(loss=dict(type="BCEWithLogitsLoss"), metrics={}, duration=1)
    tiny["model"]["head"] = dict(type="MultiLabelHead", num_classes=4)
    runner = Runner(tiny, "run")
    runner.train()
    shares = torch.cat([batch.labels for batch in runner.batches])
    assert bool(((shares > 0) & (shares < 1)).any())

    values = {f"{split}_labels": np.linspace(-2, 3, n * 4).reshape(n, 4) for split, n in (("train", 42), ("val", 18))}
    np.savez("arrays.npz", **arrays | values)
    tiny["model"]["head"] = dict(type="LinearHead", num_classes=4)
    with pytest.raises(UserError, match="a hook mixes the labels, which is for classes; these are measured values"):
        Runner(tiny | dict(loss=dict(type="MSELoss")), "other")


class WithAuxiliary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.main, self.auxiliary = nn.Linear(2 * 16 * 12, CLASSES), nn.Linear(2 * 16 * 12, CLASSES)

    def forward(self, images: Tensor) -> Outputs:
        return Outputs(self.main(images.flatten(1)), (self.auxiliary(images.flatten(1)),), 0.3)


def test_auxiliary_heads_learn_from_mixed_labels_too():
    torch.manual_seed(0)
    model, batches = WithAuxiliary(), mix(batch_of(6), mixup=1.0, cutmix=0)
    update = Update(Forward(model), nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.1))
    loss, _ = update.backward(batches)
    [(images, labels, _)] = batches
    main, auxiliary = (cross_entropy(part(images.flatten(1)), labels) for part in (model.main, model.auxiliary))
    torch.testing.assert_close(loss, (main + 0.3 * auxiliary).detach())
