"""Device placement, on torch's meta device, which is everywhere and is not the CPU."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from knoll.datasets.loading.loader import EvaluationLoader, TrainLoader
from knoll.datasets.samplers import Sequential
from knoll.hooks.device_placement import DevicePlacement
from knoll.runner.processes.distributed import ALONE


class Zeros:
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.zeros(3), 0


def test_model_loss_and_batches_go_to_the_device_it_names():
    loss = nn.CrossEntropyLoss(weight=torch.ones(3))
    options = dict(batch_size=2, num_workers=0, seed=0)
    train = TrainLoader(Zeros(), [], Sequential(Zeros(), 0), drop_last=True, **options)
    evaluation = EvaluationLoader(Zeros(), [], **options)
    runner = SimpleNamespace(
        model=nn.Linear(3, 3),
        loss_function=loss,
        train_loader=train,
        evaluation_loaders=dict(val=evaluation),
        world=ALONE,
    )
    DevicePlacement("meta").setup(runner)
    batches = [*train.batches(0, 2), *evaluation]
    assert len(batches) == 4
    placed = [*runner.model.parameters(), loss.weight, *(field for each in batches for field in each)]
    assert {tensor.device.type for tensor in placed} == {"meta"} == {runner.device.type}
