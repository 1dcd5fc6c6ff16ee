"""Fuzzing: many odd inputs of one kind. Each is taken, or refused by a message of our own; nothing else may come out.

The suite runs the same cases every time; `KNOLL_FUZZ=20 pytest tests/fuzz` twenty times as many, and others each time.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from knoll.registry import UserError, hints
from knoll.registry.index import registrations

TIMES = int(os.environ.get("KNOLL_FUZZ", "1"))


@pytest.fixture
def fuzz() -> Callable[..., Counter[str]]:
    """Try so many cases; counts what `outcome` says of each, and fails, with the shortest case, where it raises."""

    def run(cases: int, strategy: SearchStrategy, outcome: Callable[[Any], str]) -> Counter[str]:
        seen: Counter[str] = Counter()

        @settings(
            max_examples=cases * TIMES,
            derandomize=TIMES == 1,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        )
        @given(strategy)
        def holds(case: Any) -> None:
            seen[outcome(case)] += 1

        holds()
        return seen

    return run


@pytest.fixture
def attempt() -> Callable[..., str]:
    """Call something: "taken", or "refused" if that raised an error for the user. Any other exception goes through."""

    def call(function: Callable[..., Any], *arguments: Any) -> str:
        try:
            function(*arguments)
        except UserError as error:
            message = str(error)
            assert message.strip(), "an error without a message"
            assert "Traceback" not in message
            return "refused"
        return "taken"

    return call


@pytest.fixture
def index_in_memory(monkeypatch) -> None:
    """Files are searched for an unknown name once, not for each of thousands of names."""
    monkeypatch.setattr(hints, "registrations", functools.cache(lambda folder: list(registrations(folder))))
