"""The seized device, whole: one channel in which every kind of text is made that a vault or the service can hold, each
with a phrase of its own, and every key that lies anywhere is tried on every ciphertext that lies anywhere.

Time is the test's: the service's clock and everybody's go on together, past every end. Beside this story,
`test_seized_device.py` tells the one of real seconds, of copies that go online, and of a restored service.
"""

import asyncio
import base64
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pourparler_clients.errors import Unreachable
from pourparler_clients.examine import (
    attachments_in,
    examining,
    files_below,
    found,
    open_attachments,
    open_entries,
    traces,
    vault_pages,
)
from pourparler_clients.examine_keys import loot, open_all
from pourparler_clients.files_testing import files
from pourparler_clients.hours import PACKET
from pourparler_clients.ideas_testing import Circle
from pourparler_clients.ideatexts import MARKED
from pourparler_clients.invitations import Joining, load
from pourparler_clients.papers import compose
from pourparler_clients.shuttle.crossing import Crossing
from pourparler_clients.shuttle.pace import Pace
from pourparler_clients.shuttle.parcels import Note
from pourparler_clients.shuttle.testing import Side, side
from pourparler_clients.signing_testing import Hours
from pourparler_clients.spool import PART_FILES
from pourparler_clients.testing import PASSPHRASE, House, Person, breaks
from pourparler_crypto.idea import KEY_LENGTH
from pourparler_crypto.invitation import open_step
from pourparler_crypto.note import PressKey
from pourparler_crypto.releasekey import ReleaseKey
from pourparler_policies.charter.rules import Role
from pourparler_policies.fold import subject_digest
from pourparler_policies.fold.events import Approved
from pourparler_policies.fold.facts import Admit
from pourparler_policies.limits import DAY, HALF_BYTES, HANDSHAKE_BURST
from pourparler_policies.shuttle import Fidelity, Judge, Source, Terms
from pourparler_service.caps import Caps
from pourparler_service.database import FILE, OUTSIDE_BACKUPS
from pourparler_service.examine import kept_entries, open_kept
from pourparler_service.grants import issue
from pourparler_service.halves import FOLDER, INDEX, SLOTS
from pourparler_service.settings import Settings
from pourparler_service.testing import threaded

pytestmark = [pytest.mark.slow, pytest.mark.long]

# Each kind of text that somebody writes, and the phrase by which it is known.
PHRASES = {
    "said": "A said sentence about the northern bridge.",
    "draft": "A draft about the northern ferry, never sent.",
    "under way": "A sealed sentence about the northern road.",
    "handed over": "A message handed over about the eastern mill.",
    "put": "A thought of the intermediary about the eastern weir.",
    "parcel": "The gist of a message, about the eastern dam.",
    "private note": "A private note about the western tower.",
    "paper": "The two sides will repair the southern gate together.",
    "remark": "A remark about the southern gate and its hinges.",
    "completed": "A completed communique about the southern wall.",
    "shown idea": "An idea that was opened, about the upper meadow.",
    "waiting idea": "An idea that waits, about the lower meadow.",
    "ballot": "The group of the meadow by the old lime kiln.",
    "marked": "The group of the meadow by the new lime kiln.",
    "file name": "a plan of the orchard wall.txt",
}
IN_FILE = "The orchard wall is lowest behind the third pear tree."
TITLE = "Consultations about the salt road"  # in what an invitation's box holds: agreed, and no text that ends
EXPIRED = 9 * DAY  # seconds: past every life of a text here
OVER = 90 * DAY  # past the life of a leaf's old key


@dataclass
class Timely(House):
    """A house whose people live by the clock of their service."""

    hours: Hours = field(default_factory=Hours)

    async def person(self, name: str, cut: int | None = None) -> Person:
        made = await super().person(name, cut)
        made.clock.offset = self.hours.offset
        return made


@dataclass
class Told:
    """The story's images, and what else a thief could have."""

    root: Path
    round: bytes = b""
    seeds: list[bytes] = field(default_factory=list)
    refused: bytes = b""
    sealed: list[bytes] = field(default_factory=list)

    def vaults(self, *moments: str) -> list[Path]:
        return sorted(path for moment in moments for path in (self.root / moment).glob("vault-*"))

    def service(self, moment: str) -> Path:
        return self.root / moment / "service"

    def take(self, moment: str, house: House, data: Path) -> None:
        for number, person in enumerate(house.people):
            person.copy(self.root / moment / f"vault-{number}-{person.name}")
        shutil.copytree(data, self.service(moment))
        backup = shutil.ignore_patterns(OUTSIDE_BACKUPS)
        shutil.copytree(data, self.root / moment / "backup", ignore=backup)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    root, hours = tmp_path_factory.mktemp("every"), Hours()
    settings = Settings(root / "data", Caps(newcomer_handshakes=HANDSHAKE_BURST), clock=hours)
    with threaded(settings) as url:
        yield asyncio.run(story(Told(root / "images"), url, root, hours))


