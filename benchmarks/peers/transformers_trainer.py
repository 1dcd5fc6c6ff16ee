"""transformers: Trainer.train."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import Trainer, TrainingArguments

from .. import task


class Model(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.model(images)
        return dict(loss=cross_entropy(logits, labels), logits=logits)


def train(model: nn.Module, epochs: int, folder: str) -> None:
    rows = [dict(images=image, labels=label) for image, label in zip(*task.data(), strict=True)]
    arguments = TrainingArguments(
        folder, num_train_epochs=epochs, per_device_train_batch_size=task.BATCH, save_strategy="no", use_cpu=True
    )
    optimizers = task.optimizer(model.parameters()), None
    Trainer(Model(model), arguments, train_dataset=rows, optimizers=optimizers).train()
