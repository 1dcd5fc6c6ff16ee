"""Activation checkpointing: less memory for more computation (Chen et al.: Training Deep Nets with Sublinear Memory
Cost, 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Checkpointed(nn.Sequential):
    """A Sequential of which each member keeps only its input for the backward pass, and is computed again there.

    The results are the same to the bit: the second computation draws the same random numbers, and leaves the buffers
    alone, so that a batch normalisation counts each batch once in its running statistics. With torch 2.6 that does not
    hold under torch.compile: there, take one of the two.
    """

    def forward(self, input: Tensor) -> Tensor:
        x = input
        for member in self:
            x = _checkpoint(member, x)
        return x


def _checkpoint(module: nn.Module, x: Tensor) -> Tensor:
    if torch.compiler.is_compiling():
        # The compiler takes no such contexts, and needs none: it computes again what has no side effects.
        return checkpoint(module, x, use_reentrant=False)

    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), buffers_kept(module)

    return checkpoint(module, x, use_reentrant=False, context_fn=contexts)


@contextmanager
def buffers_kept(module: nn.Module) -> Iterator[None]:
    """What is written into the module's buffers meanwhile is undone."""
    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:  # checkpoint leaves by an exception as soon as it has what it needs
        for buffer, value in before:
            buffer.copy_(value)
