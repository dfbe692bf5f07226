"""A copy of the database for the day the disk fails, made beside a running service.

It holds what the database holds: sealed entries and their times, hashes of tokens, the board. It holds nothing of the
folder that no backup may reach (key halves, the desk), and no attachment: those end on time whatever copies there are.
A copy keeps what it has past its end, so keep it for less than the shortest life that you allow.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from .database import FILE, DataError, sync_folder


def back_up(data: Path, to: Path) -> int:
    """Write a copy to the file `to`, in place of an older one, all or nothing; returns its bytes. Raises DataError."""
    source = data / FILE
    if not source.exists():
        raise DataError(f"There is no service's database in {data}.")
    if to.is_dir() or data.resolve() in to.resolve().parents:
        raise DataError("A backup is a file outside the data directory: name one with --to.")
    unfinished = to.with_name(to.name + ".unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as held,
            closing(sqlite3.connect(unfinished)) as copy,
        ):
            held.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, that needs no other beside it
            (sound,) = copy.execute("PRAGMA quick_check").fetchone()
        if sound != "ok":
            raise DataError(
                "The copy is damaged, and so perhaps is the database; older copies are left as they are."
            )
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(to)
        sync_folder(to.parent)
    except OSError as error:
        raise DataError(f"The backup {to} cannot be written: {error.strerror}.") from None
    except sqlite3.Error:
        raise DataError(f"The database in {data} cannot be copied now: is the disk full?") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return to.stat().st_size
