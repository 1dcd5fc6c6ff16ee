"""Metrics, over torchmetrics: `Accuracy` here, and torchmetrics' classification and regression as `torchmetrics/..`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ..registry import METRICS, ConfigError, ModuleClasses, UserError
from ..registry.fit import AtLeast

if TYPE_CHECKING:
    from torch import Tensor


@METRICS.register_module()
def Accuracy(num_classes: int, top_k: Annotated[int, AtLeast(1)] = 1) -> Any:
    """The share of images whose label is among the `top_k` largest logits.

    Raises:
        ConfigError: top_k is more than there are classes, or there is but one.
    """
    from torchmetrics.classification import MulticlassAccuracy

    if num_classes == 1:
        raise ConfigError(
            "Accuracy tells classes apart, and the model has one output: for measured values take such as "
            "torchmetrics/MeanAbsoluteError, for a yes or no torchmetrics/BinaryAccuracy"
        )
    if top_k > num_classes:
        raise ConfigError(f"Accuracy: top_k is {top_k}, but there are {num_classes} classes")
    return MulticlassAccuracy(num_classes, top_k=top_k, average="micro")


class _TorchMetrics:
    """The classes of torchmetrics.classification and torchmetrics.regression; no name is in both."""

    parts = (ModuleClasses("torchmetrics.classification"), ModuleClasses("torchmetrics.regression"))

    def get(self, name: str) -> Callable | None:
        return next((found for part in self.parts if (found := part.get(name))), None)

    def names(self) -> Iterable[str]:
        return [name for part in self.parts for name in part.names()]


METRICS.add_source("torchmetrics", _TorchMetrics())


def measures(metric: Any) -> Literal["class", "two classes", "labels", "values"]:
    """What a metric compares: class numbers, those of two classes, multi-hot labels, or measured values.

    A metric of your own compares multi-hot labels if it has an attribute `num_labels`, else class numbers.
    """
    kind = type(metric)
    if kind.__module__.startswith("torchmetrics.regression"):
        return "values"
    if hasattr(metric, "num_labels"):
        return "labels"
    return "two classes" if kind.__module__.startswith("torchmetrics.") and kind.__name__[:6] == "Binary" else "class"


class MetricSet:
    """The metrics of a config, for one set of images.

    Args:
        configs: by name.
        num_classes: the width of the logits; given to a metric as `num_classes` or `num_labels`.
    """

    def __init__(self, configs: Mapping[str, dict], num_classes: int, device: Any = "cpu") -> None:
        self.num_classes = num_classes
        arguments = dict(num_classes=num_classes, num_labels=num_classes)
        self.metrics = {name: METRICS.build(each, default_args=arguments).to(device) for name, each in configs.items()}
        for module in [part for metric in self.metrics.values() for part in getattr(metric, "modules", list)()]:
            # Each of several processes is told all there is: torchmetrics shall not add them up once more.
            module.distributed_available_fn = _never

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add logits (N, classes) and their labels, (N,) or (N, classes), to each metric as it takes them.

        Raises:
            UserError: a metric cannot compare these.
        """
        for name, metric in self.metrics.items():
            metric.update(*_as_taken(metric, name, logits, labels))

    def compute(self) -> dict[str, float]:
        """The metrics of all that was added since the last reset."""
        return {name: float(metric.compute()) for name, metric in self.metrics.items()}

    def reset(self) -> None:
        for metric in self.metrics.values():
            metric.reset()

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """What was added since the last reset, of the metrics that count, not of those that keep every prediction."""
        from torch import Tensor

        states = {name: getattr(metric, "metric_state", {}) for name, metric in self.metrics.items()}
        counts = {name: state for name, state in states.items() if all(isinstance(v, Tensor) for v in state.values())}
        return {name: {key: value.clone() for key, value in state.items()} for name, state in counts.items() if state}

    def load_state_dict(self, states: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take up what `state_dict` gave. A metric of which it is not, or that has changed since, begins anew."""
        for name, state in states.items():
            metric: Any = self.metrics.get(name)
            current = getattr(metric, "metric_state", {})
            if {k: v.shape for k, v in state.items()} != {k: getattr(v, "shape", None) for k, v in current.items()}:
                continue
            for key, value in state.items():
                setattr(metric, key, value.to(current[key].device))
            metric._update_count = 1  # else torchmetrics warns that there is nothing to compute


def _never() -> bool:
    return False


def _as_taken(metric: Any, name: str, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions and targets for one metric.

    Probabilities are passed where torchmetrics takes a sigmoid itself, for it does so only if some logit of a batch
    lies outside 0 to 1.
    """
    compared, rows, outputs = measures(metric), labels.ndim == 2, logits.shape[1]
    said = f"the metric {name} ({type(metric).__name__})"
    if compared == "labels":
        if not rows:
            raise UserError(f"{said} compares multi-hot labels (N, classes); these are class numbers")
        return logits.sigmoid(), (labels > 0.5).long()
    if compared == "values":
        if not rows:
            raise UserError(f"{said} compares measured values (N, outputs); these labels are class numbers")
        return (logits[:, 0], labels[:, 0]) if outputs == 1 else (logits, labels)
    if compared == "two classes" and rows and outputs == 1:
        return logits[:, 0].sigmoid(), (labels[:, 0] > 0.5).long()
    numbers = labels.argmax(1) if rows else labels  # of shares of classes the largest counts
    if compared == "two classes":
        if outputs != 2:
            raise UserError(f"{said} is for two classes; the model tells {outputs} apart")
        return logits.softmax(1)[:, 1], numbers
    return logits, numbers
