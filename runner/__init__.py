"""Objects in, training out: the loop, one update, evaluation and metrics, checkpoints, the run's folder."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .inference.trained import Trained
    from .runner import Runner

__all__ = ["Runner", "Trained"]


def __getattr__(name: str) -> Any:
    """Both import torch, which the metrics' names in this folder do not need."""
    if name == "Runner":
        from .runner import Runner

        return Runner
    if name == "Trained":
        from .inference.trained import Trained

        return Trained
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
