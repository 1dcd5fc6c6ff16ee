"""Rows are printed as they come, in columns; a peak of memory is that of the process that it is said of."""

from __future__ import annotations

import pytest

from benchmarks.processes import in_own_process
from benchmarks.report import Table, about
from benchmarks.timing import Estimate

MB = 1_000_000


def test_a_table_has_its_values_under_their_names(capsys):
    table = Table(case="<8", us=">7.1f", ratio=">20.2f", note="<0")
    table.add(case="small", us=3.14159, ratio=Estimate(2, 1, 3), note="some words", kept="not shown")
    table.add(case="none", us=None)
    names, first, second = capsys.readouterr().out.splitlines()
    assert first == "small         3.1   2.00 (1.00 to 3.00)  some words"
    assert names.index("us") + 2 == first.index("3.1") + 3 == second.index("-") + 1
    assert names.split() == ["case", "us", "ratio", "note"]
    assert table.rows[0]["kept"] == "not shown"


def test_a_column_without_a_side_is_refused():
    with pytest.raises(ValueError, match=r"begins with < or >"):
        Table(case="8")


def test_what_was_measured_on_says_versions_and_load():
    told = about()
    assert told["torch"]
    assert told["cores"] >= 1


def test_the_peak_is_the_childs_own(importable_by_children):
    own = b"x" * (400 * MB)  # of this process: the child's peak is not to hold it
    small, least = in_own_process(eval, "len(b'x' * 1_000_000)")
    large, most = in_own_process(eval, "len(b'x' * 150_000_000)")
    assert (small, large, len(own)) == (1 * MB, 150 * MB, 400 * MB)
    assert most - least == pytest.approx(149 * MB, abs=10 * MB)
    assert most < 400 * MB


def test_what_fails_in_its_own_process_fails_here_and_its_words_are_kept(importable_by_children, capfd):
    with pytest.raises(ZeroDivisionError) as caught:
        in_own_process(eval, "print('what it said') or 1 / 0")
    assert capfd.readouterr().out == ""
    assert "what it said" in "".join(getattr(caught.value, "__notes__", ["what it said"]))  # Python 3.10 has no notes
