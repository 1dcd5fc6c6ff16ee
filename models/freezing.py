"""Freezing: the parts of a model that stand still for a run, or until some step of it."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from ..registry import ConfigError
from .patterns import covering


class Freezing:
    """Holds parameters and modules of a model still until their step.

    A frozen parameter has no gradient. A frozen module is in evaluation mode, so that its batch statistics stay as they
    are and nothing drops out: one that a pattern covers, or whose own parameters are all frozen.

    What is frozen follows from the step alone, so a run that resumes needs no state for it.

    Args:
        freeze: patterns, or until when by pattern, as in Experiment.
        to_steps: a duration in steps; "100%" is the whole run.

    Attributes:
        pattern_of: the pattern that freezes each frozen parameter.
        until: the step at which each pattern thaws what it covers; what is frozen for the whole run, never.
        whole_run: the parameters that are never trained.
        total_steps: of the run.

    Raises:
        ConfigError: a pattern that matches nothing, or nothing is left to train.
    """

    def __init__(
        self, model: nn.Module, freeze: list[str] | dict[str, int | str], to_steps: Callable[[int | str], int]
    ) -> None:
        durations = freeze if isinstance(freeze, dict) else dict.fromkeys(freeze, "100%")
        self.total_steps = to_steps("100%")
        self.until = {pattern: to_steps(duration) for pattern, duration in durations.items()}
        # What is used in two places has two names, and either may be meant.
        modules = {name: module for name, module in model.named_modules(remove_duplicate=False) if name}
        parameters = dict(model.named_parameters(remove_duplicate=False))
        pattern_of = covering(self.until, [*modules, *parameters], "freeze")
        _require_something(pattern_of, {**modules, **parameters})
        covered = {name: pattern for name, pattern in pattern_of.items() if self.until[pattern] > 0}

        self.pattern_of = {parameter: covered[name] for name, parameter in parameters.items() if name in covered}
        self.whole_run = {each for each, pattern in self.pattern_of.items() if self.until[pattern] >= self.total_steps}
        # What its author has fixed is never thawed.
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._parameters = {each: self.until[self.pattern_of[each]] for each in trained if each in self.pattern_of}
        self._modules: dict[nn.Module, int] = {}
        for name, module in [("", model), *modules.items()]:
            own = [self._parameters.get(each, 0) for each in module.parameters(recurse=False) if each.requires_grad]
            by_pattern = self.until[covered[name]] if name in covered else 0
            until = max(by_pattern, min(own, default=0), self._modules.get(module, 0))
            if until > 0:
                self._modules[module] = until

        if trained and len(self._parameters) == len(trained):
            raise ConfigError(
                f"freeze: every parameter of {type(model).__name__} is frozen when the run begins: nothing is left to "
                "train. Leave out a pattern, or thaw something at step 0."
            )
        self.apply(step=0)

    def require_none_of(self, names: list[str], model: nn.Module) -> None:
        """Refuse to freeze for good what the weights left as it was made: random numbers.

        Raises:
            ConfigError: names the first of them.
        """
        parameters = dict(model.named_parameters(remove_duplicate=False))
        for name in names:
            if parameters.get(name) in self.whole_run:
                pattern = self.pattern_of[parameters[name]]
                raise ConfigError(
                    f"freeze: `{pattern}` freezes {name}, which the weights do not fill: it would stay random. Freeze "
                    "less, or take weights that fit"
                )

    def apply(self, step: int) -> None:
        """Freeze what is frozen at this step of the run, and thaw the rest of what was."""
        for parameter, until in self._parameters.items():
            parameter.requires_grad_(step >= until)
        for module, until in self._modules.items():
            if module.training != (step >= until):
                module.training = step >= until


def _require_something(pattern_of: dict[str, str], parts: dict[str, nn.Module | nn.Parameter]) -> None:
    """Each pattern must cover what training would change: a parameter, batch statistics, dropout."""
    kept = {
        pattern
        for name, pattern in pattern_of.items()
        if not isinstance(part := parts[name], nn.Module)
        or any(True for _ in (*part.parameters(), *part.buffers()))
        or "drop" in type(part).__name__.lower()
    }
    for pattern in dict.fromkeys(pattern_of.values()):
        if pattern not in kept:
            raise ConfigError(f"freeze: the pattern `{pattern}` covers nothing that training changes: leave it out")
