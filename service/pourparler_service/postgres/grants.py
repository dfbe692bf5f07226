"""A small change of the operator's grants, beside running services."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, inspect

from ..database import DataError
from .engine import FAULTS, Links, engine, told


@contextmanager
def transaction(url: str) -> Iterator[Connection]:
    """Committed when it ends without a fault. Raises DataError."""
    try:
        with Links(engine(url)).beside() as connection:
            if not inspect(connection).has_table("grant"):
                raise DataError("There is no service's database yet: start the service once.")
            yield connection
    except FAULTS as error:
        raise DataError(told(error)) from None