async def story(told: Told, url: str, root: Path, hours: Hours) -> Told:
    house = Timely(url, lambda: issue(root / "data")[0], root / "people", hours=hours)
    try:
        north = await side(house, "ada", "aya", "abe", title=TITLE, ideas=True)
        circle = Circle(hours, house.people)
        await ideas(told, north, circle)
        south = await side(house, "ben", "bea", title="Soundings", bridge="owl")
        await say(told, house, north, south, root)
        told.take("before", house, root / "data")
        told.sealed = [entry for person in house.people for entry in person.line.sealed]
        for moment, seconds in (("after", EXPIRED), ("over", OVER)):
            circle.until(circle.now() + seconds)
            await purged(root / "data", hours)
            for person in house.people:
                person.device.purge()
            told.take(moment, house, root / "data")
    finally:
        await house.close()
    return told


async def ideas(told: Told, north: Side, circle: Circle) -> None:
    """A round is held and opened; one idea waits for another, and so does a ballot."""
    for person in north.everybody:
        person.channel.ideas.spread, person.channel.ideas.attends = 0, True
    ada = north.people[0]
    await circle.add("ada", PHRASES["shown idea"])
    held = await circle.call("aya")
    told.round = held.id
    await circle.gather()
    circle.until(held.tick)
    await circle.visit()
    for person in north.everybody:
        person.copy(told.root / "during" / f"vault-{person.name}")
    await circle.collect()
    for person in north.everybody:
        person.copy(told.root / "listed" / f"vault-{person.name}")
    await circle.settle()
    (listed,) = await circle.shown("ada")
    assert listed.ideas == (PHRASES["shown idea"],)
    await circle.add("ada", PHRASES["waiting idea"])
    await ada.channel.ideas.mark(held.id, frozenset({1}), {PHRASES["ballot"]: frozenset({1})})
    # What a round of marks would leave, in the way in which it leaves it.
    log = ada.log
    (opened,) = log.rounds.texts.lists()
    end = stored_end(ada)

    def marked() -> None:
        with log.step():
            text = PHRASES["marked"].encode()
            log.rounds.texts.add(MARKED, text, end, opened.expires_at, round_=held.id)

    await ada.channel.step(marked)


def stored_end(person: Person) -> int:
    """Under which end the list that this person has opened lies."""
    row = person.device.vault.row("SELECT end FROM idea_text WHERE kind = 'shown'")
    assert row is not None
    return int(row[0])


async def say(told: Told, house: House, north: Side, south: Side, root: Path) -> None:
    (ada, aya, abe), otter, owl = north.people, north.bridge, south.bridge
    for person in (ada, aya):
        told.seeds.append(person.log.group.signature_seed)
        await person.channel.refresh_keys()
        await north.sync()
    await ada.say(PHRASES["said"])
    name = root / PHRASES["file name"]
    name.write_text(IN_FILE)
    await ada.channel.uploads.attach(name)
    name.unlink()
    await north.sync()
    await aya.channel.downloads.fetch(files(aya)[0].seq)
    await carry(ada, otter, north, south)
    now = ada.clock()
    notes = otter.channel.shuttle.parcels
    await otter.channel.step(lambda: notes.add_note(Note(PHRASES["private note"], b"", 0), now + DAY))
    await paper(ada, aya, north)
    await invite(house, ada, north)
    # A device that has fallen behind; and what two could not send.
    told.refused = os.urandom(16)
    with abe.log.step():
        abe.log.complaints.save(told.refused)
    for person, kind, method in ((abe, "draft", "GET"), (aya, "under way", "POST")):
        breaks(method, "/entries", reached=False, times=9)(person.line)
        with pytest.raises(Unreachable):
            await person.say(PHRASES[kind])
    assert owl.channel.shuttle.parcels.count() == 1


