"""Files that people are given: whole or not at all, and never in place of another by oversight."""

import os
from pathlib import Path

from ..errors import UserError


def check_new(path: Path) -> None:
    """Nothing is overwritten; said before anything is asked or done. Raises UserError."""
    if os.path.lexists(path):
        raise UserError(f"{path} exists already: choose another file with --out")


def create(path: Path, text: str | bytes) -> None:
    """A new file that only its owner may read, whole or not at all. Raises OSError, FileExistsError among them."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode() if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def replace(path: Path, text: str) -> None:
    """Another content for a file, whole or not at all; who may read it stays as it was. Raises OSError."""
    path = path.resolve()
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    create(aside, text)
    try:
        if path.exists():
            aside.chmod(path.stat().st_mode & 0o777)
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
