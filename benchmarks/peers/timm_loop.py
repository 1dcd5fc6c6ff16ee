"""timm: its parts, put together as in its train.py, which is a script and not in the package."""

from __future__ import annotations

import logging
import time

from timm.scheduler import CosineLRScheduler
from timm.task import ClassificationTask
from timm.utils import AverageMeter
from torch import nn

from .. import task


def train(model: nn.Module, epochs: int, folder: str) -> None:
    training = ClassificationTask(model, nn.CrossEntropyLoss())
    optimizer = task.optimizer(model.parameters())
    schedule = CosineLRScheduler(optimizer, t_initial=epochs * task.STEPS, t_in_epochs=False)
    loader = task.loader()
    for epoch in range(epochs):
        losses, seconds, waiting = AverageMeter(), AverageMeter(), AverageMeter()
        training.train()
        end = time.time()
        for number, (images, labels) in enumerate(loader):
            waiting.update(time.time() - end)
            loss = training(images, labels)["loss"]
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.update(loss.item(), len(images))
            seconds.update(time.time() - end)
            if number % 50 == 0:
                said = "Train: %d [%d/%d] Loss: %.4g (%.4g) Time: %.3f Data: %.3f"
                logging.warning(said, epoch, number, len(loader), losses.val, losses.avg, seconds.avg, waiting.avg)
            schedule.step_update(num_updates=epoch * len(loader) + number + 1, metric=losses.avg)
            end = time.time()
        schedule.step(epoch + 1)
