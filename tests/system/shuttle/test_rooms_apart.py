"""Nothing joins two sides' rooms: not the traffic, not the service's rows, not the intermediary's compartments.

One story is told once, through a wire that records every byte: two sides, an intermediary with a compartment for each,
a gist that is carried, and its answer. Everything is copied before what was carried leaves, and at the end.
"""

import asyncio
import base64
import contextlib
import re
import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pourparler_clients.api import encode_id
from pourparler_clients.channel import Channel
from pourparler_clients.device import Device
from pourparler_clients.examine import found, open_texts, possible_halves, stored_texts, traces, vault_pages
from pourparler_clients.shuttle.crossing import Crossing
from pourparler_clients.shuttle.pace import Pace
from pourparler_clients.shuttle.testing import Side, side
from pourparler_clients.testing import PASSPHRASE, House, Person
from pourparler_policies.limits import BUCKETS, DAY, HANDSHAKE_BURST
from pourparler_policies.shuttle import Answer, Fidelity, Judge, Source, Terms
from pourparler_service.grants import issue
from pourparler_service.testing import running

WORDS = "The elders of the northern village would open the gate at the mill."
GIST = "Somebody of weight could imagine another way in."
REPLY = "Our council has not refused it, and wants to know by when."
PASSED = "They ask about the time."
NORTH, SOUTH = ("ada of the north", "aya of the north"), ("ben of the south", "bea of the south")
DELAY = 8  # seconds at most that what is carried waits


@dataclass
class Wire:
    """Every byte that devices send and get, connection by connection."""

    sent: list[bytearray] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def to(self, url: str) -> AsyncIterator[str]:
        host, _, port = url.rpartition("/")[2].partition(":")
        tasks: set[asyncio.Task[None]] = set()

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                while data := await reader.read(65536):
                    kept += data
                    writer.write(data)
                    await writer.drain()
            writer.close()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            kept = bytearray()
            self.sent.append(kept)
            there, back = await asyncio.open_connection(host, int(port))
            for task in (pump(reader, back, kept), pump(there, writer, kept)):
                tasks.add(asyncio.ensure_future(task))

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in tasks:
                task.cancel()


@dataclass
class Evidence:
    root: Path
    wire: Wire = field(default_factory=Wire)
    channels: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, list[bytes]] = field(default_factory=dict)  # by room: whatever names or marks it
    claimed: int = 0
    item_ends: int = 0
    put_ends: int = 0
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)
    incarnation: bytes = b""


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return asyncio.run(story(tmp_path_factory.mktemp("apart")))


def terms(fidelity: Fidelity, source: Source) -> Terms:
    return Terms(source, fidelity, "", Judge.AUTHOR, 0, int(time.time()) + DAY)


async def story(root: Path) -> Evidence:
    evidence = Evidence(root)
    with running(root / "data", "--newcomer-handshakes", str(HANDSHAKE_BURST)) as server:
        async with evidence.wire.to(server.url) as url:
            house = House(url, lambda: issue(server.data)[0], root / "people")
            try:
                north = await side(house, *NORTH, title="Consultations", bridge="otter by the mill")
                south = await side(house, *SOUTH, title="Soundings", bridge="heron on the lake")
                await carry(evidence, north, south)
            finally:
                await house.close()
        server.stop()
        read_rows(evidence, root / "data")
    return evidence


