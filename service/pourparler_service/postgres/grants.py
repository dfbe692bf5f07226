"""A small change of the operator's grants, beside running services."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, inspect

from ..database import DataError
from .engine import FAULTS, engine, told


@contextmanager
def transaction(url: str) -> Iterator[Connection]:
    """Committed when it ends without a fault. Raises DataError."""
    made = engine(url)
    try:
        with made.connect() as connection:
            if not inspect(connection).has_table("grant"):
                raise DataError("There is no service's database yet: start the service once.")
            connection.exec_driver_sql("BEGIN")
            yield connection
            connection.exec_driver_sql("COMMIT")
    except FAULTS as error:
        raise DataError(told(error)) from None
    finally:
        made.dispose()
