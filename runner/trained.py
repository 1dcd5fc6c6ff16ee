"""A model from a checkpoint, ready to be measured or used: no config file and no training data needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..datasets.combine import name_source
from ..hooks.device_placement import DevicePlacement
from ..registry import LOSSES, MODELS, UserError, config_from_dict, make_experiment, require_valid
from . import checkpoint
from .data import build_evaluation_loaders
from .forward import Forward
from .metrics import MetricSet
from .resume import without_weights


class Trained:
    """What a checkpoint holds for evaluation.

    Args:
        path: the checkpoint.
        overrides: changes to the config it holds, as on the command line.
        sets: names of the evaluation sets to build; all by default.
        device: as DevicePlacement takes it.
        trust: import the modules and plugins that the checkpoint's config names. It is data from a file that may come
            from anywhere; what it names is code.

    Attributes: `forward` (images to logits, in evaluation mode), `experiment`, `loaders`, `loss`, `metrics`, `classes`,
    `sources`, `step`, and `recorded`: the metrics that training measured at that step.

    Raises:
        UserError: not a checkpoint, a mistake in an override, or data that is not there.
    """

    def __init__(
        self,
        path: str | Path,
        overrides: Sequence[str] = (),
        sets: Sequence[str] = (),
        device: str = "auto",
        trust: bool = False,
    ) -> None:
        state = checkpoint.load(path)
        config = config_from_dict(state["config"], overrides, name=state["name"], source=str(path))
        named = [*config.data.get("imports", []), *config.data.get("plugins", [])]
        if named and not trust:
            raise UserError(f"{path} asks to import code of yours: {', '.join(named)}. If that is right, add --trust.")
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
        trained_with = state["config"].get("evaluation", {})

        def source_for(name: str) -> str | None:
            # Other data, asked for by an override, may come from elsewhere.
            same = trained_with.get(name, {}).get("dataset") == chosen[name].dataset
            return self.sources.get(name) if same else None

        self.loaders = build_evaluation_loaders(chosen, self.experiment.seed, source_for)
        for name, loader in self.loaders.items():
            self.sources[name] = name_source(loader.dataset, chosen[name].dataset)
        for name, loader in self.loaders.items():
            classes = [str(each) for each in getattr(loader.dataset, "classes", self.classes)]
            if self.classes and classes != self.classes:
                raise UserError(f"evaluation.{name} has the classes {classes}; the model knows {self.classes}")
        place = DevicePlacement(device).device
        model = MODELS.build(without_weights(self.experiment.model)).to(place)
        model.load_state_dict(state["model"])
        self.loss = LOSSES.build(self.experiment.loss).to(place)
        self.loss.load_state_dict(state["loss"])
        self.forward = Forward(
            model.eval(), self.experiment.precision, self.experiment.compile, self.experiment.channels_last
        )
        self.metrics = MetricSet(self.experiment.metrics, state["num_classes"], place)
