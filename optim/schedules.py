"""Every learning-rate schedule of torch by its name, timm's as `timm/...`; LRSchedule, a hook, drives them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..registry import SCHEDULERS, ConfigError, ModuleClasses
from ..registry.duration import map_durations

if TYPE_CHECKING:
    from torch.optim import Optimizer

# Arguments that are learning rates themselves, and not shares of the optimizer's.
RATES = ("base_lr", "max_lr", "eta_min", "min_lr", "lr_min", "warmup_lr_init")


def build_scheduler(
    config: Mapping, optimizer: Optimizer, to_units: Callable[[int | str], int], lr_factor: float = 1.0
) -> Any:
    """A schedule from its config.

    Args:
        to_units: turns "5ep" or "100%" into the steps or epochs that the schedule counts in.
        lr_factor: what the optimizer's learning rates have been multiplied by; so are those that the config states.
    """
    return SCHEDULERS.build(_in_units(config, to_units, lr_factor), default_args=dict(optimizer=optimizer))


def _in_units(config: Mapping, to_units: Callable[[int | str], int], lr_factor: float) -> dict:
    converted = map_durations(SCHEDULERS.require(config["type"]), config, to_units)
    for key in RATES:
        value = converted.get(key)
        if isinstance(value, list):
            converted[key] = [each * lr_factor for each in value]
        elif value is not None:
            converted[key] = value * lr_factor
    if isinstance(config.get("schedulers"), list):
        converted["schedulers"] = [_in_units(each, to_units, lr_factor) for each in config["schedulers"]]
    return converted


def _building_its_children(container: type) -> Callable:
    """A schedule that holds others (SequentialLR, ChainedScheduler) takes their configs and builds them."""

    @functools.wraps(container)
    def build(optimizer: Optimizer, schedulers: list, **arguments: Any) -> Any:
        built = [SCHEDULERS.build(config, default_args=dict(optimizer=optimizer)) for config in schedulers]
        return container(optimizer=optimizer, schedulers=built, **arguments)

    return build


def _scaling_its_bounds(schedule: type) -> Callable:
    """A schedule that sets learning rates of its own (OneCycleLR, CyclicLR) sets those of the optimizer's first group;
    the others keep their ratio to it."""

    @functools.wraps(schedule)
    def build(optimizer: Optimizer, **arguments: Any) -> Any:
        for bound in ("base_lr", "max_lr"):
            value = arguments.get(bound)
            if isinstance(value, (int, float)) and len(optimizer.param_groups) > 1:
                arguments[bound] = [value * ratio for ratio in _ratios(optimizer, schedule.__name__)]
        return schedule(optimizer=optimizer, **arguments)

    return build


def _ratios(optimizer: Optimizer, schedule: str) -> list[float]:
    rates = [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]
    if rates[0] == 0:
        raise ConfigError(f"{schedule}: with optimizer.lr=0 nothing tells the ratios of the groups: set another lr")
    return [rate / rates[0] for rate in rates]


def _adapted(schedule: type) -> Callable:
    takes = inspect.signature(schedule).parameters
    if "schedulers" in takes:
        return _building_its_children(schedule)
    return _scaling_its_bounds(schedule) if "max_lr" in takes else schedule


SCHEDULERS.add_library(ModuleClasses("torch.optim.lr_scheduler", "[!_]*", base="LRScheduler", adapt=_adapted))
SCHEDULERS.add_source("timm", ModuleClasses("timm.scheduler", "*LRScheduler"))
