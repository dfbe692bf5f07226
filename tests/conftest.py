"""With POURPARLER_NO_SKIP=1 a skipped test fails the run: a promise that nobody checked is not kept."""

import os

import pytest

_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _skipped.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if os.environ.get("POURPARLER_NO_SKIP") and _skipped and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if os.environ.get("POURPARLER_NO_SKIP") and _skipped:
        terminalreporter.section("skipped, which is not allowed here")
        for nodeid in _skipped:
            terminalreporter.line(nodeid)
