"""Every mistake of a config at once, before anything is built: each with its path, its file and line, and a remedy."""

from __future__ import annotations

import re
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from difflib import SequenceMatcher
from typing import Annotated, Any, NamedTuple

from .batch_size import mistakes
from .config import Config
from .discover import import_folders, import_modules
from .duration import without_durations
from .errors import ConfigError, UnknownNameError
from .experiment import Experiment
from .fit import NotImportedError
from .names import did_you_mean, nearest
from .registries import HOOKS
from .registry import Registry
from .signature import bind, describe, parameters, settings_class, settings_class_of_items
from .tree import KeyPath, Origin, dotted


class _IsMetricName:
    """Marks a parameter that names a metric of the config: `val/top1`."""


CLIPS = ("clip_norm", "clip_value", "clip_agc")
LookUp = Callable[[Registry, str], Any]

METRIC_NAME = _IsMetricName()
MetricName = Annotated[str, METRIC_NAME]


class Problem(NamedTuple):
    """One mistake: where it is and what to do."""

    path: KeyPath
    origin: Origin | None
    message: str

    def __str__(self) -> str:
        where = f" ({self.origin})" if self.origin else ""
        return f"{dotted(self.path) or 'config'}{where}: {self.message}"


def require_valid(config: Config) -> None:
    """Raise one ConfigError that lists every mistake, if there is any."""
    problems = check(config)
    if problems:
        count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise ConfigError(f"the config {config.name} has {count}:{lines}")


def check(config: Config) -> list[Problem]:
    """All mistakes that can be seen without building anything, in the order of the config.

    Until torch is imported they are first sought with signatures that are read from text: where there are mistakes, and
    the text is enough to judge all of the config, they are told in a tenth of the time. What text cannot tell is
    imported; and so is everything before a config is called right, for a file may fail when it is.
    """
    if "torch" not in sys.modules:
        with suppress(NotImportedError):
            if found := problems(config, Registry.describe):
                return found
    return problems(config, Registry.require)


def problems(config: Config, look_up: LookUp) -> list[Problem]:
    """All mistakes, by signatures that `look_up` finds."""
    checker = _Checker(config, look_up)
    checker.import_code()
    checker.metric_names = _metric_names(config.data, look_up)
    checker.settings(Experiment, config.data, ())
    checker.hook_names()
    checker.names_of_figures()
    checker.keys_together()
    checker.misplaced_keys()
    return checker.problems


