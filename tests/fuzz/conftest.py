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
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from knoll.registry import UserError, hints
from knoll.registry.index import registrations
from knoll.registry.system_errors import in_words

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
    """Call something: "taken", or "refused" if that raised an error for the user, or one of the system, which the tools
    put into words. Any other exception goes through."""

    def call(function: Callable[..., Any], *arguments: Any) -> str:
        try:
            function(*arguments)
        except UserError as error:
            message = str(error)
            assert message.strip(), "an error without a message"
            assert "Traceback" not in message
            return "refused"
        except OSError as error:
            return "refused" if in_words(error) else "taken"
        return "taken"

    return call


@pytest.fixture
def index_in_memory(monkeypatch) -> None:
    """Files are searched for an unknown name once, not for each of thousands of names."""
    of_folder = functools.cache(lambda folder: list(registrations(folder)))
    named = lambda folder, name: [each for each in of_folder(folder) if each.name == name]  # noqa: E731
    monkeypatch.setattr(hints, "registrations", named)


PIECES = [
    *(b"\0", b"\xff", b"\xef\xbb\xbf", b'"', b"'", b",", b"\t", b"\n", b"\r", b"\r\n", b"\n\n", b" ", b"|", b";", b"#"),
    *(b"ants", b"bees", b"dogs", b"-1", b"0", b"1", b"99999999999999999999", b"1.5", b"nan", b"inf", b"1e999", b"null"),
    *(b"[", b"]", b"{", b"}", b"[" * 2000, b'{"a":' * 2000, b"9" * 5000, b"\xe2\x80\xa8", b"\xed\xa0\x80", b"label"),
    *(
        b"\xf0\x9f\x90\x9c",
        b"../",
        b"/etc/passwd",
        b"=cmd()",
        b"\x1b[2J",
        b"x" * 200_000,
        b"\x00\x00\x00\x00",
        b"\xff" * 8,
    ),
]


@st.composite
def _spoilt(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """A file with bytes flipped, struck out, put in or written over, or cut off."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.sampled_from([1, 1, 2, 4]))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        if draw(st.booleans()):
            place = min(place, draw(st.integers(0, 300)))
        how = draw(st.integers(0, 5))
        if how == 0 and data:
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif how == 1:
            data[place:place] = draw(st.sampled_from(PIECES))
        elif how == 2:
            piece = draw(st.sampled_from(PIECES))
            data[place : place + len(piece)] = piece
        elif how == 3:
            del data[place : place + draw(st.integers(1, 30))]
        elif how == 4:
            del data[place:]
        else:
            data[place:place] = draw(st.binary(max_size=8))
    return bytes(data)


@pytest.fixture
def spoilt() -> Callable[[list[bytes]], SearchStrategy[bytes]]:
    """Files spoilt in all ways, from whole ones."""
    return _spoilt