async def carry(evidence: Evidence, north: Side, south: Side) -> None:
    ada, ben = north.people[0], south.people[0]
    evidence.channels = {"north": ada.channel.id, "south": ben.channel.id}
    item = await ada.channel.shuttle.hand(WORDS, terms(Fidelity.GIST, Source.IDEA))
    await north.sync()
    async with compartments(north, south) as (source, target):
        crossing = Crossing(source, target, Pace(0))
        ready = await crossing.ready(item, GIST)
        evidence.item_ends = source.shuttle.ends(item)
        await crossing.carry(ready, DELAY)
        evidence.claimed = (await source.shuttle.room())[item].moved
        for person in (north.bridge, south.bridge):
            person.copy(evidence.root / "before" / person.name)
        await left(target)
    await south.sync()
    (put,) = (await ben.channel.shuttle.room()).values()
    evidence.put_ends = ben.channel.shuttle.ends(put.id)
    answer = await ben.channel.shuttle.answer(
        put.id, Answer.QUESTION, REPLY, terms(Fidelity.GIST, Source.HYPOTHETICAL)
    )
    await south.sync()
    async with compartments(south, north) as (source, target):
        back = Crossing(source, target, Pace(0))
        await back.carry(await back.ready(answer, PASSED, regards=item, answer=Answer.QUESTION), DELAY)
        await left(target)
    for one in (north, south):
        await one.sync()
        for person in one.everybody:
            person.copy(evidence.root / "after" / person.name)
    evidence.names = {"north": marks(north), "south": marks(south)}
    for one in (north, south):
        await one.bridge.close()


@contextlib.asynccontextmanager
async def compartments(source: Side, target: Side) -> AsyncIterator[tuple[Channel, Channel]]:
    """Both are opened as the command opens them: over connections of their own."""
    opened = []
    for one in (source, target):
        await one.bridge.close()
        opened.append(Device.open(one.bridge.directory, PASSPHRASE))
    try:
        yield opened[0].channels()[0], opened[1].channels()[0]
    finally:
        for one, device in zip((source, target), opened, strict=True):
            await device.aclose()
            one.bridge = Person.open(one.bridge.directory, one.bridge.name)


async def left(target: Channel) -> None:
    """Waits until what was carried has left this compartment."""
    while target.shuttle.parcels.count():
        await asyncio.sleep(0.2)
        await target.sync()


def marks(one: Side) -> list[bytes]:
    """What names a room or anybody in it, as bytes: ids, tokens, keys, names, words."""
    found_marks: list[bytes] = [one.bridge.channel.id, one.bridge.channel.log.charter.title.encode()]
    for person in one.everybody:
        row, card = person.channel.log.row, person.device.card
        found_marks += [
            row.token,
            row.device,
            row.credential,
            card.fingerprint,
            card.public[:32],
            card.name.encode(),
        ]
        found_marks += [person.channel.log.store.hours.secret]
        found_marks += [leaf.signature_key for leaf in person.log.group.members]
    found_marks += [message.id for message in one.bridge.log.store.messages.shown(0)]
    return found_marks


def read_rows(evidence: Evidence, data: Path) -> None:
    with sqlite3.connect(data / "pourparler.sqlite3") as database:
        cursor = database.execute("SELECT * FROM entry")
        evidence.columns = [column[0] for column in cursor.description]
        keys = {channel: key for key, channel in database.execute("SELECT key, channel FROM channel")}
        for name, channel in evidence.channels.items():
            evidence.rows[name] = database.execute(
                "SELECT * FROM entry WHERE channel_key = ?", (keys[channel],)
            ).fetchall()
        (evidence.incarnation,) = database.execute("SELECT incarnation FROM instance").fetchone()


OWN = {"north": "otter by the mill", "south": "heron on the lake"}
OTHER = {"north": "south", "south": "north"}
TEXTS = {"north": (WORDS, PASSED), "south": (GIST, REPLY)}


def opened_texts(evidence: Evidence, place: Path) -> list[bytes]:
    """What opens with the vault's passphrase and all halves that the service still has, as it is and decoded."""
    opened = open_texts(
        stored_texts(place, PASSPHRASE), possible_halves(evidence.root / "data" / "outside-backups")
    )
    decoded = []
    for one in opened:
        with contextlib.suppress(ValueError):
            decoded.append(base64.b64decode(one))
    return [*opened, *decoded]


