"""Synapse, a Matrix homeserver from PyPI, over SQLite: one process, nothing federated.

Chosen because it is a Python service over SQL like ours, and what a group could take today that wants rooms whose
server stores sealed entries. It is not in the project's environment but in one of its own: the folder that
POURPARLER_BENCH_SYNAPSE names, else pourparler/synapse in the user's cache.

It is given its advantages: warnings alone logged, no limits of pace, no presence, push, statistics, user directory or
federation, plain HTTP, a filter that leaves receipts and account data out, and enough room in each answer.

Beside our service it does
- as much: SQLite in WAL mode with synchronous=FULL, Python's default: what was acknowledged is durable; a transaction
  repeated by one device is one event;
- more: an event is parsed, authorised against the room's state, hashed and signed, and stored as JSON in a graph of
  events, with its sender;
- its own way: who listens asks again after every answer (sync), so what comes quickly comes several at a time.
"""

import base64
import contextlib
import json
import os
import secrets
import sqlite3
import tempfile
from pathlib import Path
from typing import Any, Final

import httpx

from ..cells import Cell, Figures, Load
from .absent import Absent
from .serving import measured, port, running, size

PLACE: Final = "POURPARLER_BENCH_SYNAPSE"
DATABASE: Final = "homeserver.db"
FREE: Final = {"per_second": 1e9, "burst_count": 1_000_000_000}
FILTER: Final = {
    "presence": {"types": []},
    "account_data": {"types": []},
    "room": {
        "timeline": {"limit": 1000, "types": ["m.room.message"]},
        "ephemeral": {"types": []},
        "account_data": {"types": []},
    },
}


def measure(cell: Cell, load: Load) -> Figures:
    """Synapse's figures in this cell. Raises Absent where it is not installed."""
    home = _home()
    python = home / "bin" / "python"
    if not list(home.glob("lib/python*/site-packages/synapse/app/homeserver.py")):
        raise Absent(
            f"Synapse is not installed in {home}: install it with `python3 -m venv {home} && "
            f"{home}/bin/pip install matrix-synapse`, or name its folder in {PLACE}."
        )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data, where = folder / "data", port()
        data.mkdir()
        configuration = folder / "homeserver.yaml"
        configuration.write_text(json.dumps(_configuration(folder, data, where)))  # JSON is YAML
        command = [str(python), "-m", "synapse.app.homeserver", "--config-path", str(configuration)]
        with running(command, where, folder) as process:
            groups = _groups(cell, f"http://127.0.0.1:{where}")
            before = _stored(data)
            figures, said = measured(
                cell, load, Path(__file__).with_name("synapse_load.py"), groups, where, process.pid
            )
        figures.stored = (_stored(data) - before) / said
        return figures


def _home() -> Path:
    named = os.environ.get(PLACE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pourparler" / "synapse"


def _stored(data: Path) -> int:
    """Bytes of the database, its write-ahead log emptied into it; nobody talks while this is asked."""
    with contextlib.closing(sqlite3.connect(data / DATABASE, timeout=30)) as connection:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise RuntimeError("Synapse still uses its database")
    return size(data)


def _configuration(folder: Path, data: Path, where: int) -> dict[str, Any]:
    key, logging = folder / "signing.key", folder / "logging.yaml"
    key.write_text(f"ed25519 bench {base64.b64encode(secrets.token_bytes(32)).decode().rstrip('=')}\n")
    logging.write_text(
        json.dumps(
            {
                "version": 1,
                "handlers": {"file": {"class": "logging.FileHandler", "filename": str(folder / "synapse.log")}},
                "root": {"level": "WARNING", "handlers": ["file"]},
                "disable_existing_loggers": False,
            }
        )
    )
    limits = ("rc_message", "rc_registration", "rc_joins_per_room", "rc_room_creation", "rc_profile")
    return {
        "server_name": "localhost",
        "listeners": [
            {
                "port": where,
                "type": "http",
                "tls": False,
                "bind_addresses": ["127.0.0.1"],
                "resources": [{"names": ["client"]}],
            }
        ],
        "database": {"name": "sqlite3", "args": {"database": str(data / DATABASE)}},
        "log_config": str(logging),
        "signing_key_path": str(key),
        "media_store_path": str(folder / "media"),
        "macaroon_secret_key": secrets.token_hex(16),
        "form_secret": secrets.token_hex(16),
        "bcrypt_rounds": 4,  # accounts are made before the load, and nobody logs in
        "enable_registration": True,
        "enable_registration_without_verification": True,
        **dict.fromkeys(limits, FREE),
        "rc_login": dict.fromkeys(("address", "account", "failed_attempts"), FREE),
        "rc_joins": dict.fromkeys(("local", "remote"), FREE),
        "presence": {"enabled": False},
        "push": {"enabled": False},
        "stats": {"enabled": False},
        "user_directory": {"enabled": False},
        "federation_domain_whitelist": [],
        "trusted_key_servers": [],
        "report_stats": False,
    }


def _groups(cell: Cell, url: str) -> list[list[dict[str, Any]]]:
    """Accounts, rooms that all of a group are in, and where each device goes on listening."""
    groups: list[list[dict[str, Any]]] = []
    with httpx.Client(base_url=f"{url}/_matrix/client/v3", timeout=60) as client:

        def call(method: str, path: str, token: str | None = None, **said: Any) -> Any:
            heads = {"Authorization": f"Bearer {token}"} if token else {}
            return client.request(method, path, headers=heads, **said).raise_for_status().json()

        for channel in range(cell.channels):
            group: list[dict[str, Any]] = []
            for device in range(cell.devices):
                account = {"username": f"u{channel}d{device}", "password": secrets.token_hex(16)}
                made = call("POST", "/register", json=account | {"auth": {"type": "m.login.dummy"}})
                user, token = made["user_id"], made["access_token"]
                if group:
                    room = group[0]["room"]
                    call("POST", f"/join/{room}", token, json={})
                else:
                    room = call("POST", "/createRoom", token, json={"preset": "public_chat"})["room_id"]
                seen = call("POST", f"/user/{user}/filter", token, json=FILTER)["filter_id"]
                group.append({"token": token, "room": room, "filter": seen})
            for one in group:
                heard = call("GET", "/sync", one["token"], params={"filter": one["filter"], "timeout": 0})
                one["after"] = heard["next_batch"]
            groups.append(group)
    return groups
