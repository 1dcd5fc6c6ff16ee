"""Lightning: Trainer.fit."""

from __future__ import annotations

import lightning
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .. import task


class Module(lightning.LightningModule):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        return cross_entropy(self.model(images), labels)

    def configure_optimizers(self):
        return task.optimizer(self.parameters())


def train(model: nn.Module, epochs: int, folder: str) -> None:
    trainer = lightning.Trainer(
        max_epochs=epochs, default_root_dir=folder, accelerator="cpu", enable_checkpointing=False
    )
    trainer.fit(Module(model), task.loader())
