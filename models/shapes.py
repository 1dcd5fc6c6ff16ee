"""The shape of the inputs that a network was made for."""

from __future__ import annotations

from torch import Tensor, nn

from ..registry import ConfigError


def require_shape(network: nn.Module, inputs: Tensor, in_shape: tuple[int, ...]) -> None:
    """Raise a ConfigError if the inputs are not (N, *in_shape)."""
    if inputs.shape[1:] != in_shape:
        expected = ", ".join(["N", *map(str, in_shape)])
        raise ConfigError(
            f"this {type(network).__name__} takes inputs of the shape ({expected}), got {tuple(inputs.shape)}: "
            f"set its in_shape to {list(inputs.shape[1:])}, or convert the inputs"
        )