class _Checker:
    def __init__(self, config: Config, look_up: LookUp) -> None:
        self.config = config
        self.look_up = look_up
        self.problems: list[Problem] = []
        self.metric_names: list[str] = []
        self.places: dict[str, list[KeyPath]] = {}  # of every key that there is or may be, by its name
        self.unknown: list[int] = []  # which of the problems are keys that nothing takes

    def report(self, path: KeyPath, message: str) -> None:
        self.problems.append(Problem(path, self.config.origin(path), message))

    def import_code(self) -> None:
        """Import what the config names, so that what it registers can be looked up."""
        for key, run in (("imports", import_modules), ("plugins", import_folders)):
            value = self.config.data.get(key)
            if isinstance(value, list) and all(isinstance(item, str) for item in value):
                try:
                    run(value)
                except ConfigError as error:
                    self.report((key,), str(error).removeprefix(f"{key}: "))

    def settings(
        self, target: Callable, data: Mapping, path: KeyPath, provided: tuple[str, ...] = (), kind: str = ""
    ) -> None:
        """Check arguments against what a constructor takes, and go into those that are configs themselves."""
        for problem in bind(target, data, provided)[1]:
            if problem.missing:
                self.report(path, f"`{problem.key}` {problem.message}")
                continue
            if problem.unknown:
                self.unknown.append(len(self.problems))
            self.report((*path, problem.key), f"{problem.message}{f' ({kind})' if kind else ''}")
        hints = parameters(target).annotations
        self.note_places(set(hints) - set(provided), path)
        for key, value in data.items():
            here, annotation = (*path, key), hints.get(key, Any)
            if (own := settings_class(annotation)) and isinstance(value, dict):
                self.settings(own, value, here)
            elif (own := settings_class_of_items(annotation)) and isinstance(value, dict):
                self.note_places(value, here)
                for name, item in value.items():
                    if isinstance(item, dict):
                        self.settings(own, item, (*here, name))
            elif key in Registry.by_key and key in hints:
                self.slot(Registry.by_key[key], key, value, here)
            elif _names_metric(annotation) and isinstance(value, str) and value not in self.metric_names:
                self.report(
                    here,
                    f"the config measures nothing called `{value}`.{_remedy(value, self.metric_names, self.look_up)}",
                )

    def slot(self, registry: Registry, key: str, value: Any, path: KeyPath) -> None:
        """A key that a registry owns: `head` holds one entry, `metrics` several, by name or in a list."""
        if isinstance(value, list):
            for index, item in enumerate(value):
                self.entry(registry, item, (*path, index))
        elif isinstance(value, dict) and key == registry.plural:
            self.note_places(value, path)
            for name, item in value.items():
                self.entry(registry, item, (*path, name), siblings=value)
        elif isinstance(value, dict):
            self.entry(registry, value, path)

    def entry(self, registry: Registry, value: Any, path: KeyPath, siblings: Mapping | None = None) -> None:
        """One `dict(type=..., ...)`."""
        if not isinstance(value, dict):
            self.report(path, f"expected dict(type=...), got {describe(value)}.")
            return
        kind = value.get("type")
        if not isinstance(kind, str):
            self.report(path, _without_type(registry, value, path, siblings or {}))
            return
        try:
            target = self.look_up(registry, kind)
        except UnknownNameError as error:
            self.report((*path, "type"), str(error))
            return
        arguments = {key: item for key, item in value.items() if key != "type"}
        if registry.durations:
            arguments = without_durations(target, arguments)
        self.settings(target, arguments, path, registry.provides, kind)

    def note_places(self, names: Iterable[str], path: KeyPath) -> None:
        for name in names:
            self.places.setdefault(name, []).append((*path, name))

    def misplaced_keys(self) -> None:
        """Of a key that nothing takes where it stands: where deeper in the config it has a place."""
        for number in self.unknown:
            problem = self.problems[number]
            *path, key = problem.path
            below = [each for each in self.places.get(str(key), ()) if list(each[: len(path)]) == path]
            least = min(map(len, below), default=0)
            meant = [dotted(each) for each in below if len(each) == least]
            if not path and key in Experiment.other_words:
                meant = [Experiment.other_words[str(key)]]
            if meant:
                hint = " or ".join(f"`{each}`" for each in meant[:3])
                self.problems[number] = problem._replace(message=f"unknown key. Did you mean {hint}?")

    def hook_names(self) -> None:
        """A hook's name is free, but not one letter away from the usual one: that is a misspelling.

        Laid over a base that has the hook, such a name would add a second one beside it.
        """
        hooks = self.config.data.get("hooks")
        for name, hook in hooks.items() if isinstance(hooks, dict) else ():
            kind = hook.get("type") if isinstance(hook, dict) else None
            known = _hook(kind, self.look_up)
            if isinstance(kind, str) and known is not None:
                usual = getattr(known, "usual_name", None) or snake_case(kind)
                numbered = re.fullmatch(rf"{usual}_?\d+", name)  # a second one, by intention
                if name != usual and not numbered and SequenceMatcher(None, name, usual).ratio() > 0.8:
                    self.report(("hooks", name), f"a hook of the type {kind}: did you mean to call it `{usual}`?")

    def names_of_figures(self) -> None:
        """Figures are called `set/metric`: such a name must mean one thing."""
        for key, taken, what in (("evaluation", "train", "training's own figures"), ("metrics", "loss", "the loss")):
            for name in _dict(self.config.data.get(key)):
                if name == taken:
                    self.report((key, name), f"`{taken}` is what {what} go by: choose another name.")
                elif "/" in name:
                    self.report((key, name), "a name here has no `/`, which stands between a set and its metric.")
        sets, hooks = (_dict(self.config.data.get(key)) for key in ("evaluation", "hooks"))
        averaged: dict[str, str] = {}
        for hook, suffix in averages(hooks, self.look_up).items():
            if suffix in averaged:
                self.report(("hooks", hook), f"hooks.{averaged[suffix]} averages the weights already: leave one out.")
                continue
            averaged[suffix] = hook
            for name in sets:
                if (taken := f"{name}_{suffix}") in sets:
                    what = f"`{taken}` is what the figures of `{name}` by hooks.{hook} go by: choose another name."
                    self.report(("evaluation", taken), what)

    def keys_together(self) -> None:
        """Keys of the top level that are wrong only beside others."""
        clips = [key for key in self.config.data if key in CLIPS and self.config.data[key] is not None]
        for key in clips[1:]:
            self.report((key,), f"`{clips[0]}` is set as well: gradients are clipped in one way, set one to None.")
        for key, message in mistakes(self.config.data):
            self.report((key,), message)


