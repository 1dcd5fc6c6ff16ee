"""The registries. Each knows the folder that fills it, and what Knoll itself passes to what it builds."""

from __future__ import annotations

from .registry import Registry

DATASETS = Registry("dataset", locations=["knoll.datasets"])
TRANSFORMS = Registry("transform", also=["views"], locations=["knoll.datasets"])
SAMPLERS = Registry("sampler", locations=["knoll.datasets"], provides=["dataset", "seed"])
BACKBONES = Registry("backbone", locations=["knoll.models.backbones", "knoll.models.libraries"])
HEADS = Registry("head", also=["auxiliary_head"], locations=["knoll.models.heads"], provides=["in_features"])
MODELS = Registry("model", locations=["knoll.models"])
LOSSES = Registry("loss", plural="losses", locations=["knoll.losses"])
METRICS = Registry("metric", locations=["knoll.runner.metrics"], provides=["num_classes", "num_labels"])
OPTIMIZERS = Registry("optimizer", also=["base_optimizer"], locations=["knoll.optim"], provides=["params"])
SCHEDULERS = Registry("scheduler", locations=["knoll.optim"], provides=["optimizer"], durations=True)
HOOKS = Registry("hook", locations=["knoll.hooks"])
