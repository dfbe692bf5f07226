"""How one service process is told to run. Nothing else reads options, the environment or the configuration file.

Each setting can be given by option (`--database-url`), by environment (`POURPARLER_DATABASE_URL`) or in the file that
`--config` names (TOML: `database-url = "postgresql://…"`); the first of these wins. An address with a password belongs
into the file or the environment: options can be seen by everybody on the machine. The operator's caps are in `caps`.
"""

import argparse
import os
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final, Optional, Self

from .caps import Caps

if TYPE_CHECKING:
    from pourparler_crypto.note import KeyBook

SOFTWARE = "pourparler-service/1"
PREFIX: Final = "POURPARLER_"
# Seconds. A clock that is ahead of the others would destroy for all processes what still lives.
MOST_SKEW: Final = 30.0

# name, what stands for its value in help, what it is and why
OPTIONS: Final = (
    ("data", "DIR", "directory in which one process keeps everything, with SQLite; not with --database-url"),
    (
        "database-url",
        "URL",
        "PostgreSQL for several processes on several hosts (postgresql://user@host/name): what is stored and backed up",
    ),
    (
        "outside-backups-url",
        "URL",
        "another PostgreSQL database, on a server without backups, archive or replicas: key halves, storage keys, "
        "the desk and tallies, which must end on time",
    ),
    (
        "bus-url",
        "URL",
        "NATS (nats://host:4222) to wake the other processes; without it PostgreSQL does, and each looks once a second",
    ),
    (
        "press-keys",
        "FILE",
        "a key book: the board takes only what these keys have signed (default: what any keys have)",
    ),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """`data` is a directory for this process alone; `clock` gives Unix seconds.

    With `database_url` the service runs over PostgreSQL, and needs `outside_url` and no directory.
    """

    data: Path | None = None
    caps: Caps = field(default_factory=Caps)
    restored: bool = False  # the operator says that the data come from a backup
    clock: Callable[[], float] = time.time
    press_keys: Optional["KeyBook"] = None  # the board takes what these have signed; None: what anybody has
    database_url: str | None = None  # PostgreSQL, which several processes may share
    outside_url: str | None = (
        None  # another one, for what must be in no backup: key halves, storage keys, the desk
    )
    bus_url: str | None = None  # NATS, for wake-ups between processes; None: PostgreSQL's own
    skew: float | None = None  # seconds that the clocks of this host and of a database may differ; None: any
    heartbeat: float = 15.0  # seconds between comments on a silent stream: below what proxies and NATs allow

    @classmethod
    def from_options(cls, args: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Self:
        """Read options, environment and file. Raises ValueError with one clear sentence."""
        told = {**_file(getattr(args, "config", None)), **environment}
        found = {name: _value(args, told, name) for name, _, _ in OPTIONS}
        data, database, outside = found["data"], found["database-url"], found["outside-backups-url"]
        if database and data:
            raise ValueError("Say either --data, for one process, or --database-url, for several, not both")
        if not database and not data:
            raise ValueError("Say where things are kept: --data DIR, or --database-url URL")
        if bool(database) != bool(outside):
            raise ValueError(
                "--database-url and --outside-backups-url go together: two databases, one without backups"
            )
        if found["bus-url"] and not database:
            raise ValueError("--bus-url is for several processes, so it goes with --database-url")
        return cls(
            data=Path(data) if data else None,
            caps=Caps.from_options(args, told),
            restored=bool(getattr(args, "restored", False)),
            press_keys=_press_keys(found["press-keys"]),
            database_url=database,
            outside_url=outside,
            bus_url=found["bus-url"],
            skew=MOST_SKEW if database else None,
        )


def add_options(parser: argparse.ArgumentParser, *only: str) -> None:
    """Give `parser` these options, or all of them, and `--config`."""
    for name, metavar, told in OPTIONS:
        if not only or name in only:
            parser.add_argument("--" + name, metavar=metavar, help=told)
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings by their names here, as TOML")


def _value(args: argparse.Namespace, told: Mapping[str, str], name: str) -> str | None:
    given = getattr(args, name.replace("-", "_"), None)
    return str(given) if given is not None else told.get(PREFIX + name.replace("-", "_").upper()) or None


def setting_names() -> set[str]:
    """Everything that can be set, as options are called."""
    return {name for name, _, _ in OPTIONS} | {item.name.replace("_", "-") for item in fields(Caps)}


def _file(path: Path | None) -> dict[str, str]:
    """A configuration file's settings under their names in the environment."""
    if path is None:
        return {}
    try:
        told = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"The configuration {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"The configuration {path} is no TOML: {error}") from None
    known = setting_names()
    for name, value in told.items():
        if name not in known:
            raise ValueError(f"The configuration {path} has a setting that does not exist: {name}")
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise ValueError(f"The setting {name} in {path} is neither a text nor a whole number")  # noqa: TRY004
    return {PREFIX + name.replace("-", "_").upper(): str(value) for name, value in told.items()}


def _press_keys(file: str | None) -> Optional["KeyBook"]:
    from pourparler_crypto.note import KeyBook, Refused  # noqa: PLC0415 - most commands need none

    if file is None:
        return None
    try:
        return KeyBook.parse(Path(file).read_bytes())
    except OSError as error:
        raise ValueError(f"The press keys in {file} cannot be read: {error.strerror}") from None
    except Refused as error:
        raise ValueError(f"The press keys in {file} are no key book: {str(error).rstrip('.')}") from None
