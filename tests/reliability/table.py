"""The table of all cases of failure: what each row shows, in Markdown."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Mapping
from importlib.metadata import distributions
from typing import NamedTuple

from .cases import CASES, GROUPS

NOT_MEASURED = "not measured: "
NOT_RUN = NOT_MEASURED + "its tests have not been run"

_HEAD = """# What does not break

Cases in which a training system may lose work, repeat it, or compute something else in silence, and what Knoll did in
each: with real processes, real signals, real bad files. The tests wrote this table; a row tells what its tests counted.

`pytest --row 18` repeats a row alone; with `--write-reliability` it writes that row anew. CI runs all tests with
`--hold-reliability`: it fails if a row says other than they showed.

Last written {}.
"""
_GROUP = "\n## {}\n\n| # | what happens | what must hold | what the tests showed | again |\n|---|---|---|---|---|\n"
_ROW = re.compile(r"\| (\d+) \| .* \|")
_RESULT = re.compile(r"\| \d+ \| .*? \| .*? \| (.*) \| `[^`]*` \|")
# Times, sizes and places of a kill differ from run to run. Of what must not differ the tests themselves take care.
_NUMBER = re.compile(r"\d[\d,.]*")
_SKIPPED = re.compile(r"\*\*\d+ of \d+ tests skipped\*\*")
_NONE_PASSED = NOT_MEASURED + "no test passed"


class Test(NamedTuple):
    """What a test of a row ended as ("passed", "failed", "skipped"), and what it measured, in words."""

    outcome: str
    figures: list[str]


def shown(tests: list[Test]) -> str:
    """What the tests of a row show together."""
    if not tests:
        return NOT_MEASURED + "there is no test"
    ended = {outcome: sum(test.outcome == outcome for test in tests) for outcome in ("failed", "skipped")}
    notes = [f"**{count} of {len(tests)} tests {outcome}**" for outcome, count in ended.items() if count]
    figures = list(dict.fromkeys(figure for test in tests if test.outcome == "passed" for figure in test.figures))
    if not figures:
        figures = [_NONE_PASSED if len(tests) == sum(ended.values()) else NOT_MEASURED + "its tests pass"]
    return "<br>".join(text.replace("|", "\\|").replace("\n", " ") for text in [*notes, *figures])


def line(number: int, result: str) -> str:
    case = CASES[number]
    return f"| {number} | {case.happens} | {case.holds} | {result} | `pytest --row {number}` |"


def read(text: str) -> dict[int, str]:
    """The lines of a table by their numbers."""
    return {int(found[1]): each for each in text.splitlines() if (found := _ROW.fullmatch(each))}


def write(lines: Mapping[int, str]) -> str:
    """The table, of a line for every case."""
    pieces = [_HEAD.format(_circumstances())]
    for number in CASES:
        pieces += [_GROUP.format(name) for name, first in GROUPS.items() if first == number]
        pieces.append(lines[number] + "\n")
    return "".join(pieces)


def differences(claimed: Mapping[int, str], showed: Mapping[int, str]) -> list[str]:
    """What a table says other than a run showed, apart from numbers.

    A machine that cannot do what some tests need, and skips them, shows a part of what another did.
    """
    found = []
    for number, each in showed.items():
        said, was_shown = _figures(claimed.get(number, "")), _figures(each)
        shows_a_part = bool(_SKIPPED.search(each)) and was_shown <= said
        if said != was_shown and not shows_a_part:
            found.append(f"row {number}\n  says   {claimed.get(number, 'nothing')}\n  showed {each}")
    return found


def _figures(line: str) -> set[str]:
    result = _RESULT.fullmatch(line)
    texts = result[1].split("<br>") if result else []
    texts = [text for text in texts if not _SKIPPED.fullmatch(text) and text != _NONE_PASSED]
    return {_NUMBER.sub("_", text) for text in texts}


def _circumstances() -> str:
    installed = {each.metadata["Name"]: each.version for each in distributions()}
    packages = [f"{name} {installed[name]}" for name in ("torch", "torchvision") if name in installed]
    where = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    return ", ".join([time.strftime("%Y-%m-%d"), *packages, where])
