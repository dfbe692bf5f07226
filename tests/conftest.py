"""With POURPARLER_NO_SKIP=1 a skipped test fails the run: a promise that nobody checked is not kept."""

import os

import pytest

LONG = bool(os.environ.get("POURPARLER_LONG"))

_skipped: list[str] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that nothing long is left at the end; `long` runs only when asked for."""
    if not LONG and "long" not in config.option.markexpr:
        chosen = [item for item in items if item.get_closest_marker("long") is None]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
        items[:] = chosen
    items.sort(key=lambda item: (item.get_closest_marker("slow") is None, "demonstration" not in item.nodeid))


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
