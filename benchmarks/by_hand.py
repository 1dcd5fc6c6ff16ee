"""LeNet-5 on MNIST in plain PyTorch, with the libraries that configs/lenet_mnist.py uses: a start by hand.

    python benchmarks/by_hand.py data runs/by_hand

Trains for one step, as `benchmarks/startup.py` lets Knoll do, and says so.
"""

from __future__ import annotations

import sys

import torch
from rich.progress import Progress
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from torchmetrics.classification import MulticlassAccuracy
from torchvision import datasets
from torchvision.transforms import v2


def main(root: str, folder: str) -> None:
    torch.manual_seed(0)
    transform = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.1307], [0.3081])])
    train, test = (datasets.MNIST(root, train=each, transform=transform) for each in (True, False))
    batches = DataLoader(train, batch_size=64, shuffle=True, drop_last=True)
    evaluation = DataLoader(test, batch_size=500)
    model = nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=3 * len(batches))
    loss_of, accuracy = nn.CrossEntropyLoss(), MulticlassAccuracy(10, average="micro")
    with SummaryWriter(folder) as writer, Progress() as progress:
        task = progress.add_task("train", total=3 * len(batches))
        images, labels = next(iter(batches))
        logits = model(images)
        accuracy.update(logits, labels)
        loss = loss_of(logits, labels)
        loss.backward()
        optimizer.step()
        scheduler.step()
        progress.advance(task)
        writer.add_scalar("loss", loss.item(), 1)
    print(f"first step done, loss {loss.item():.3f}, {len(evaluation)} batches to evaluate", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
