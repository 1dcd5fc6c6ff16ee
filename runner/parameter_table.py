"""A table of what is trained and how, for the log of a run that freezes parts or gives them rates of their own."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn

from ..models.freezing import Freezing
from ..optim.param_groups import rules
from ..registry import ParamGroups

_HEADINGS = ("part of the model", "tensors", "parameters", "learning rate", "weight decay", "frozen")


def parameter_table(
    optimizer: torch.optim.Optimizer,
    model: nn.Module,
    loss: nn.Module,
    settings: ParamGroups | None,
    freezing: Freezing,
) -> str:
    """A line for each pattern and each layer, with the learning rates and weight decays that the optimizer has."""
    rule_of = rules(model, settings or ParamGroups())
    rows: dict[tuple[str | None, str | None, int | None], dict[str, nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        frozen, rule = freezing.pattern_of.get(parameter), rule_of[parameter]
        if parameter in freezing.whole_run:
            key = (frozen, None, None)  # no rule is put to use
        else:
            key = (frozen, rule.pattern, rule.layer if rule.pattern is None else None)
        rows.setdefault(key, {})[name] = parameter

    lines: list[tuple[str, ...]] = [_HEADINGS]
    for (frozen, pattern, layer), members in rows.items():
        of_layer = None if layer is None else f"layer {layer}{_common_path(members)}"
        label = ", ".join(dict.fromkeys(part for part in (of_layer, frozen, pattern) if part)) or "the rest"
        lines.append((label, *_figures(members.values(), optimizer), _until(frozen, freezing)))
    if own := list(loss.parameters()):
        lines.append(("the loss function", *_figures(own, optimizer), ""))
    return _aligned(lines)


def _figures(parameters: Collection[nn.Parameter], optimizer: torch.optim.Optimizer) -> tuple[str, str, str, str]:
    group_of = {each: group for group in optimizer.param_groups for each in group["params"]}
    groups = [group_of[each] for each in parameters if each in group_of]
    elements = sum(each.numel() for each in parameters)
    rates = {group["lr"] for group in groups}
    decays = {group["weight_decay"] for group in groups if "weight_decay" in group}
    return str(len(parameters)), f"{elements:,}", _span(rates), _span(decays)


def _span(values: Collection[float | None]) -> str:
    ordered = [f"{value:.3g}" for value in sorted(each for each in values if each is not None)]
    return ", ".join(ordered) if len(ordered) <= 2 else f"{ordered[0]} to {ordered[-1]}"


def _until(pattern: str | None, freezing: Freezing) -> str:
    if pattern is None:
        return ""
    until = freezing.until[pattern]
    return "whole run" if until >= freezing.total_steps else f"until step {until}"


def _common_path(names: Collection[str]) -> str:
    """The dotted path that all names begin with, in parentheses."""
    paths = [name.split(".")[:-1] for name in names]
    shared = 0
    while all(len(path) > shared and path[shared] == paths[0][shared] for path in paths):
        shared += 1
    return f" ({'.'.join(paths[0][:shared])})" if shared else ""


def _aligned(lines: list[tuple[str, ...]]) -> str:
    """The first and the last column to the left, the figures between to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = []
    for first, *figures, last in lines:
        middle = [figure.rjust(width) for figure, width in zip(figures, widths[1:-1], strict=True)]
        aligned.append("  ".join([first.ljust(widths[0]), *middle, last]).rstrip())
    return "\n".join(aligned)
