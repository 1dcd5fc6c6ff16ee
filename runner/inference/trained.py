"""A model from a checkpoint, or with weights that others published, ready to be used or measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ...datasets.combining.combine import name_source
from ...datasets.combining.first_available import Choices, same_choices
from ...datasets.loading.loader import EvaluationLoader
from ...hooks.device_placement import DevicePlacement
from ...models.pretrained import compare
from ...models.weights import load_weights
from ...registry import (
    LOSSES,
    MODELS,
    Config,
    ConfigError,
    UserError,
    config_from_dict,
    load_config,
    make_experiment,
    require_valid,
)
from ...registry.check import averages
from ..data import build_evaluation_loaders
from ..labels import all_labels, is_multi_label, require_fitting, require_known_classes
from ..metrics import MetricSet
from ..processes.distributed import ALONE, World
from ..saving import checkpoint
from ..saving.known_holes import warn_of_known_holes
from ..saving.state_kinds import fitting
from ..step.compute import build_forward

_RANDOM = (
    "So the model is not the one that was trained: {} would be random, and whatever was measured by it. Give the "
    "config the architecture and the number of classes that the weights were made with."
)
# What a checkpoint tells of a run, of a model that was not trained by one.
_NO_RUN: dict[str, Any] = dict(
    step=0, classes=[], num_classes=0, sources={}, metrics={}, evaluated_at=-1, computed_with={}
)


class Trained:
    """A model and all that is known of it. A checkpoint holds that: no config file and no training data are needed.

    Args:
        path: a checkpoint; or a config whose `weights` say what the model knows, for files that others trained.
        overrides: changes to the config, as on the command line.
        device: as DevicePlacement takes it.
        trust: import the modules and plugins that a checkpoint's config names. It is data from a file that may come
            from anywhere; what it names is code.
        ema: take the weights that a hook averaged, or those themselves. By default those that the run's best goes by:
            averaged ones after `Checkpoint(best="val_ema/top1")`.
        world: the processes that measure it together.

    Attributes: `forward` (images to logits, in evaluation mode), `experiment`, `name`, `classes`, `num_classes`,
    `loss`, `sources`, `step`, `device`, `recorded`: the metrics that training measured at that step with these weights,
    `suffix`: what their figures add to a set's name, "_ema" or nothing, `which`: in words, which weights they are, if
    there are others, and `report`: what was done to load the weights of a config.

    Raises:
        UserError: not a checkpoint, a config without weights, a mistake in an override, or no averaged weights.
    """

    def __init__(
        self,
        path: str | Path,
        overrides: Sequence[str] = (),
        device: str = "auto",
        trust: bool = False,
        ema: bool | None = None,
        world: World = ALONE,
    ) -> None:
        warn_of_known_holes()
        config, state = _read(Path(path), overrides, trust)
        require_valid(config)
        self.experiment = make_experiment(config.data)
        self.name = config.name
        known = state or _NO_RUN
        self.step: int = known["step"]
        self.classes: list[str] = known["classes"]
        self.num_classes: int = known["num_classes"]
        self.sources: dict[str, str] = dict(known["sources"])
        self.choices: Choices = dict(known.get("choices", {}))
        self._trained_with: dict[str, dict] = state["config"].get("evaluation", {}) if state else {}
        with fitting(path):
            weights, self.suffix, self.which = _choose(state, ema, path)
        recorded = known["metrics"] if known["evaluated_at"] == self.step else {}
        own = {f"{name}{self.suffix}" for name in self._trained_with}
        self.recorded = {name: value for name, value in recorded.items() if name.partition("/")[0] in own}

        self._part = world.part
        self.device = world.own_device(DevicePlacement(device).device)
        model = MODELS.build(self.experiment.model)
        self.loss = LOSSES.build(self.experiment.loss)
        self.report: list[str] = []
        if state:
            with fitting(path):
                model.load_state_dict(weights)
                self.loss.load_state_dict(state["loss"])
        elif self.experiment.weights is None:
            raise ConfigError(
                f"{path} is a config: its model knows nothing yet. Give a checkpoint, or say which weights to measure: "
                "weights=<file>"
            )
        else:
            loaded = load_weights(model, self.experiment.weights)
            if loaded.unfilled:
                raise UserError("\n".join([*loaded.lines, _RANDOM.format(", ".join(loaded.unfilled[:5]))]))
            self.report = [*loaded.lines, *compare(config)]
            self.classes, self.num_classes = loaded.classes, _outputs(model)
        self.loss.to(self.device)
        model.to(self.device).eval()
        self.forward = build_forward(self.experiment, model, self.device, steps=0, before=known["computed_with"])

    def evaluation_loaders(self, sets: Sequence[str] = ()) -> dict[str, EvaluationLoader]:
        """The evaluation sets of the config, or those named; from the sources that the run was trained on.

        Raises:
            UserError: no set of that name, data that is not there, or other classes or labels than the model knows.
        """
        configs = self.experiment.evaluation
        unknown = [name for name in sets if name not in configs]
        if unknown:
            raise UserError(f"the config has no evaluation set `{unknown[0]}`; it has {', '.join(configs) or 'none'}")
        chosen = {name: each for name, each in configs.items() if not sets or name in sets}

        def source_for(name: str) -> str | None:
            # Other data, asked for by an override, may come from elsewhere.
            same = self._trained_with.get(name, {}).get("dataset") == chosen[name].dataset
            return self.sources.get(name) if same else None

        with same_choices(self.choices):
            loaders = build_evaluation_loaders(chosen, self.experiment.seed, source_for, self._part)
        for name, loader in loaders.items():
            loader.to(self.device)
            self.sources[name] = source = name_source(loader.dataset, chosen[name].dataset)
            self.sources[f"{name}{self.suffix}"] = source
            classes = [str(each) for each in getattr(loader.dataset, "classes", self.classes)]
            if self.classes and classes != self.classes:
                raise UserError(f"evaluation.{name} has the classes {classes}; the model knows {self.classes}")
            self.classes = classes
            self.num_classes = self.num_classes or len(classes)  # a model of others need not say
            labels = all_labels(loader)
            require_fitting(labels, f"evaluation.{name}", self.num_classes, self.loss, self.multi_label)
            require_known_classes(labels, loader.dataset, f"evaluation.{name}", self.num_classes)
        return loaders

    @property
    def multi_label(self) -> bool:
        """Whether several classes may be in one image."""
        return is_multi_label(self.forward.model, self.loss)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of each class, from logits (N, classes): they add up to 1, unless several may be in one image."""
        return logits.sigmoid() if self.multi_label else logits.softmax(1)

    def new_metrics(self) -> MetricSet:
        """A fresh set of the config's metrics."""
        return MetricSet(self.experiment.metrics, self.num_classes, self.device)


