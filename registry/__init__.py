"""A config in, objects out: the registries, config files, and the check that finds every mistake before a run."""

from .build import build_from_cfg
from .check import MetricName, Problem, check, require_valid
from .config import Config, config_from_dict, load_config, tells_places
from .discover import import_siblings
from .duration import Duration, to_steps
from .errors import BuildError, ConfigError, DuplicateNameError, UnavailableError, UnknownNameError, UserError
from .experiment import EvaluationData, Experiment, ParamGroup, ParamGroups, TrainData, Weights, make_experiment
from .registries import (
    BACKBONES,
    DATASETS,
    HEADS,
    HOOKS,
    LOSSES,
    METRICS,
    MODELS,
    OPTIMIZERS,
    SAMPLERS,
    SCHEDULERS,
    TRANSFORMS,
)
from .registry import Registry
from .sources import ModuleClasses, Source

__all__ = [
    "BACKBONES",
    "DATASETS",
    "HEADS",
    "HOOKS",
    "LOSSES",
    "METRICS",
    "MODELS",
    "OPTIMIZERS",
    "SAMPLERS",
    "SCHEDULERS",
    "TRANSFORMS",
    "BuildError",
    "Config",
    "ConfigError",
    "Duration",
    "DuplicateNameError",
    "EvaluationData",
    "Experiment",
    "MetricName",
    "ModuleClasses",
    "ParamGroup",
    "ParamGroups",
    "Problem",
    "Registry",
    "Source",
    "TrainData",
    "UnavailableError",
    "UnknownNameError",
    "UserError",
    "Weights",
    "build_from_cfg",
    "check",
    "config_from_dict",
    "import_siblings",
    "load_config",
    "make_experiment",
    "require_valid",
    "tells_places",
    "to_steps",
]
