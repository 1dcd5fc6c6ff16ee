"""A small model, and how loading into it is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from knoll.models.weights import load_weights
from knoll.registry import UserError


class Small(nn.Sequential):
    def __init__(self, classes: int = 5) -> None:
        super().__init__(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, classes))


@pytest.fixture
def small() -> type[Small]:
    return Small


@pytest.fixture
def refusal() -> Callable[..., str]:
    """The message that a source is refused with; the model must not have changed."""

    def load(model: nn.Module, source: Any) -> str:
        before = {key: value.clone() for key, value in model.state_dict().items()}
        with pytest.raises(UserError) as caught:
            load_weights(model, source)
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
        assert len(str(caught.value).splitlines()) < 10
        return str(caught.value)

    return load


@pytest.fixture
def equal() -> Callable[[nn.Module, nn.Module], bool]:
    def states_are_equal(first: nn.Module, second: nn.Module) -> bool:
        other = second.state_dict()
        return all(torch.equal(value, other[key]) for key, value in first.state_dict().items())

    return states_are_equal
