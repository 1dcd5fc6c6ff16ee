"""Metrics, over torchmetrics: `Accuracy` here, and everything of torchmetrics.classification as `torchmetrics/...`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from torch import Tensor

from ..registry import METRICS, ConfigError, ModuleClasses
from ..registry.fit import AtLeast


@METRICS.register_module()
def Accuracy(num_classes: int, top_k: Annotated[int, AtLeast(1)] = 1) -> Any:
    """The share of images whose label is among the `top_k` largest logits.

    Raises:
        ConfigError: top_k is more than there are classes.
    """
    from torchmetrics.classification import MulticlassAccuracy

    if top_k > num_classes:
        raise ConfigError(f"Accuracy: top_k is {top_k}, but there are {num_classes} classes")
    return MulticlassAccuracy(num_classes, top_k=top_k, average="micro")


METRICS.add_source("torchmetrics", ModuleClasses("torchmetrics.classification"))


def is_multi_label(metric: Any) -> bool:
    """Whether a metric judges every class of an image by itself, as torchmetrics' Multilabel... do."""
    return hasattr(metric, "num_labels")


class MetricSet:
    """The metrics of a config, for one set of images."""

    def __init__(self, configs: Mapping[str, dict], num_classes: int, device: Any = "cpu") -> None:
        arguments = dict(num_classes=num_classes, num_labels=num_classes)
        self.metrics = {name: METRICS.build(each, default_args=arguments).to(device) for name, each in configs.items()}

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add logits (N, classes) and their labels (N,) or (N, classes).

        A multi-label metric takes each of the (N, classes) as a yes or no; for any other the largest is the class.
        """
        numbers = labels.argmax(1) if labels.ndim == 2 else labels
        for metric in self.metrics.values():
            metric.update(logits, (labels > 0.5).int() if is_multi_label(metric) else numbers)

    def compute(self) -> dict[str, float]:
        """The metrics of all that was added since the last reset."""
        return {name: float(metric.compute()) for name, metric in self.metrics.items()}

    def reset(self) -> None:
        for metric in self.metrics.values():
            metric.reset()
