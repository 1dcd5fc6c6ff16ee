"""A model from a checkpoint, ready to be measured or used: no config file and no training data needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..hooks.device_placement import DevicePlacement
from ..registry import LOSSES, MODELS, UserError, config_from_dict, make_experiment, require_valid
from . import checkpoint
from .data import build_evaluation_loaders
from .forward import Forward
from .metrics import MetricSet


class Trained:
    """What a checkpoint holds for evaluation.

    Args:
        path: the checkpoint.
        overrides: changes to the config it holds, as on the command line.
        sets: names of the evaluation sets to build; all by default.
        device: as DevicePlacement takes it.

    Attributes: `forward` (images to logits, in evaluation mode), `experiment`, `loaders`, `loss`, `metrics`, `classes`,
    `sources`, `step`, and `recorded`: the metrics that training measured at that step.

    Raises:
        UserError: not a checkpoint, a mistake in an override, or data that is not there.
    """

    def __init__(
        self, path: str | Path, overrides: Sequence[str] = (), sets: Sequence[str] = (), device: str = "auto"
    ) -> None:
        state = checkpoint.load(path)
        config = config_from_dict(state["config"], overrides, name=state["name"], source=str(path))
        require_valid(config)
        self.experiment = make_experiment(config.data)
        unknown = [name for name in sets if name not in self.experiment.evaluation]
        if unknown:
            known = ", ".join(self.experiment.evaluation) or "none"
            raise UserError(f"the config has no evaluation set `{unknown[0]}`; it has {known}")
        self.step: int = state["step"]
        self.classes: list[str] = state["classes"]
        self.sources: dict[str, str] = state["sources"]
        self.recorded: dict[str, float] = state["metrics"] if state["evaluated_at"] == self.step else {}

        chosen = {name: each for name, each in self.experiment.evaluation.items() if not sets or name in sets}
        self.loaders = build_evaluation_loaders(chosen, self.experiment.seed, self.sources.get)
        for name, loader in self.loaders.items():
            classes = [str(each) for each in getattr(loader.dataset, "classes", self.classes)]
            if self.classes and classes != self.classes:
                raise UserError(f"evaluation.{name} has the classes {classes}; the model knows {self.classes}")
        place = DevicePlacement(device).device
        model = MODELS.build(self.experiment.model).to(place)
        model.load_state_dict(state["model"])
        self.loss = LOSSES.build(self.experiment.loss).to(place)
        self.forward = Forward(
            model.eval(), self.experiment.precision, self.experiment.compile, self.experiment.channels_last
        )
        self.metrics = MetricSet(self.experiment.metrics, len(self.classes), place)
