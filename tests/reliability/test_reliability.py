"""The table of the cases of failure says what the tests showed, and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from . import table

TESTS = Path(__file__).parents[1]

SUITE = """
import pytest

@pytest.fixture
def figure(record_property):
    return lambda text: record_property("figure", text)

@pytest.mark.row(1)
def test_kills(figure):
    figure("50 of 50 kills | in 3.21 s")

@pytest.mark.row(2)
@pytest.mark.parametrize("workers", [0, 2])
def test_workers(figure, workers):
    figure(f"{workers} workers")

@pytest.mark.row(3)
def test_fails(figure):
    figure("said before it failed")
    assert 0

@pytest.mark.row(3)
def test_does_not_fail(figure):
    figure("said by another")

@pytest.mark.row(4)
def test_skips():
    pytest.skip("not here")

@pytest.mark.row(5)
def test_says_nothing():
    pass

@pytest.mark.row(6)
@pytest.mark.row(7)
def test_of_two_rows(figure):
    figure("both")

@pytest.fixture
def broken():
    yield
    raise OSError

@pytest.mark.row(8)
def test_fails_at_its_end(figure, broken):
    figure("said before its end")

def test_of_no_row():
    pass
"""
SHOWN = {
    1: r"50 of 50 kills \| in 3.21 s",
    2: "0 workers<br>2 workers",
    3: "**1 of 2 tests failed**<br>said by another",
    4: "**1 of 1 tests skipped**<br>not measured: no test passed",
    5: "not measured: its tests pass",
    6: "both",
    7: "both",
    8: "**1 of 1 tests failed**<br>not measured: no test passed",
    9: "not measured: there is no test",
}


@pytest.fixture
def suite(tmp_path) -> Path:
    """A file of tests in a project of its own."""
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = --import-mode=importlib\ntestpaths = tests\nmarkers = row(number)"
    )
    (tmp_path / "tests").mkdir()
    file = tmp_path / "tests" / "test_suite.py"
    file.write_text(SUITE)
    return file


def run(*options: str) -> subprocess.CompletedProcess[str]:
    own = {"PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-p", "reliability.plugin", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, env=os.environ | own, capture_output=True, text=True, timeout=60)


def results(table: Path) -> dict[int, str]:
    """The rows' results, read as Markdown is: cells end at a bar that is not escaped."""
    rows = [re.split(r"(?<!\\)\|", line) for line in table.read_text().splitlines() if re.match(r"\| \d", line)]
    assert all(row[5].strip() == f"`pytest --row {int(row[1])}`" for row in rows)
    return {int(row[1]): row[4].strip() for row in rows}


def test_what_each_row_showed_is_written_and_held_to(suite):
    table = Path("docs/reliability.md")
    assert run("--write-reliability").returncode == 1  # for two tests fail
    written = results(table)
    assert sorted(written) == list(range(1, 46))
    assert {number: written[number] for number in SHOWN} == SHOWN

    # Times vary; that a test has gone, or counts something else, does not.
    suite.write_text(SUITE.replace("3.21 s", "0.04 s").replace("assert 0", "").replace("raise OSError", ""))
    assert run("--write-reliability").returncode == 0
    before = table.read_bytes()
    assert run("--hold-reliability").returncode == 0
    suite.write_text(suite.read_text().replace("mark.row(1)", "mark.row(2)").replace('"both"', '"49 of 50"'))
    held = run("--hold-reliability")
    assert held.returncode == 1
    assert "4 of 45 rows" in held.stdout
    assert re.findall(r"^row (\d+)$", held.stdout, re.MULTILINE) == ["1", "2", "6", "7"]
    assert re.search(r"says .*50 of 50 kills.*\n.*showed .*not measured: there is no test", held.stdout)
    assert table.read_bytes() == before
    table.unlink()
    assert run("--hold-reliability").returncode == 1


def test_a_row_alone(suite):
    table = Path("docs/reliability.md")
    run("--write-reliability")
    suite.write_text(SUITE.replace("50 of 50", "all of 50").replace('"both"', '"neither"'))
    done = run("--row", "1", "--row", "6", "--hold-reliability")
    assert "2 passed, 8 deselected" in done.stdout
    assert re.findall(r"^row (\d+)$", done.stdout, re.MULTILINE) == ["1", "6", "7"]
    assert run("--row", "1", "--write-reliability").returncode == 0
    assert results(table) | SHOWN == results(table) | {1: SHOWN[1]}
    assert results(table)[1] == SHOWN[1].replace("50 of 50", "all of 50")


PARTS = [["tests/test_suite.py"], ["-k", "workers0"], ["--deselect=tests/test_suite.py::test_workers[2]"], ["--co"]]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_the_tests_says_nothing_of_rows_that_it_does_not_run_whole(suite, part):
    table = Path("docs/reliability.md")
    run("--write-reliability")
    before = results(table)
    suite.write_text(SUITE.replace("{workers} workers", "{workers} processes"))
    run("--write-reliability", *part)
    assert results(table)[2] == before[2]


def test_numbers_that_there_are_not(suite):
    assert "cases 1 to 45" in run("--row", "46").stderr
    suite.write_text(SUITE.replace("row(5)", "row(50)"))
    assert "no case of failure with the number 50" in run().stderr


def test_numbers_may_vary_and_a_machine_may_skip_but_words_must_be_the_same():
    def line(*tests: table.Test) -> str:
        return table.line(1, table.shown(list(tests)))

    kills, disk = table.Test("passed", ["50 of 50 kills"]), table.Test("passed", ["full disk: untouched"])
    skipped, failed = table.Test("skipped", []), table.Test("failed", [])
    said = {1: line(kills, disk)}
    for same in (said[1], line(table.Test("passed", ["48 of 48 kills"]), disk), line(kills, skipped), line(skipped)):
        assert table.differences(said, {1: same}) == []
    for other in (line(kills), line(kills, failed), line(), line(table.Test("passed", ["50 of 50 cuts"]), disk)):
        assert len(table.differences(said, {1: other})) == 1
    assert len(table.differences({1: line(kills, skipped)}, said)) == 1
    assert len(table.differences({}, said)) == 1