async def carry(ada: Person, otter: Person, north: Side, south: Side) -> None:
    now = ada.clock()
    terms = Terms(Source.PARTY, Fidelity.GIST, "", Judge.AUTHOR, 0, now + 5 * DAY)
    item = await ada.channel.shuttle.hand(PHRASES["handed over"], terms)
    await north.sync()
    await otter.channel.shuttle.put(PHRASES["put"], now + 3 * DAY)
    await north.sync()
    crossing = Crossing(otter.channel, south.bridge.channel, Pace(0))
    await crossing.carry(await crossing.ready(item, PHRASES["parcel"]))


async def paper(ada: Person, aya: Person, north: Side) -> None:
    keys = [(name, PressKey(f"{name}.example", ReleaseKey.generate().public)) for name in ("north", "south")]
    text = compose([("en", PHRASES["paper"])], keys, ada.clock() + DAY)
    held = await ada.channel.releases.table(text, 2 * DAY)
    await north.sync()
    await aya.channel.releases.remark(held, PHRASES["remark"])
    await north.sync()
    digest = ada.log.folded.papers[held].text.digest

    def keep() -> None:
        with ada.log.step():
            ada.log.signing.papers.keep_note(digest, PHRASES["completed"].encode(), ada.clock() + 2 * DAY)

    await ada.channel.step(keep)


async def invite(house: House, ada: Person, north: Side) -> None:
    """An invitation under way: the guest has read the charter and has not decided."""
    guest = await house.person("gus")
    body = ada.log.consent.seats[ada.log.consent.devices[ada.device.card.fingerprint].seat].body
    subject = Admit(body, Role.DELEGATE, guest.device.card.fingerprint)
    await ada.channel.propose(subject)
    for person in north.people[1:]:
        await person.sync()
        digest = subject_digest(person.log.consent.rules, subject)
        if digest in person.log.consent.open:
            await person.channel.do(Approved(digest))
    inviter, invitee = ada.device.inviter(ada.channel), guest.device.invitee()
    box = await invitee.answer(await inviter.invite(guest.device.card))
    await north.sync()
    await inviter.progress()
    assert await invitee.offer(box) is not None


async def purged(data: Path, hours: Hours) -> None:
    """The service has destroyed every half whose end has come, and every entry."""
    kept = ((data / OUTSIDE_BACKUPS / FOLDER / INDEX, "half", "end"), (data / FILE, "entry", "expires_at"))
    for _ in range(300):
        if not any(left(*one, int(hours())) for one in kept):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the service keeps what has ended")


def left(database: Path, table: str, column: str, now: int) -> bool:
    """Whether a database, copied while it may be written, has rows that have ended."""
    with tempfile.TemporaryDirectory() as place:
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copy(database.with_name(database.name + suffix), place)
        with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(Path(place) / database.name)) as copy:
            found = copy.execute(f"SELECT count(*) FROM {table} WHERE {column} <= ?", (now,)).fetchone()
            return bool(found[0])
        return True


def needles(text: str) -> set[bytes]:
    """By which a text is known, in base64 too, wherever it begins there."""
    data = text.encode()
    shifted = [base64.b64encode(b"\0" * shift + data)[8:-8] for shift in range(3)]
    urlsafe = [one.replace(b"+", b"-").replace(b"/", b"_") for one in shifted]
    return {*traces(text), *(one[:24] for one in (*shifted, *urlsafe))}


def kinds(opened: Iterable[bytes]) -> set[str]:
    """Which phrases are in what was opened."""
    opened = list(opened)
    return {kind for kind, text in PHRASES.items() if found(needles(text), opened)}


def halves_of(service: Path, *places: Path) -> set[bytes]:
    """Halves in a copy of the service for the ends of every text in these vaults, whosesoever they are."""
    ends = {text.end for text in loot(places, PASSPHRASE).texts}
    folder = service / OUTSIDE_BACKUPS / FOLDER
    with tempfile.TemporaryDirectory() as place:
        copy = shutil.copytree(folder, Path(place) / FOLDER)
        with closing(sqlite3.connect(copy / INDEX)) as index:
            slots = [slot for end, slot in index.execute("SELECT end, slot FROM half") if end in ends]
    data = (folder / SLOTS).read_bytes()
    return {data[(slot + 1) * HALF_BYTES :][:HALF_BYTES] for slot in slots} - {bytes(HALF_BYTES)}


