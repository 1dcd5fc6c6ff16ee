"""The optimizer's groups: which parameters are trained, each at its own learning rate and weight decay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch
from torch import nn

from ..models.patterns import covering
from ..registry import OPTIMIZERS, ConfigError, ParamGroup, ParamGroups
from .layers import layer_of_each, part_with

# What an update of ours, one backward pass and one step, does not give.
UNFIT = {
    "LBFGS": "evaluates the loss several times in each step, which a Runner does not",
    "SparseAdam": "takes sparse gradients, and those of image classifiers are dense: Adam is its like",
    "timm/adahessian": "takes gradients of gradients, which a Runner does not compute",
}


class Rule(NamedTuple):
    """How a parameter is trained, and by which pattern and layer; a weight decay of None is the optimizer's own."""

    lr_scale: float = 1.0
    weight_decay: float | None = None
    pattern: str | None = None
    layer: int | None = None


def build_optimizer(
    config: Mapping[str, Any],
    model: nn.Module,
    loss: nn.Module,
    settings: ParamGroups | None,
    frozen: AbstractSet[nn.Parameter],
    lr_factor: float = 1.0,
) -> torch.optim.Optimizer:
    """The optimizer of a config over the parameters of a model and of its loss function.

    Without settings it has one group. With them it has one for each pair of learning rate and weight decay. The first
    is always the one at the optimizer's own rate and decay, so that its rate is the run's; the others follow in the
    order of the model.

    Args:
        frozen: parameters that are never trained, and left out.
        lr_factor: all learning rates are multiplied by it, for another batch than they were chosen for.

    Raises:
        ConfigError: a pattern that covers no parameter, a rate or decay that the optimizer does not have, or an
            optimizer that needs more than gradients.
    """
    _require_fit(config)
    parameters = [each for each in (*model.parameters(), *loss.parameters()) if each not in frozen]
    params: list[Any] = parameters
    if settings is not None:
        rule_of = rules(model, settings)
        params = _groups(config, ((each, rule_of.get(each, Rule())) for each in parameters))
    optimizer = OPTIMIZERS.build(config, default_args=dict(params=params))
    if lr_factor != 1:
        for group in optimizer.param_groups:
            if group.get("lr") is None:
                raise ConfigError(f"base_batch: {config['type']} finds its learning rate itself: set optimizer.lr")
            group["lr"] *= lr_factor
    return optimizer


def _require_fit(config: Mapping[str, Any]) -> None:
    """The optimizer, and those that it is built around, must be such as an update of ours gives what they need."""
    kind = str(config["type"])
    if reason := UNFIT.get(kind):
        raise ConfigError(f"optimizer: {kind} {reason}")
    if inner := config.get("base_optimizer"):
        if inner["type"] == "SAM":
            raise ConfigError(f"optimizer: {kind} around SAM does not pass its second gradient on: put SAM outside")
        _require_fit(inner)


def rules(model: nn.Module, settings: ParamGroups) -> dict[nn.Parameter, Rule]:
    """The rule of every parameter of a model.

    Raises:
        ConfigError: a pattern that covers no parameter.
    """
    # A parameter that is used in two places has two names, and either may be meant.
    parameters = dict(model.named_parameters(remove_duplicate=False))
    covered = covering(settings.patterns, parameters, "param_groups.patterns")
    pattern_of = {parameters[name]: pattern for name, pattern in covered.items()}
    layers = layer_of_each(model) if settings.layer_decay is not None else {}
    last = max(layers.values(), default=0)
    without_decay = set() if settings.decay_norms_and_biases else _norms_and_biases(model)

    made = {}
    for name, parameter in model.named_parameters():
        pattern, layer = pattern_of.get(parameter), layers.get(name)
        group = settings.patterns[pattern] if pattern is not None else ParamGroup()
        of_layer = 1.0 if settings.layer_decay is None or layer is None else settings.layer_decay ** (last - layer)
        weight_decay = 0.0 if name in without_decay else group.weight_decay
        made[parameter] = Rule(of_layer * group.lr_scale, weight_decay, pattern, layer)
    return made


def _norms_and_biases(model: nn.Module) -> set[str]:
    """Names of all parameters with fewer than two dimensions, and of those the network asks for (timm's rule)."""
    found = part_with(model, "no_weight_decay")
    asked = [found[0] + name for name in found[1].no_weight_decay()] if found else []  # pyright: ignore[reportCallIssue]
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim < 2 or any(fnmatchcase(name, pattern) for pattern in asked)
    }


def _groups(config: Mapping[str, Any], ruled: Iterable[tuple[nn.Parameter, Rule]]) -> list[dict[str, Any]]:
    # What the config leaves to the optimizer's class, an optimizer tells that was built for nothing else.
    defaults = OPTIMIZERS.build(config, default_args=dict(params=[nn.Parameter(torch.zeros(1, 1))])).defaults
    base_lr, base_decay = defaults.get("lr"), defaults.get("weight_decay")
    # The first group is there even if it is empty: its learning rate is the one that is logged.
    groups: dict[tuple, list[nn.Parameter]] = {(base_lr, base_decay): []}
    for parameter, rule in ruled:
        if base_lr is None and rule.lr_scale != 1:
            raise ConfigError(f"param_groups: {config['type']} finds its learning rate itself: set optimizer.lr")
        if base_decay is None and rule.weight_decay is not None:
            raise ConfigError(f"param_groups: {config['type']} has no weight decay to set")
        lr = base_lr if base_lr is None else base_lr * rule.lr_scale
        weight_decay = base_decay if rule.weight_decay is None else rule.weight_decay
        groups.setdefault((lr, weight_decay), []).append(parameter)
    # timm's schedules would multiply by a key `lr_scale` again: the scale is in `lr`, and nowhere else.
    return [
        dict(params=parameters, lr=lr) | ({} if base_decay is None else dict(weight_decay=weight_decay))
        for (lr, weight_decay), parameters in groups.items()
    ]
