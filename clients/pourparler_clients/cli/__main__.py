"""`python -m pourparler_clients.cli` is the console script."""

from . import run

run()