def snake_case(name: str) -> str:
    """JSONLog -> json_log, DevicePlacement -> device_placement."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _without_type(registry: Registry, value: Mapping, path: KeyPath, siblings: Mapping) -> str:
    """What to say of an entry that does not say what it is."""
    if "type" in value:
        return f"the `type` of this {registry.name} is {describe(value['type'])}; it is a registered name."
    misspelt = nearest("type", value)
    if misspelt:
        return f"this {registry.name} has no `type`. Did you mean `type` where it says `{misspelt[0]}`?"
    return f"this {registry.name} has no `type`." + did_you_mean(
        str(path[-1]), [name for name in siblings if name != path[-1]]
    )


def _metric_names(data: Mapping, look_up: LookUp) -> list[str]:
    """What is measured while training: nothing, if no hook evaluates."""
    sets, metrics, hooks = (_dict(data.get(key)) for key in ("evaluation", "metrics", "hooks"))
    evaluated = any(_dict(hook).get("type") == "Evaluation" for hook in hooks.values())
    names = [*sets, *(f"{name}_{suffix}" for suffix in averages(hooks, look_up).values() for name in sets)]
    return [f"{name}/{metric}" for name in names for metric in ["loss", *metrics]] if evaluated else []


def averages(hooks: Mapping, look_up: LookUp = Registry.require) -> dict[str, str]:
    """Of the hooks that keep weights of their own: what stands after a set's name when those are measured."""
    kinds = {name: _dict(hook).get("type") for name, hook in hooks.items()}
    told = {name: _averages_as(kind, look_up) for name, kind in kinds.items()}
    return {name: suffix for name, suffix in told.items() if suffix is not None}


def _averages_as(kind: Any, look_up: LookUp) -> str | None:
    return getattr(_hook(kind, look_up), "averages_as", None)


def _hook(kind: Any, look_up: LookUp) -> Any:
    """The class of a hook, or None."""
    if not isinstance(kind, str) or not HOOKS.has(kind):
        return None
    try:
        return look_up(HOOKS, kind)
    except UnknownNameError:  # its file cannot be imported
        return None


def _remedy(metric: str, known: list[str], look_up: LookUp) -> str:
    """What to say of a metric that is not measured."""
    if not known:
        return " No hook evaluates: add hooks.evaluation=dict(type='Evaluation')."
    name, _, figure = metric.partition("/")
    plain, _, suffix = name.rpartition("_")
    if f"{plain}/{figure}" in known:
        for kind in HOOKS.list():
            if _averages_as(kind, look_up) == suffix:
                return f" It is measured by averaged weights: add hooks.{snake_case(kind)}=dict(type='{kind}')."
    return did_you_mean(metric, known)


def _dict(value: Any) -> Mapping:
    return value if isinstance(value, dict) else {}


def _names_metric(annotation: Any) -> bool:
    choices = [annotation, *typing.get_args(annotation)]
    return any(METRIC_NAME in getattr(choice, "__metadata__", ()) for choice in choices)
