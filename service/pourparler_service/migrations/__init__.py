"""How the tables came to their form: Alembic runs the versions in order."""
