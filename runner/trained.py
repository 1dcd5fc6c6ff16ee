"""A model from a checkpoint, ready to be used or measured: no config file and no training data needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from ..datasets.combine import name_source
from ..datasets.loader import EvaluationLoader
from ..hooks.device_placement import DevicePlacement
from ..registry import LOSSES, MODELS, UserError, config_from_dict, make_experiment, require_valid
from . import checkpoint
from .data import build_evaluation_loaders
from .forward import Forward
from .metrics import MetricSet


class Trained:
    """The model of a checkpoint, and all that is known of it.

    Args:
        path: the checkpoint.
        overrides: changes to the config it holds, as on the command line.
        device: as DevicePlacement takes it.
        trust: import the modules and plugins that the checkpoint's config names. It is data from a file that may come
            from anywhere; what it names is code.

    Attributes: `forward` (images to logits, in evaluation mode), `experiment`, `name`, `classes`, `num_classes`,
    `loss`, `sources`, `step`, `device`, and `recorded`: the metrics that training measured at that step.

    Raises:
        UserError: not a checkpoint, or a mistake in an override.
    """

    def __init__(
        self, path: str | Path, overrides: Sequence[str] = (), device: str = "auto", trust: bool = False
    ) -> None:
        state = checkpoint.load(path)
        config = config_from_dict(state["config"], overrides, name=state["name"], source=str(path))
        named = [*config.data.get("imports", []), *config.data.get("plugins", [])]
        if named and not trust:
            raise UserError(f"{path} asks to import code of yours: {', '.join(named)}. If that is right, add --trust.")
        require_valid(config)
        self.experiment = make_experiment(config.data)
        self.name: str = state["name"]
        self.step: int = state["step"]
        self.classes: list[str] = state["classes"]
        self.num_classes: int = state["num_classes"]
        self.sources: dict[str, str] = state["sources"]
        self.recorded: dict[str, float] = state["metrics"] if state["evaluated_at"] == self.step else {}
        self._trained_with: dict[str, dict] = state["config"].get("evaluation", {})

        self.device = DevicePlacement(device).device
        model = MODELS.build(self.experiment.model).to(self.device)
        model.load_state_dict(state["model"])
        self.loss = LOSSES.build(self.experiment.loss).to(self.device)
        self.loss.load_state_dict(state["loss"])
        self.forward = Forward(
            model.eval(), self.experiment.precision, self.experiment.compile, self.experiment.channels_last
        )

    def evaluation_loaders(self, sets: Sequence[str] = ()) -> dict[str, EvaluationLoader]:
        """The evaluation sets of the config, or those named; from the sources that the run was trained on.

        Raises:
            UserError: no set of that name, data that is not there, or other classes than the model knows.
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

        loaders = build_evaluation_loaders(chosen, self.experiment.seed, source_for)
        for name, loader in loaders.items():
            self.sources[name] = name_source(loader.dataset, chosen[name].dataset)
            classes = [str(each) for each in getattr(loader.dataset, "classes", self.classes)]
            if self.classes and classes != self.classes:
                raise UserError(f"evaluation.{name} has the classes {classes}; the model knows {self.classes}")
        return loaders

    @property
    def multi_label(self) -> bool:
        """Whether several classes may be in one image."""
        return getattr(getattr(self.forward.model, "head", self.forward.model), "multi_label", False)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of each class, from logits (N, classes): they add up to 1, unless several may be in one image."""
        return logits.sigmoid() if self.multi_label else logits.softmax(1)

    def new_metrics(self) -> MetricSet:
        """A fresh set of the config's metrics."""
        return MetricSet(self.experiment.metrics, self.num_classes, self.device)
