"""Optimizers around another one, which makes the steps: SAM and Lookahead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import torch
from torch import _foreach_abs, _foreach_add_, _foreach_mul  # pyright: ignore[reportPrivateImportUsage]
from torch.nn.utils import get_total_norm

from ..registry import OPTIMIZERS
from ..registry.fit import AtLeast, AtMost

_SMALL = 1e-12  # a gradient of zero has no direction, and gives no step upwards


def innermost(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimizer that makes the steps and has the state: of SAM and of timm's Lookahead the one inside."""
    while hasattr(optimizer, "_base_optimizer"):
        optimizer = optimizer._base_optimizer  # pyright: ignore[reportAttributeAccessIssue]
    return optimizer


@OPTIMIZERS.register_module()
class SAM(torch.optim.Optimizer):
    """Sharpness-aware minimisation (Foret et al. 2021, algorithm 1): the gradient of each step is taken not at the
    weights w, but at w + e, where the loss is about the highest within a distance of rho:

        e = rho * g / |g|                         g is the gradient at w
        e = rho * |w|^2 * g / | |w| * g |         adaptive (Kwon et al. 2021, equation 6): no matter how w is scaled

    So each step costs two forward and backward passes, and a copy of the weights. The passes see the same images and
    the same dropout. Loss, logits and BatchNorm's running averages are those of the first, at w. Clipping, loss scaling
    and the check for numbers that are not finite go by the second gradient, for it is the one that moves the weights.

    Rates, groups and state are the base optimizer's, and so is weight decay: it takes no part in e.

    Two deviations. The paper lets each accelerator find an e from its own part of the batch (section 4.1,
    "m-sharpness"); here all images of a step find one e, so that the weights depend neither on accumulation nor on the
    number of processes. And Kwon et al. add 0.01 to |w|.

    Args:
        base_optimizer: from OPTIMIZERS; it steps with the gradient at w + e.
        rho: how far e reaches. The paper takes 0.05 for most; adaptive wants about ten times as much.
        adaptive: in proportion to the weights.
    """

    def __init__(
        self,
        params: Iterable,
        base_optimizer: dict,
        rho: Annotated[float, AtLeast(0)] = 0.05,
        adaptive: bool = False,
    ) -> None:
        # As timm's Lookahead calls it.
        self._base_optimizer: torch.optim.Optimizer = OPTIMIZERS.build(base_optimizer, default_args=dict(params=params))
        super().__init__(self._base_optimizer.param_groups, self._base_optimizer.defaults)
        self.rho = rho
        self.adaptive = adaptive
        self._share()

    def _share(self) -> None:
        self.param_groups, self.state = self._base_optimizer.param_groups, self._base_optimizer.state

    @contextmanager
    def ascended(self) -> Iterator[None]:
        """Inside, the weights are w + e, by the gradients that there are; afterwards they are w again, to the bit.

        Gradients may be scaled by any number, as fp16's are: the length of g cancels out.
        """
        weights = [each for group in self.param_groups for each in group["params"] if each.grad is not None]
        before = [weight.detach().clone() for weight in weights]
        with torch.no_grad():
            directions: Any = [weight.grad for weight in weights]
            if self.adaptive:
                sizes = _foreach_abs(weights)
                directions = _foreach_mul(directions, sizes)
            length = get_total_norm(directions) + _SMALL
            if self.adaptive:
                directions = _foreach_mul(directions, sizes)
            _foreach_add_(weights, _foreach_mul(directions, self.rho / length))
        try:
            yield
        finally:
            with torch.no_grad():
                for weight, old in zip(weights, before, strict=True):  # weights in parts know no copy of all at once
                    weight.copy_(old)

    def step(self, closure: Any = None) -> Any:
        return self._base_optimizer.step(closure)

    def state_dict(self) -> dict[str, Any]:
        return self._base_optimizer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._base_optimizer.load_state_dict(state_dict)
        self._share()


@OPTIMIZERS.register_module("Lookahead")
def lookahead(
    params: Iterable,
    base_optimizer: dict,
    alpha: Annotated[float, AtLeast(0), AtMost(1)] = 0.5,
    k: Annotated[int, AtLeast(1)] = 6,
) -> torch.optim.Optimizer:
    """timm's Lookahead (Zhang et al. 2019, algorithm 1): after every k steps of the base optimizer the weights go back
    to slow ones, which have come nearer to them by the share alpha.

    As timm has it: the slow weights begin after the first k steps, where the paper's begin with the run.

    Args:
        base_optimizer: from OPTIMIZERS; its rates, groups and state are this one's.
        alpha: how far the slow weights move.
        k: steps in between.
    """
    from timm.optim import Lookahead  # pyright: ignore[reportPrivateImportUsage]  seconds to import

    return Lookahead(OPTIMIZERS.build(base_optimizer, default_args=dict(params=params)), alpha, k)
