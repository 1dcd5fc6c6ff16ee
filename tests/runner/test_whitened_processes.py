"""A layer made from the training images is the same in all processes of a run, and what one process makes."""

from __future__ import annotations

import torch

from knoll.runner import Runner


def test_two_processes_make_the_layer_of_one(tiny, processes):
    backbone = dict(type="AirBench", widths=[4, 4, 4], in_channels=1)
    experiment = tiny | dict(model=tiny["model"] | dict(backbone=backbone), accumulate=1, duration=1)
    experiment["hooks"] = dict(whitening=dict(type="Whitening", images=32))

    def made(batch_size: int, folder: str) -> torch.Tensor:
        runner = Runner(experiment | dict(train=tiny["train"] | dict(batch_size=batch_size)), folder)
        runner.train()
        return runner.model.get_submodule("backbone.whiten").get_parameter("weight").detach().clone()

    alone = made(16, "alone")
    first, second = (ended.value for ended in processes(2, made, 8, "together"))
    assert torch.equal(first, second)
    torch.testing.assert_close(first, alone, rtol=1e-3, atol=1e-3)