def bodies(told: Told, moment: str, keys: Iterable[bytes] = ()) -> list[bytes]:
    """Entries as a copy of the service stores them, and what opens of them with these storage keys."""
    kept = kept_entries(told.service(moment))
    return [*(one.stored for one in kept), *open_kept(kept, keys)]


def everything(told: Told, moment: str, service: str) -> list[bytes]:
    """What opens of every vault of a moment, and of what the service has at another, with every key in both."""
    vaults = told.vaults(moment)
    seized = loot(vaults, PASSPHRASE)
    return open_all(seized, halves_of(told.service(service), *vaults), bodies(told, service, seized.whole))


def test_control_before_its_end_every_kind_of_text_is_found(told: Told) -> None:
    opened = everything(told, "before", "before")
    assert kinds(opened) == {*PHRASES}
    assert told.refused in opened  # a complaint, which holds no text
    assert {*told.seeds} <= {*opened}
    chunks = [part.read_bytes() for path in told.vaults("before") for part in path.glob(PART_FILES)]
    assert found(needles(IN_FILE), open_attachments(attachments_in(opened), chunks))


@pytest.mark.parametrize("moment", ["before", "after"])
def test_nothing_expired_opens_with_any_key_that_is_stored_anywhere(moment: str, told: Told) -> None:
    opened = everything(told, moment, "after")
    assert kinds(opened) == set()
    assert attachments_in(opened) == []
    assert {*told.seeds} <= {*opened}  # control: what has not ended is found by the same means


def test_a_leafs_old_keys_open_nowhere_after_their_end(told: Told) -> None:
    for moment in ("before", "over"):
        assert not {*told.seeds} & {*everything(told, moment, "over")}


@pytest.mark.parametrize("moment", ["during", "listed", "before", "after"])
def test_no_phrase_stands_in_any_file_or_page_as_it_is(moment: str, told: Told) -> None:
    wanted = {needle for text in (*PHRASES.values(), IN_FILE) for needle in needles(text)}
    for path in told.vaults(moment):
        assert not found(wanted, vault_pages(path, PASSPHRASE))
        assert not found(wanted, files_below(path))
    if moment in ("before", "after"):  # else only vaults were copied; a backup is a part of this
        assert not found(wanted, files_below(told.service(moment)))


def test_control_an_invitations_charter_is_found_while_it_is_under_way_and_not_after(told: Told) -> None:
    for moment, there in (("before", True), ("over", False)):
        (guest,) = [path for path in told.vaults(moment) if path.name.endswith("gus")]
        with examining(guest, PASSPHRASE) as vault:
            offers = [
                open_step("offer", state.secret, state.answer, state.key, state.offer)
                for (box,) in vault.rows("SELECT box FROM invitation")
                for state in [load(vault, Joining, box)[1]]
            ]
        assert bool(found(needles(TITLE), offers)) is there


def packets_open(told: Told, places: list[Path], service: str) -> set[str]:
    """What opens of the packets alone in these vaults, with the procedure that followed and a service's halves."""
    seized = loot(places, PASSPHRASE)
    halves = halves_of(told.service(service), *places)
    for place in places:
        for said in open_entries(place, PASSPHRASE, told.sealed):
            for content in re.findall(rb'"content":"([A-Za-z0-9_-]+=*)"', said):
                data = base64.urlsafe_b64decode(content + b"===")
                seized.whole |= {data[at : at + KEY_LENGTH] for at in range(len(data) - KEY_LENGTH + 1)}
    seized.texts = [text for text in seized.texts if text.number >= PACKET]
    assert seized.texts
    return kinds(open_all(seized, halves))


@pytest.mark.parametrize("moment", ["during", "listed"])
def test_no_idea_opens_after_its_end_from_copies_of_all_devices_made_while_its_packets_were_out(
    moment: str, told: Told
) -> None:
    assert packets_open(told, told.vaults(moment), "before") == {"shown idea"}  # control: it has not ended
    assert packets_open(told, told.vaults(moment), "after") == set()
    seized = loot(told.vaults(moment), PASSPHRASE)
    assert kinds(open_all(seized, halves_of(told.service("after"), *told.vaults(moment)))) == set()


@pytest.mark.parametrize("moment", ["during", "listed"])
def test_no_idea_opens_after_its_end_from_its_authors_copy_with_the_procedure_that_followed(
    moment: str, told: Told
) -> None:
    place = told.root / moment / "vault-ada"
    assert packets_open(told, [place], "before") == {"shown idea"}  # control: the log has the one-time secrets
    assert packets_open(told, [place], "after") == set()
