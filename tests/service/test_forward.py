"""What a service of an earlier version kept goes on under this one: recorded from the real one (`recording.py`)."""

import base64
import json
import subprocess
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from pourparler_policies import limits, wire
from pourparler_policies.wire import CaseAnswer, Route
from pourparler_service.database import MIGRATIONS
from pourparler_service.desktesting import Clock
from pourparler_service.postgres.testing import SERVER, databases
from pourparler_service.testing import (
    TestAttachment,
    TestDevice,
    TestRound,
    bearer,
    body,
    problem,
    settings_of,
    threaded,
)

RECORDED = Path(__file__).parent / "recorded"
FORMS = sorted({one.name.partition("-")[0] for one in RECORDED.glob("*.tar.xz")})


def test_the_version_before_the_newest_form_was_recorded_on_both_engines() -> None:
    forms = sorted(one.name[:4] for one in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    assert FORMS[-1] == forms[-2]
    for engine in ("sqlite", "postgresql"):
        assert (RECORDED / f"{FORMS[-1]}-{engine}.tar.xz").exists()


def data_of(text: str) -> bytes:
    return base64.b64decode(text)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
@pytest.mark.parametrize("form", FORMS)
def test_it_goes_on_with_nothing_lost(
    form: str, engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with tarfile.open(RECORDED / f"{form}-{engine}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    told = json.loads((tmp_path / "told.json").read_text())
    if engine == "sqlite":
        goes_on(tmp_path / "data", told)
        return
    request.getfixturevalue("postgres")
    with databases(tmp_path / "place") as name:
        for database, dump in ((name, "database.sql"), (name + "_apart", "apart.sql")):
            subprocess.run(
                ["psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", tmp_path / dump, f"{SERVER}/{database}"],
                check=True, capture_output=True, timeout=60,
            )  # fmt: skip
        goes_on(tmp_path / "place", told)


def goes_on(data: Path, told: dict[str, Any]) -> None:
    clock = Clock(told["now"])
    with threaded(settings_of(data, clock=clock)) as url, httpx.Client(base_url=url, timeout=30) as client:
        assert client.get(Route.SERVICE).json()["incarnation"] == told["incarnation"]  # it is no restored copy
        devices = []
        for one in told["devices"]:
            names = ("channel", "device", "token")
            device = TestDevice(*(data_of(one[name]) for name in names), one["count"], one["handshake_head"])
            assert device.page(client).json() == one["page"]
            halves = device.halves(client, one["first"], 3, limits.HOUR)
            assert halves == [data_of(half) for half in one["halves"]]
            devices.append(device)
        assert len(devices[0].page(client).json()["entries"]) == 7
        for device in devices:
            device.send(client, life=limits.DAY).raise_for_status()
        deleted(client, devices[0], told)
        kept_beside(client, told)
        released(client, clock, told)
        fresh = TestDevice(b"n" * 16)
        headers = {**fresh.headers, **bearer(data_of(told["grant"]))}
        assert client.post(Route.CHANNELS, content=fresh.create(), headers=headers).status_code == 201
        again = client.post(Route.CHANNELS, content=TestDevice(b"m" * 16).create(), headers=headers)
        assert problem(again) == "grant-used"
        clock.now += 400 * limits.DAY
        assert problem(devices[0].page(client)) == "unauthorized"


def deleted(client: httpx.Client, author: TestDevice, told: dict[str, Any]) -> None:
    seq = told["delete"]["seq"]
    (entry,) = [one for one in author.page(client).json()["entries"] if one["seq"] == seq]
    asked = body(wire.Deletion(secret=data_of(told["delete"]["secret"])))
    place = author.path(Route.DELETION, entry=base64.urlsafe_b64decode(entry["entry"]))
    assert client.post(place, content=asked, headers=author.headers).status_code == 204
    assert seq not in [one["seq"] for one in author.page(client).json()["entries"]]


def kept_beside(client: httpx.Client, told: dict[str, Any]) -> None:
    """A file, an invitation, ideas."""
    held = told["file"]
    file = TestAttachment(held["size"], data_of(held["attachment"]), data_of(held["token"]))
    assert file.missing(client) == []
    assert sha256(file.get(client, 0).content).hexdigest() == told["chunk"]
    box = told["box"]
    assert client.get(box["place"], headers=bearer(data_of(box["key"]))).json() == box["answer"]
    ideas = TestRound(0, round=data_of(told["round"]["round"]), token=data_of(told["round"]["token"]))
    assert ideas.packets(client) == [b"i" * limits.IDEA_PACKET]


def released(client: httpx.Client, clock: Clock, told: dict[str, Any]) -> None:
    """A communiqué stands on the board, and the release that was under way is completed."""
    case = told["case"]

    def listed() -> set[str]:
        board = wire.Board.model_validate_json(client.get(Route.BOARD_LIST).content)
        return {one.digest.hex() for one in board.posted}

    assert listed() == {told["board"]}
    for message in case["messages"]:
        content = body(wire.CaseMessage(message=data_of(message)))
        headers = {"Content-Type": "application/json"}
        client.post(case["deposits"], content=content, headers=headers).raise_for_status()
    clock.now = case["not_before"]
    answer = wire.Case.model_validate_json(client.get(case["path"]).content)
    assert answer.answer is CaseAnswer.PUBLISHED
    assert listed() == {told["board"], case["digest"]}
