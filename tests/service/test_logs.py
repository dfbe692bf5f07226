"""A line a record, and nobody in it."""

import logging
from contextlib import closing
from pathlib import Path

import pytest

from pourparler_service.logs import Terse
from pourparler_service.postgres.engine import Shared, driver
from pourparler_service.postgres.testing import SERVER, administer, databases


def told(name: str, message: str, *values: object, exc_info: object = None) -> str:
    record = logging.LogRecord(name, logging.ERROR, __file__, 1, message, values, exc_info)  # type: ignore[arg-type]
    return Terse().format(record)


def test_of_a_librarys_message_neither_values_nor_exceptions_are_told() -> None:
    error = ValueError("Key (entry)=(secret) already exists")
    fault = (type(error), error, None)
    assert told("psycopg", "the connection of %s\nbroke", "secret", exc_info=fault) == (
        "ERROR psycopg: the connection of %s (ValueError)"
    )
    assert told("pourparler.service", "purging failed: %s", "OSError") == "ERROR purging failed: OSError"
    assert told("asyncio", "") == "ERROR asyncio: "


def test_a_connection_that_breaks_beside_another_writes_nothing_to_the_log(
    postgres: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with databases(tmp_path) as name, closing(Shared(f"{SERVER}/{name}", restored=False)) as shared:
        shared.began()
        with pytest.raises(Exception, match="terminating connection"), shared.links.beside() as connection:
            others = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            administer(others)
            driver(connection).execute("SELECT 1")
    assert not caplog.records