def _choose(state: Mapping[str, Any] | None, ema: bool | None, path: str | Path) -> tuple[dict[str, Tensor], str, str]:
    """The weights to take from a checkpoint, what is added to the names of sets for them, and which they are."""
    hooks = state["config"].get("hooks", {}) if state else {}
    kept = [(name, f"_{suffix}") for name, suffix in averages(hooks).items()]
    if state is None or not kept:
        if ema:
            raise UserError(f"{path} holds no averaged weights: leave out --ema. A run keeps them by hooks.ema")
        return state["model"] if state else {}, "", ""
    (name, suffix), *_ = kept
    best = next((str(hook["best"]) for hook in hooks.values() if hook.get("best")), "")
    by_average = best.partition("/")[0] in [f"{each}{suffix}" for each in state["config"].get("evaluation", {})]
    if by_average if ema is None else ema:
        why = f", as the run's best is by {best} (--no-ema takes the others)" if ema is None else ""
        return state["hooks"][name]["model"], suffix, f"averaged weights{why}"
    return state["model"], "", f"weights that are not averaged{' (--ema takes those)' if ema is None else ''}"


def _outputs(model: nn.Module) -> int:
    """How many classes a model says it tells apart; 0 if it does not say."""
    said = [getattr(part, "num_classes", 0) for part in (getattr(model, "head", None), model)]
    return next((number for number in said if isinstance(number, int) and number > 0), 0)


def _read(path: Path, overrides: Sequence[str], trust: bool) -> tuple[Config, dict[str, Any] | None]:
    """The config, and the state that a checkpoint holds beside it."""
    if path.suffix in (".py", ".yaml", ".yml"):
        return load_config(path, overrides), None
    if given := next((each for each in overrides if each.partition("=")[0].partition(".")[0] == "weights"), None):
        raise UserError(f"{given}: a checkpoint holds its weights. To measure others, name a config in its place.")
    state = checkpoint.load(path)
    config = config_from_dict(state["config"], overrides, name=state["name"], source=str(path))
    named = [config.data.get("imports"), config.data.get("plugins")]
    if any(named) and not trust:
        told = ", ".join(
            str(each) for names in named if names for each in (names if isinstance(names, list) else [names])
        )
        raise UserError(f"{path} asks to import code of yours: {told}. If that is right, add --trust.")
    return config, state
