"""A readable copy of somebody's file in a person's folder: whole or not at all, and never in place of another.

The copy has no name until it is whole, where the file system can do that (Linux: O_TMPFILE); elsewhere it has its name
from the beginning, and is removed again when something goes wrong, but not when the power does.
"""

import errno
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from pourparler_policies.filenames import fit

from .errors import UserError

_MODE: Final = 0o600  # for its owner alone
_NAMES: Final = 99  # copies of one name in a folder before a person is asked to look at it
_WITHOUT: Final = (
    errno.EOPNOTSUPP,
    errno.EISDIR,
    errno.ENOENT,
    errno.EINVAL,
    errno.EPERM,
)  # it cannot be done here

Pieces = Callable[[], Iterable[bytes]]


def check_folder(folder: Path, vault: Path) -> None:
    """Raises UserError unless readable files may be written there."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    if folder.resolve().is_relative_to(vault.resolve()):
        raise UserError("a readable file does not belong into the vault's folder: choose another")


def place(folder: Path, name: str, pieces: Pieces) -> Path:
    """Writes the pieces to a new file of this name, or with a number behind it; returns where. Raises OSError."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        written = _nameless(directory, name, pieces)
        if not written:
            written = _named(directory, name, pieces)
        os.fsync(directory)
        return folder / written
    finally:
        os.close(directory)


def _names(name: str) -> Iterable[str]:
    yield name
    for number in range(2, _NAMES + 1):
        yield fit(name, f" ({number})")
    raise UserError(f"there are {_NAMES} files of this name in that folder: choose another")


def _nameless(directory: int, name: str, pieces: Pieces) -> str:
    """Empty when that cannot be done here."""
    if not hasattr(os, "O_TMPFILE"):
        return ""
    file = -1
    try:
        file = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, _MODE, dir_fd=directory)
        _write(file, pieces)
        for chosen in _names(name):
            with suppress(FileExistsError):
                os.link(f"/proc/self/fd/{file}", chosen, dst_dir_fd=directory, follow_symlinks=True)
                return chosen
    except OSError as error:
        if error.errno not in _WITHOUT:
            raise
    finally:
        if file >= 0:
            os.close(file)
    return ""


def _named(directory: int, name: str, pieces: Pieces) -> str:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    for chosen in _names(name):
        try:
            file = os.open(chosen, flags, _MODE, dir_fd=directory)
        except FileExistsError:
            continue
        try:
            _write(file, pieces)
        except BaseException:
            os.unlink(chosen, dir_fd=directory)
            raise
        finally:
            os.close(file)
        return chosen
    return ""


def _write(file: int, pieces: Pieces) -> None:
    for piece in pieces():
        done = 0
        while done < len(piece):
            done += os.write(file, piece[done:])
    os.fsync(file)
