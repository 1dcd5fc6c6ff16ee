"""Strings with a meaning of their own: durations, patterns of a model's parts, names of metrics."""

from __future__ import annotations

import copy
import re
from fnmatch import fnmatchcase
from fractions import Fraction

import pytest
from hypothesis import strategies as st

from knoll.models.freezing import Freezing
from knoll.optim.param_groups import rules
from knoll.registry import MODELS, ParamGroup, ParamGroups, config_from_dict, require_valid, to_steps

ANY = st.text(st.characters(exclude_categories=()), max_size=12)
DURATIONS = st.one_of(
    ANY,
    st.from_regex(r"\s?-?[0-9]{1,6}(\.[0-9]{0,3})?\s?(ep|epochs?|img|images?|%|steps?|x|)\n?", fullmatch=True),
    st.builds(
        "{}{}".format, st.sampled_from(["9" * 400, "1e9", "inf", "nan", "٣", "²", "0x1", "1_0", ".5", "1.", "0"]), ANY
    ),
    st.integers(),
)


@pytest.mark.row(40)
def test_any_duration_is_so_many_steps_or_refused(fuzz, attempt, figure, tiny):
    def outcome(duration) -> str:
        def steps() -> None:
            require_valid(config_from_dict(tiny | dict(duration=duration)))
            found = to_steps(duration, steps_per_epoch=4, batch_size=12)
            assert isinstance(found, int)
            assert found == by_hand(duration)

        return attempt(steps)

    seen = fuzz(2000, DURATIONS, outcome)
    figure(
        f"{seen.total():,} strings as a duration: {seen['refused']:,} refused, {seen['taken']:,} as reckoned by hand"
    )
    assert seen["taken"] > 100
    assert seen["refused"] > 500


def by_hand(duration) -> int:
    """In fractions, with 4 steps an epoch and 12 images a step."""
    if isinstance(duration, int):
        return duration
    amount, unit = re.fullmatch(r"([0-9.]+) ?\s*(\w+|%)", duration).groups()
    steps = Fraction(amount) * {"e": 4, "i": Fraction(1, 12), "s": 1}[unit[0]]
    return -(-steps.numerator // steps.denominator) if unit[0] == "i" else round(steps)


PIECES = [
    "*",
    "?",
    "[",
    "]",
    "[!",
    "[a-",
    "backbone",
    "head",
    ".",
    "conv1",
    "fc",
    "weight",
    "bias",
    "0",
    "\n",
    "\\",
    "^",
]
WHOLE = ["backbone", "head", "head.fc", "*.bias", "backbone.*", "*", "backbone.?*", "[bh]*", "*.weight"]
PATTERNS = st.one_of(ANY, st.lists(st.sampled_from(PIECES), max_size=6).map("".join), *[st.sampled_from(WHOLE)] * 2)


def test_any_pattern_covers_what_a_shell_would_or_is_refused(fuzz, attempt, figure, tiny):
    model = MODELS.build(tiny["model"])
    names = [name for name, _ in model.named_parameters()]

    def outcome(patterns: list[str]) -> str:
        expected = {name for name in names if any(covers(each, name) for each in patterns)}

        def freeze() -> None:
            frozen = Freezing(copy.deepcopy(model), patterns, lambda _: 10)
            assert len(frozen.pattern_of) == len(expected)

        def group() -> None:
            ruled = rules(model, ParamGroups(patterns={each: ParamGroup(lr_scale=0.5) for each in patterns}))
            scaled = {name for name, parameter in model.named_parameters() if ruled[parameter].lr_scale == 0.5}
            assert scaled == expected

        return f"{attempt(freeze)}, {attempt(group)}"

    def covers(pattern: str, name: str) -> bool:
        parts = name.split(".")
        return any(fnmatchcase(".".join(parts[: end + 1]), pattern) for end in range(len(parts)))

    seen = fuzz(1500, st.lists(PATTERNS, min_size=1, max_size=2), outcome)
    figure(f"{seen.total():,} lists of patterns of parts: {seen['refused, refused']:,} refused, 0 tracebacks")
    assert seen["taken, taken"] > 20
    assert seen["refused, refused"] > 200


@pytest.mark.row(39)
def test_a_name_of_a_metric_that_is_not_measured_is_refused(fuzz, attempt, figure, tiny):
    measured = {"val/loss", "val/top1", "val/top2"}
    near = st.lists(st.sampled_from(["val", "/", "top1", "top2", "loss", "train", " ", "VAL", "top"]), max_size=4)

    def outcome(name: str) -> str:
        config = copy.deepcopy(tiny)
        config["hooks"]["checkpoint"]["best"] = name
        taken = attempt(lambda: require_valid(config_from_dict(config)))
        assert (taken == "taken") == (name in measured), name
        return taken

    seen = fuzz(1000, ANY | near.map("".join) | st.sampled_from(sorted(measured)), outcome)
    figure(f"{seen.total():,} names of a metric: the {seen['refused']:,} that are none of the run refused before it")
    assert seen["taken"] > 0
