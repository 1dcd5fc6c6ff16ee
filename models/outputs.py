"""Outputs: what a model with auxiliary heads returns in training."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Outputs(NamedTuple):
    """The logits (N, num_classes) of a model, and those of its auxiliary heads, which only train it.

    The loss of a batch is that of `logits`, and `auxiliary_weight` times that of each in `auxiliary`.
    """

    logits: Tensor
    auxiliary: tuple[Tensor, ...] = ()
    auxiliary_weight: float = 0.0
