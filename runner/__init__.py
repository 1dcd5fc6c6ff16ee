"""Objects in, training out: the loop, one update, evaluation and metrics, checkpoints, the run's folder."""

from .runner import Runner
from .trained import Trained

__all__ = ["Runner", "Trained"]
