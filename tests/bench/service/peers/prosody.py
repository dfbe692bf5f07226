"""Prosody, an XMPP server from Debian: rooms (XEP-0045) with an archive (XEP-0313).

Chosen as what a careful group could run today on a small machine of its own. It is given every advantage: only the
modules that rooms and logging in need, no TLS, no stream management, warnings alone logged, no limits of pace, Nagle's
algorithm off, passwords kept plain. Accounts are made as its own storage keeps them. Two choices weigh. Lua collects by
generations: Prosody's default (incremental, for little memory) costs nearly twice the CPU. And it stores in its own
files: over SQLite it commits each entry by itself, durably, and was five times slower.

Beside our service it does
- less: the archive (its default storage, one file a room) is appended to without fsync, so what was reflected may
  be lost when the machine stops; an entry repeated is a second entry; no order against what its author had seen;
- more: it parses XML, knows who is in the room, gives each entry an id in the archive, and writes its author's name.

Debian starts a server of its own when it is installed; nothing here needs it: `systemctl disable --now prosody`.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

from ..cells import Cell, Figures, Load
from .absent import Absent
from .serving import measured, port, running, size

DOMAIN: Final = "localhost"
ROOMS: Final = "rooms.localhost"
PASSWORD: Final = "benchmark"  # of accounts that live as long as this run, on loopback

CONFIGURATION: Final = """
run_as_root = true  -- where the benchmark does; its data lies in a folder of the benchmark's user
daemonize = false
data_path = "{data}"
log = {{ warn = "{log}" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
gc = {{ mode = "generational" }}
network_backend = "epoll"
network_settings = {{ nagle = false }}
modules_enabled = {{ "saslauth" }}
modules_disabled = {{ "s2s"; "offline" }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
storage = "internal"
storage_archive_item_limit = 1000000000
VirtualHost "{domain}"
Component "{rooms}" "muc"
	modules_enabled = {{ "muc_mam" }}
	muc_log_all_rooms = true
	muc_room_locking = false
	muc_room_default_persistent = true
"""


def measure(cell: Cell, load: Load) -> Figures:
    """Prosody's figures in this cell. Raises Absent where it is not installed."""
    found = shutil.which("prosody", path="/usr/bin:/usr/local/bin:/usr/sbin:/opt/homebrew/bin")
    if found is None:
        raise Absent("Prosody is not installed: install it with `apt-get install prosody`.")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data, where, configuration = folder / "data", port(), folder / "prosody.cfg.lua"
        groups = _groups(cell)
        accounts = data / DOMAIN / "accounts"
        accounts.mkdir(parents=True)
        for group in groups:
            for one in group:
                (accounts / f"{one['user']}.dat").write_text(f'return {{ ["password"] = "{PASSWORD}" }};\n')
        configuration.write_text(
            CONFIGURATION.format(data=data, log=folder / "prosody.log", port=where, domain=DOMAIN, rooms=ROOMS)
        )
        before = size(data)
        with running([found, "-F", "--config", str(configuration)], where, folder) as process:
            figures, said = measured(
                cell, load, Path(__file__).with_name("prosody_load.py"), groups, where, process.pid
            )
        figures.stored = (size(data) - before) / said
        return figures


def _groups(cell: Cell) -> list[list[dict[str, Any]]]:
    return [
        [
            {
                "user": f"u{channel}d{device}",
                "password": PASSWORD,
                "domain": DOMAIN,
                "room": f"g{channel}@{ROOMS}",
            }
            for device in range(cell.devices)
        ]
        for channel in range(cell.channels)
    ]