# The intermediary's compartments


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("room", OWN)
def test_a_searched_compartment_shows_nothing_of_the_other_side(evidence: Evidence, room: str, when: str) -> None:
    """With its passphrase, and with every half of a key that the service still has."""
    place = evidence.root / when / OWN[room]
    seen = [*vault_pages(place, PASSPHRASE), *opened_texts(evidence, place)]
    assert not found(evidence.names[OTHER[room]], seen)
    assert len(found(evidence.names[room], seen)) > 10  # the search finds what is there
    others = {trace for text in TEXTS[OTHER[room]] for trace in traces(text)}
    assert not found(others, seen)
    if when == "after":
        assert all(found(traces(text), seen) for text in TEXTS[room])


@pytest.mark.parametrize("room", OWN)
def test_what_waits_to_leave_lies_under_an_hourly_key_too(evidence: Evidence, room: str) -> None:
    pages = vault_pages(evidence.root / "before" / OWN[room], PASSPHRASE)
    assert not found({trace for text in (WORDS, GIST) for trace in traces(text)}, pages)
    if room == "south":
        assert found(traces(GIST), opened_texts(evidence, evidence.root / "before" / OWN["south"]))


@pytest.mark.parametrize("name", SOUTH)
def test_who_receives_it_has_nothing_of_who_wrote_it(evidence: Evidence, name: str) -> None:
    """Neither whose keys wrote it, nor which of two people it was, nor that somebody did."""
    place = evidence.root / "after" / name
    seen = [*vault_pages(place, PASSPHRASE), *opened_texts(evidence, place)]
    assert found(traces(GIST), seen)
    assert not found(evidence.names["north"], seen)


# What the service has


def test_no_value_stands_in_rows_of_both_rooms_but_sizes_flags_and_small_numbers(evidence: Evidence) -> None:
    for number, column in enumerate(evidence.columns):
        values = [{row[number] for row in evidence.rows[room]} for room in OWN]
        assert all(values)
        if column == "sealed":
            assert {len(value) for side in values for value in side} <= set(BUCKETS)
        # Both rooms were made, and talk, in the same minute: of times see below. A key's end is a full hour's.
        if column not in ("seq", "handshake", "received_at", "expires_at", "key_end"):
            assert not values[0] & values[1], column


def test_what_was_carried_neither_comes_at_the_time_of_its_claim_nor_ends_when_its_original_does(
    evidence: Evidence,
) -> None:
    received, expires = (evidence.columns.index(name) for name in ("received_at", "expires_at"))
    talk = [row for row in evidence.rows["south"] if row[expires] - row[received] <= 7 * DAY]  # not the procedure
    after = [row for row in talk if row[received] >= evidence.claimed]
    put = min(after, key=lambda row: row[received])
    assert put[received] <= evidence.claimed + DELAY + 5
    life = put[expires] - put[received]
    assert life % 3600 == 0  # a round life: its end says nothing of another
    assert evidence.put_ends != evidence.item_ends
    assert evidence.put_ends <= evidence.item_ends  # and yet nobody has it longer than the other side's rule
    assert life == 7 * DAY  # as whatever else is said in that room, though less than that was left of it


# What whoever records the line has


def test_every_connection_belongs_to_one_room(evidence: Evidence) -> None:
    ids = {room: encode_id(channel).encode() for room, channel in evidence.channels.items()}
    rooms = [{room for room, number in ids.items() if number in kept} for kept in evidence.wire.sent]
    assert all(len(one) <= 1 for one in rooms)
    assert sum(bool(one) for one in rooms) >= 6


def test_nothing_random_is_sent_in_both_rooms(evidence: Evidence) -> None:
    """Whatever is as long as an id, in the way in which ids, keys and sealed bytes travel."""
    said: dict[str, set[bytes]] = {"north": set(), "south": set()}
    for room, channel in evidence.channels.items():
        for kept in evidence.wire.sent:
            if encode_id(channel).encode() in kept:
                said[room] |= set(re.findall(rb"[A-Za-z0-9_+/-]{22,}", bytes(kept)))
    assert all(len(one) > 100 for one in said.values())
    shared = said["north"] & said["south"] - {encode_id(evidence.incarnation).encode()}
    # Keys of JSON and paths are the same for everybody; what is random has digits and both cases.
    random = {one for one in shared if re.search(rb"[0-9]", one) and one.lower() != one}
    assert not random
