"""How often an update computes its gradients: once, or twice for an optimizer that asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

from torch import nn

from ...datasets.loading.randomness import random_state, set_random_state
from ...models.checkpointing import buffers_kept

T = TypeVar("T")


def passes(optimizer: Any) -> int:
    """How many forward and backward passes a step takes."""
    return 2 if hasattr(optimizer, "ascended") else 1


def in_two_passes(gradients: Callable[[], T], optimizer: Any, modules: Sequence[nn.Module]) -> T:
    """Compute gradients, and once more at the weights inside of `ascended` of the optimizer, as SAM has it.

    The second pass draws the same random numbers, and leaves no trace in the modules' buffers. A module that has a
    generator of its own draws others: it is not known here.

    Args:
        gradients: computes them anew each time that it is called.

    Returns:
        what the first call did.
    """
    before = random_state()
    result = gradients()
    after = random_state()
    with optimizer.ascended(), ExitStack() as kept:
        for module in modules:
            kept.enter_context(buffers_kept(module))
        set_random_state(before)
        gradients()
    set_random_state(after)
    return result
