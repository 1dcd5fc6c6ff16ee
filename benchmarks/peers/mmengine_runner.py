"""mmengine: Runner.train, with its default hooks but for the checkpoints."""

from __future__ import annotations

from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .. import task


class Model(BaseModel):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, labels: Tensor, mode: str = "tensor") -> dict[str, Tensor]:
        return dict(loss=cross_entropy(self.model(images), labels))


def train(model: nn.Module, epochs: int, folder: str) -> None:
    runner = Runner(
        Model(model),
        folder,
        train_dataloader=task.loader(),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type="SGD", **task.OPTIMIZER)),
        default_hooks=dict(checkpoint=None),
    )
    runner.train()
