"""Configs with anything in them: through the check, and to YAML and back."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from knoll.registry import config_from_dict, load_config, require_valid

ROOT = Path(__file__).parents[2]
REAL = [load_config(file).data for file in sorted((ROOT / "configs").glob("*.py"))]

# What a person, a script or a library may leave in a config.
INTEGERS = [0, 1, 2, 3, 5, 28, -1, -100, 2**31, 2**63, -(2**63), 2**64, 2**64 - 1, 10**30, 10**4000]
FLOATS = [0.0, -0.0, 0.5, -1.5, 1e308, 5e-324, float("nan"), float("inf"), float("-inf")]
WORDS = [
    *("", " ", "\0", "a\nb", "\ud800", "é\u2028", "$", "$size", "~", "..", "/", "a/b", "*", "[", "{", "%s", "{0}"),
    *("ResNet", "resnet", "LinearHead", "Accuracy", "timm/", "timm/resnet18", "/x", "torchmetrics/Metric", "os.system"),
    *("1ep", "0ep", "10%", "100%", "5img", "1e999ep", "val/top1", "train", "cpu", "cuda:99", "meta", "float32", "mean"),
    *("backbone", "head", "*.bias", "arrays.npz", "max", "type", "None", "true", "9" * 5000, "x" * 10_000),
]
PLAIN = st.one_of(
    st.none(), st.booleans(), st.sampled_from(INTEGERS), st.sampled_from(FLOATS), st.sampled_from(WORDS), st.text()
)


def odd() -> list[Any]:
    """What is no plain data, or goes on without end."""
    in_itself: list[Any] = []
    in_itself.append(in_itself)
    return [
        *(b"x", b"\xff", {1, 2}, frozenset(), (), (1, "a"), 1j, print, int, len, object(), lambda: 1, date.today()),
        *(Path("x"), np.zeros(2), np.float32(2), np.int64(3), np.str_("a"), torch.zeros(2), torch.float32, range(3)),
        *({1: 2}, {None: 1}, {"a": {b"c": 1}}, {("a",): 1}, iter([1]), ..., type, in_itself, {"a": in_itself}),
    ]


VALUES = st.recursive(
    PLAIN | st.builds(lambda number: odd()[number], st.integers(0, len(odd()) - 1)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.one_of(st.sampled_from(["type", "_base_", "_delete_", "vars", "imports", "plugins", *WORDS]), st.text())


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    yield path
    if isinstance(value, (dict, list)) and len(path) < 8:  # one that was moved into itself never ends
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))


@st.composite
def mutants(draw: st.DrawFn, originals: list[dict], values: st.SearchStrategy = VALUES) -> dict:
    """A config in which a few things were replaced, taken out, put in, renamed, or moved elsewhere."""
    data = copy.deepcopy(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 3))):
        everywhere = [path for path in places(data) if path][:500]
        if not everywhere:
            break
        path = draw(st.sampled_from(everywhere))
        holder = data
        for key in path[:-1]:
            holder = holder[key]
        how = draw(st.sampled_from(["replace", "replace", "delete", "insert", "rename", "move"]))
        if how == "delete":
            del holder[path[-1]]
        elif how == "replace" or isinstance(holder, list):
            holder[path[-1]] = draw(values)
        elif how == "insert":
            holder[draw(KEYS)] = draw(values)
        elif how == "rename":
            holder[draw(KEYS)] = holder.pop(path[-1])
        else:
            source: Any = data
            for key in draw(st.sampled_from(everywhere)):
                source = source[key]
            holder[path[-1]] = source
    return data


pytestmark = pytest.mark.usefixtures("index_in_memory")


def checked(data: dict):
    config = config_from_dict(data)
    require_valid(config)
    return config


@pytest.mark.row(40)
def test_any_config_is_valid_or_refused_by_name(fuzz, attempt, figure, tiny):
    seen = fuzz(2000, mutants([tiny, *REAL]), lambda data: attempt(checked, data))
    figure(f"{seen.total():,} configs with anything in them: {seen['refused']:,} refused by a message, 0 tracebacks")
    assert seen["refused"] > 1000
    assert seen["taken"] > 50


def test_a_valid_config_is_the_same_after_yaml(fuzz, attempt, figure, tiny):
    def through_yaml(data):
        config = checked(data)
        Path("resolved.yaml").write_text(config.to_yaml(), encoding="utf-8")
        assert repr(load_config("resolved.yaml").data) == repr(config.data)

    seen = fuzz(1000, mutants([tiny], PLAIN), lambda data: attempt(through_yaml, data))
    figure(f"{seen['taken']:,} valid configs written as YAML and read again: all the same")
    assert seen["taken"] > 50
