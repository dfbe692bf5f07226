"""Alembic's entry: runs the versions on the connection that the service opened, inside its transaction."""

from alembic import context
from sqlmodel import SQLModel

from pourparler_service import tables  # noqa: F401 - registers the tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    transactional_ddl=False,
    render_as_batch=True,
)
context.run_migrations()
