"""Evaluation: one pass over each set, every image once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import repeat
from types import MappingProxyType

import torch
from torch import Tensor, nn

from ..datasets.loading.loader import Batch, EvaluationLoader
from ..hooks.recorder import by_set
from .labels import checked
from .metrics import MetricSet
from .processes.distributed import ALONE, World
from .step.forward import Forward
from .views import Views


def evaluate(
    forward: Forward,
    loaders: Mapping[str, Iterable[Batch]],
    loss: nn.Module,
    metrics: MetricSet,
    on_batch: Callable[[str, Batch, Tensor], None] | None = None,
    views: Mapping[str, Views] = MappingProxyType({}),
    before_batch: Callable[[], None] | None = None,
    suffix: str = "",
    world: World = ALONE,
) -> dict[str, float]:
    """The mean loss and the metrics of every set, as `{"val/loss": ..., "val/top1": ...}`.

    Several processes answer a batch each, as one process would have; then all count all answers, in the order of the
    batches. So each has the figures of one process, to the last digit, whatever the metric.

    Args:
        loaders: the sets by name.
        views: of the sets, by name, that are measured by several views of each image.
        before_batch: called before each batch; what it raises ends the evaluation.
        on_batch: called with the set's name, each batch and its logits (N, classes), to keep predictions; by one
            process alone.
        suffix: added to the sets' names in the result: "_ema" if the weights are an average.
        world: the processes that the loaders' parts are for.
    """
    results = {}
    with evaluation_mode(forward.model), torch.no_grad():
        world.share_buffers(forward.model)
        for name, loader in loaders.items():
            batches = checked(loader, getattr(loader, "dataset", None), f"evaluation.{name}", metrics.num_classes)
            keep = None if on_batch is None else lambda batch, logits, name=name: on_batch(name, batch, logits)
            answer = partial(views[name], forward) if name in views else forward
            rounds = loader.rounds() if isinstance(loader, EvaluationLoader) and world.size > 1 else repeat([])
            measured = _evaluate_set(answer, forward.device, batches, loss, metrics, keep, before_batch, world, rounds)
            results |= {f"{name}{suffix}/{metric}": value for metric, value in measured.items()}
    return results


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """The whole model in evaluation mode; afterwards each module is again in its own, for parts may be frozen."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        model.train(modes[model])  # some modules do more than change their mode here
        for module, training in modes.items():
            module.training = training


def _evaluate_set(
    answer: Callable[[Tensor], Tensor],
    device: torch.device,
    batches: Iterable[Batch],
    loss: nn.Module,
    metrics: MetricSet,
    on_batch: Callable[[Batch, Tensor], None] | None,
    before_batch: Callable[[], None] | None,
    world: World,
    rounds: Iterable[list[int]],
) -> dict[str, float]:
    metrics.reset()
    # Summed in double precision: the order of adding then shows in no digit that is printed.
    total = torch.zeros((), dtype=torch.float64)
    images = 0
    for batch, lengths in zip(batches, rounds, strict=False):
        if before_batch is not None:
            before_batch()
        batch = batch.to(device)
        logits = answer(batch.images)
        for answers, labels in zip(world.gather(logits, lengths), world.gather(batch.labels, lengths), strict=True):
            if len(labels) == 0:  # another process has had no batch left
                continue
            total += loss(answers, labels).cpu().double() * len(labels)
            images += len(labels)
            metrics.update(answers, labels)
        if on_batch is not None:
            on_batch(batch, logits)
    return {"loss": float(total / images), **metrics.compute()}


def in_words(metrics: Mapping[str, float], sources: Mapping[str, str]) -> list[str]:
    """One line for each set: `val: loss 0.3214  top1 0.9340  (drawn flowers)`. No figure stands without its data."""
    lines = []
    for name, own in by_set(metrics).items():
        figures = "  ".join(f"{metric} {value:.4f}" for metric, value in own.items())
        lines.append(f"{name}: {figures}  ({sources[name]})")
    return lines
