"""Gradients that are kept small: by their norm, value by value, or in proportion to the weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...models.weights.match import last_layers
from ...registry import Experiment


class Clipping:
    """Makes gradients smaller before the optimizer's step; one of the three, or none.

    Args:
        norm: the largest norm of all gradients together; longer ones are scaled down to it.
        value: the largest absolute value of a gradient.
        agc: the largest norm of a unit's gradient as a share of the norm of its weights, adaptive gradient clipping
            (Brock et al. 2021, equation 3), by timm; norms below 1e-3 count as that. The paper takes 0.01.
        model: with `agc`, its last layers are left as they are (section 4.1).
    """

    def __init__(
        self,
        norm: float | None = None,
        value: float | None = None,
        agc: float | None = None,
        model: nn.Module | None = None,
    ) -> None:
        self.norm = norm
        self.value = value
        self.agc = agc
        self._left_out: set[Tensor] = set()
        if agc is not None:
            from timm.utils.agc import adaptive_clip_grad  # seconds to import: here, and not in the first step

            self._adaptive = adaptive_clip_grad
            if model is not None:
                last = [model.get_submodule(name) for name in last_layers(model)]
                self._left_out = {each for layer in last for each in layer.parameters()}

    @property
    def is_on(self) -> bool:
        return any(each is not None for each in (self.norm, self.value, self.agc))

    @classmethod
    def of(cls, experiment: Experiment, model: nn.Module) -> Clipping:
        """As the keys of a config say."""
        return cls(experiment.clip_norm, experiment.clip_value, experiment.clip_agc, model)

    def __call__(self, parameters: Sequence[Tensor], total_norm: Tensor | None = None) -> None:
        """Clip what gradients the parameters have.

        Args:
            total_norm: that of all of them, where it is known already.
        """
        if self.norm is not None:
            if total_norm is None:
                total_norm = torch.nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])
            torch.nn.utils.clip_grads_with_norm_(parameters, self.norm, total_norm)
        elif self.value is not None:
            torch.nn.utils.clip_grad_value_(parameters, self.value)
        elif self.agc is not None:
            self._adaptive([each for each in parameters if each not in self._left_out], self.agc)
