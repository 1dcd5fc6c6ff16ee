"""AlternatingFlip: each image both ways in any two epochs, half of them mirrored in each."""

from __future__ import annotations

import torch

from knoll.hooks import Hook
from knoll.registry import HOOKS
from knoll.runner import Runner

SEEN: dict[tuple[int, int], torch.Tensor] = {}


@HOOKS.register_module()
class ImagesSeenByATest(Hook):
    """Keeps every image by epoch and index."""

    def before_update(self, runner: Runner) -> None:
        for batch in runner.batches:
            for image, index in zip(batch.images, batch.indices.tolist(), strict=True):
                SEEN[runner.epoch, index] = image.clone()


def test_every_second_epoch(tiny):
    plain = [dict(type="ToImage"), dict(type="ToDtype", dtype="float32", scale=True)]
    train = tiny["train"] | dict(transforms=plain, drop_last=False)
    hooks = dict(flip=dict(type="AlternatingFlip"), seen=dict(type="ImagesSeenByATest"))
    SEEN.clear()
    runner = Runner(tiny | dict(train=train, hooks=hooks, duration="4ep"), "run")
    runner.train()
    assert len(SEEN) == 4 * 42
    originals = torch.from_numpy(runner.train_loader.dataset.images).float() / 255
    mirrored = []
    for index in range(42):
        original = originals[index].reshape(1, 28, 28)
        same = [torch.allclose(SEEN[epoch, index], original) for epoch in range(4)]
        other = [torch.allclose(SEEN[epoch, index], original.flip(2)) for epoch in range(4)]
        assert same in ([True, False] * 2, [False, True] * 2)
        assert other == [not each for each in same]
        mirrored.append(other[0])
    assert 11 <= sum(mirrored) <= 31  # of 42 fair coins: outside once in 500 seeds
