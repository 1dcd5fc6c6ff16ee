"""Tests of the cases of failure: `--row 18` runs those of one, `--write-reliability` writes what they showed."""

from __future__ import annotations

import pytest

from . import table
from .cases import CASES

TABLE = "docs/reliability.md"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("reliability", "the table of the cases of failure")
    group.addoption("--row", type=int, action="append", metavar="N", help="only the tests of this case of failure")
    # No FILE: pytest looks for conftest.py, and so for these options, where an argument that is a path leads.
    group.addoption("--write-reliability", action="store_true", help=f"write what the cases showed into {TABLE}")
    group.addoption("--hold-reliability", action="store_true", help=f"fail if {TABLE} says other than they showed")


def pytest_configure(config: pytest.Config) -> None:
    for number in config.getoption("row") or []:
        if number not in CASES:
            raise pytest.UsageError(f"--row {number}: there are the cases {min(CASES)} to {max(CASES)}")
    config.pluginmanager.register(Rows(config), "reliability-rows")


class Rows:
    """What the tests of each row end as.

    Attributes: `tests`, the tests of each row by their ids, of all that were collected; `ended`, those that were run.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.path = config.rootpath / TABLE
        self.tests: dict[int, list[str]] = {number: [] for number in CASES}
        self.ended: dict[str, table.Test] = {}
        self.collected_all = False
        self.lines: list[str] = []

    @pytest.hookimpl(tryfirst=True)  # before -k and -m take tests away
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        chosen, others = [], []
        for item in items:
            numbers = [number for mark in item.iter_markers("row") for number in mark.args]
            for number in sorted(set(numbers)):
                if number not in CASES:
                    raise pytest.UsageError(f"{item.nodeid}: there is no case of failure with the number {number}")
                self.tests[number].append(item.nodeid)
            wanted = config.getoption("row")
            (chosen if not wanted or set(wanted) & set(numbers) else others).append(item)
        if others:
            items[:] = chosen
            config.hook.pytest_deselected(items=others)

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self, session: pytest.Session):
        result = yield
        config = session.config
        everything = {(config.rootpath / path).resolve() for path in config.getini("testpaths")}
        asked = {(config.invocation_params.dir / path).resolve() for path in config.args}
        self.collected_all = asked == everything and not session.testsfailed
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        figures = [str(text) for name, text in report.user_properties if name == "figure"]
        if report.when == "call" or report.outcome != "passed":  # setup and teardown count where they go wrong
            self.ended[report.nodeid] = table.Test(report.outcome, figures)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        lines = {number: table.line(number, text) for number, text in self._shown().items()}
        if self.config.getoption("write_reliability"):
            before = {number: self._claimed().get(number) or table.line(number, table.NOT_RUN) for number in CASES}
            self.path.parent.mkdir(exist_ok=True)
            self.path.write_text(table.write(before | lines), encoding="utf-8")
            self.lines.append(f"{TABLE}: wrote {len(lines)} of {len(CASES)} rows")
        if self.config.getoption("hold_reliability"):
            wrong = table.differences(self._claimed(), lines)
            self.lines.append(f"{TABLE}: {len(wrong)} of {len(lines)} rows that were run say other than they showed")
            self.lines += wrong
            if wrong and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.lines:
            terminalreporter.section("reliability")
            terminalreporter.write("\n".join(self.lines) + "\n")

    def _shown(self) -> dict[int, str]:
        """What the rows showed of which every test was run: of a part, what the others would say is not known."""
        if not self.collected_all or self.config.option.collectonly:
            return {}
        whole = {number: ids for number, ids in self.tests.items() if self.ended.keys() >= set(ids)}
        return {number: table.shown([self.ended[each] for each in ids]) for number, ids in whole.items()}

    def _claimed(self) -> dict[int, str]:
        return table.read(self.path.read_text(encoding="utf-8")) if self.path.is_file() else {}
