"""Device placement, on torch's meta device, which is everywhere and is not the CPU."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from knoll.datasets.loader import Batch
from knoll.hooks.device_placement import DevicePlacement


def test_model_loss_and_batches_go_to_the_device_it_names():
    batch = Batch(torch.zeros(2, 3), torch.zeros(2), torch.zeros(2))
    loss = nn.CrossEntropyLoss(weight=torch.ones(3))
    runner = SimpleNamespace(model=nn.Linear(3, 3), loss_function=loss, batches=[batch, batch])
    hook = DevicePlacement("meta")
    hook.setup(runner)
    hook.before_iter(runner)
    placed = [*runner.model.parameters(), loss.weight, *(field for each in runner.batches for field in each)]
    assert {tensor.device.type for tensor in placed} == {"meta"} == {runner.device.type}
