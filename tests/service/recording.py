"""Records what a service of this version keeps, for the next one's test: `python tests/service/recording.py FORM`.

FORM is the newest number in `migrations/versions`. Run it with the version before a new form of the tables, and keep
what it writes into `tests/service/recorded`: `test_forward.py` starts the present service on all that lies there.
It needs a PostgreSQL.
"""

import base64
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx

from pourparler_crypto.jr2 import Terms
from pourparler_policies import limits, wire
from pourparler_policies.wire import Route
from pourparler_service.desktesting import START, Clock, prepared, publish
from pourparler_service.grants import issue_by
from pourparler_service.postgres.testing import SERVER, databases
from pourparler_service.testing import (
    TestRound,
    b64,
    bearer,
    body,
    found_channel,
    settings_of,
    threaded,
)

RECORDED = Path(__file__).parent / "recorded"
HOUR_END = START + 5 * limits.HOUR


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def live(data: Path) -> dict[str, Any]:
    """A talk of three, a file, an invitation, ideas, a communiqué, a release under way. Returns what all know of it."""
    clock = Clock()
    with (
        threaded(replace(settings_of(data), clock=clock)) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        published = prepared(2)
        publish(client, clock, published)
        now = int(clock.now)
        devices = found_channel(client, data, 3, absence_limit=30 * limits.DAY)
        founder = devices[0]
        secret = b"d" * 32
        founder.send(client, life=10 * limits.DAY, delete_hash=sha256(secret).digest()).raise_for_status()
        founder.send(client, handshake=True).raise_for_status()
        for device in devices:
            device.handshake_head = founder.handshake_head
            device.send(client, life=limits.DAY).raise_for_status()
        file = founder.attach(client, limits.ATTACHMENT_SIZES[0], life=10 * limits.DAY)
        chunk = bytes(range(256)) * (file.size // 256)
        file.put(client, 0, chunk).raise_for_status()
        box, key = b"b" * 16, b"k" * 32
        opened = wire.CreateBox(box=box, token_hash=sha256(key).digest(), life=limits.DAY)
        client.post(founder.path(Route.BOXES), content=body(opened), headers=founder.headers).raise_for_status()
        place = Route.BOX_SLOT.format(box=b64(box), slot=1)
        headers = {**bearer(key), "Content-Type": "application/json"}
        deposit = body(wire.Deposit(sealed=b"s" * limits.BUCKETS[0]))
        client.put(place, content=deposit, headers=headers).raise_for_status()
        ideas = TestRound(now, window=5, places=3, life=limits.DAY)
        ideas.make(client, founder).raise_for_status()
        ideas.send(client, b"i" * limits.IDEA_PACKET).raise_for_status()
        clock.now += 10
        signing = prepared(2, Terms(now + 1000, now + 2000, now + 3000, 600))
        signing.open(client).raise_for_status()
        signing.deposit(client, signing.masks[0])
        (grant,) = issue_by(settings_of(data))
        return {
            "now": int(clock.now),
            "incarnation": client.get(Route.SERVICE).json()["incarnation"],
            "devices": [
                {
                    "channel": text(one.channel),
                    "device": text(one.device),
                    "token": text(one.token),
                    "count": one.count,
                    "handshake_head": one.handshake_head,
                    "page": one.page(client).json(),
                    "first": HOUR_END,
                    "halves": [text(half) for half in one.halves(client, HOUR_END, 3, limits.HOUR)],
                }
                for one in devices
            ],
            "delete": {"secret": text(secret), "seq": 3},
            "file": {"attachment": text(file.attachment), "token": text(file.token), "size": file.size},
            "chunk": sha256(chunk).hexdigest(),
            "box": {"place": place, "key": text(key), "answer": client.get(place, headers=headers).json()},
            "round": {"round": text(ideas.round), "token": text(ideas.token), "packets": 1},
            "board": published.texts[0].digest.hex(),
            "case": {
                "path": signing.path(Route.CASE),
                "deposits": signing.path(Route.CASE_DEPOSIT),
                "messages": [text(one) for one in (signing.masks[1], *signing.shares)],
                "not_before": signing.terms.not_before,
                "digest": signing.texts[0].digest.hex(),
            },
            "grant": text(grant),
        }


def keep(to: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(to, "w:xz") as archive:
        for name, held in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(held), 0o600
            archive.addfile(entry, io.BytesIO(held))


def main(form: str) -> None:
    RECORDED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        told = json.dumps(live(data)).encode()
        files = {str(one.relative_to(data)): one.read_bytes() for one in data.rglob("*") if one.is_file()}
        keep(
            RECORDED / f"{form}-sqlite.tar.xz",
            {"told.json": told, **{f"data/{name}": it for name, it in files.items()}},
        )
    with tempfile.TemporaryDirectory() as folder, databases(Path(folder)) as name:
        files = {"told.json": json.dumps(live(Path(folder))).encode()}
        for database in (name, name + "_apart"):
            dumped = subprocess.run(
                ["pg_dump", "--inserts", "--no-owner", f"{SERVER}/{database}"], check=True, capture_output=True
            )
            lines = dumped.stdout.decode().splitlines(keepends=True)
            kept = "".join(
                line for line in lines if not line.startswith(("SET ", "\\", "SELECT pg_catalog.set_config"))
            )
            files["apart.sql" if database != name else "database.sql"] = kept.encode()
        keep(RECORDED / f"{form}-postgresql.tar.xz", files)


if __name__ == "__main__":
    main(sys.argv[1])
