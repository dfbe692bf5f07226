"""How one service process is told to run. Nothing else reads options or the environment."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pourparler_crypto.note import KeyBook

from .caps import Caps

SOFTWARE = "pourparler-service/1"


@dataclass(frozen=True, slots=True)
class Settings:
    """`data` is a directory for this process alone; `clock` gives Unix seconds."""

    data: Path
    caps: Caps = field(default_factory=Caps)
    restored: bool = False  # the operator says that the data come from a backup
    clock: Callable[[], float] = time.time
    press_keys: KeyBook | None = None  # the board takes what these have signed; None: what anybody has
    heartbeat: float = 15.0  # seconds between comments on a silent stream: below what proxies and NATs allow
