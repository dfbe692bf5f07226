"""Two sides that share no channel publish one text, which an intermediary kept and carried between them."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from pourparler_clients.cli.table import do_words
from pourparler_clients.errors import Unreachable, UserError
from pourparler_clients.examine import files_below, found
from pourparler_clients.onetext import OneText
from pourparler_clients.onetext_testing import Shuttle
from pourparler_clients.signing_testing import DEPOSIT, HOUR, SIGN, desk_says, left_in
from pourparler_clients.testing import PASSPHRASE, Person
from pourparler_crypto.card import CardKey
from pourparler_crypto.jr2 import unveil
from pourparler_crypto.note import Audience, Note, open_brief
from pourparler_policies.errors import Misuse
from pourparler_policies.release.device import Cue, Stage
from pourparler_policies.release.events import Retracted
from pourparler_service.database import FILE

pytestmark = pytest.mark.asyncio(loop_scope="session")


def secrets_of(person: Person) -> set[bytes]:
    """y, d and rho of a signer, and the seed of its key: what a carrier must never have."""
    kept = person.log.relayed.kept
    assert kept is not None
    state = unveil(kept.state)
    held = {bytes(getattr(state, name)) for name in ("y", "d", "mask", "rho") if getattr(state, name, b"")}
    return held | {key[0] for key in person.device.vault.rows("SELECT seed FROM release_key")}


async def test_a_text_is_signed_across_two_channels_and_nothing_links_them_or_is_left_with_the_carrier(
    talks: Shuttle, data: Path, tmp_path: Path
) -> None:
    await talks.ready()
    secrets = {secret for person in talks.signers for secret in secrets_of(person)}
    assert len(secrets) == 8  # of each: y, d, rho, and the seed
    await talks.sign()
    await talks.rounds(lambda: set(talks.stages()) == {Stage.COMPLETE})
    assert [len(person.device.unfinished()) for person in talks.people] == [1, 0, 0, 1, 0, 0]
    secrets |= {secret for person in talks.signers for secret in secrets_of(person)}
    for number, carrier in enumerate(talks.carriers):
        assert left_in(carrier, secrets, tmp_path / f"carrier-{number}") == set()
    assert left_in(talks.signers[0], secrets, tmp_path / "signer")  # the search can find them
    nothing_links_the_channels(talks, data)
    nobody_has_anything_of_the_other_channel(talks, tmp_path)
    await talks.published()
    north, south = talks.notes()
    assert north == south
    note = Note.parse(north[0])
    note.check()
    assert [one.key for one in note.communique.foot.signatories] == talks.keys


def nothing_links_the_channels(talks: Shuttle, data: Path) -> None:
    """Neither what went over the lines nor what the service stores has a value that is with both channels."""
    recorded = [{one for person in room.people for one in person.line.sealed} for room in talks.rooms]
    assert min(map(len, recorded)) > 10
    pieces = [{one[at : at + 16] for one in sealed for at in range(0, len(one) - 15, 16)} for sealed in recorded]
    assert not pieces[0] & pieces[1]
    rows = []
    with sqlite3.connect(data / FILE) as database:
        for room in talks.rooms:
            (number,) = database.execute(
                "SELECT key FROM channel WHERE channel = ?", (room.people[0].channel.id,)
            ).fetchone()
            found = [row for query in _ROWS for row in database.execute(query, (number,))]
            rows.append({value for row in found for value in row if isinstance(value, bytes) and len(value) > 8})
    assert min(map(len, rows)) > 10
    assert not rows[0] & rows[1]


_ROWS = (
    "SELECT * FROM channel WHERE key = ?",
    "SELECT * FROM device WHERE channel_key = ?",
    "SELECT * FROM entry JOIN body USING (key) WHERE channel_key = ?",
    "SELECT * FROM box WHERE channel_key = ?",
)


def nobody_has_anything_of_the_other_channel(talks: Shuttle, place: Path) -> None:
    """No id, credential, card, seat, name or title of one channel is in a vault of the other."""
    for room, other in zip(talks.rooms, reversed(talks.rooms), strict=True):
        log = other.people[0].log
        needles = {log.row.id, log.charter.hash, log.charter.title.encode()}
        for member in log.members.values():
            needles |= {member.credential, member.device, member.fingerprint, member.name.encode()}
        needles |= set(log.consent.seats) | set(log.folded.papers)
        needles |= {paper.text.digest for paper in log.folded.papers.values()}
        needles -= {b"adelina", b"benedikt"}  # these are in the names of the press keys that the text itself gives
        person = room.people[1]
        assert left_in(person, needles, place / f"vault-{person.name}") == set()
        assert left_in(other.people[1], needles, place / f"own-{person.name}")  # the search can find them


async def test_each_side_has_its_own_copy_and_is_first_in_it(talks: Shuttle) -> None:
    await talks.ready(in_copies=True)
    assert talks.signers[1].channel.onetext.text().foot.signatories[0].name == "South League"
    await talks.sign()
    await talks.published()
    north, south = ([Note.parse(note) for note in notes] for notes in talks.notes())
    assert len(north) == len(south) == 2
    for note in (*north, *south):
        note.check()
    for person, key in zip(talks.signers, talks.keys, strict=True):
        assert Note.parse(person.channel.onetext.note()).communique.foot.signatories[0].key == key


def remarks_in(person: Person) -> list[str]:
    """Every remark on any revision that this device has."""
    rows = person.device.vault.rows("SELECT DISTINCT digest FROM remark")
    return [one.text for (digest,) in rows for one in person.log.relayed.papers.remarks(digest)]


@pytest.mark.parametrize("audience", ["parties", "card"])
async def test_a_text_for_the_sides_alone_or_for_one_reader_is_completed_between_them_and_read_nowhere_else(
    talks: Shuttle, service: str, data: Path, tmp_path: Path, audience: str
) -> None:
    """A joint memorandum; a brief to an official."""
    official, words = CardKey.generate(), "Between us: the eastern wells are shared from May on."
    card = official.card("Heron")
    (tmp_path / "heron.card").write_text(card.encode())
    async with httpx.AsyncClient(base_url=service) as http:
        before = (await http.get("/v1/board")).text
        await talks.ready(
            words=words, audience=Audience(audience), card=card.fingerprint if audience == "card" else b""
        )
        await talks.sign()
        await talks.published()
        assert (await http.get("/v1/board")).text == before
    assert not found({words.encode()}, files_below(data))
    north = talks.signers[0].channel
    if audience == "card":
        with pytest.raises(UserError, match="give that reader's card"):
            await do_words(f"onetext export --out {tmp_path / 'brief'}", north, as_json=True)
        assert not (tmp_path / "brief").exists()
    options = f" --card {tmp_path / 'heron.card'}" if audience == "card" else ""
    await do_words(f"onetext export --out {tmp_path / 'brief'}{options}", north, as_json=True)
    written = (tmp_path / "brief").read_text()
    note = open_brief(written, official, "Heron") if audience == "card" else Note.parse(written.encode())
    note.check()
    assert note.communique.words == (words,)


async def test_comments_stay_in_their_channel_and_a_revision_shows_what_changed_and_not_who_asked(
    talks: Shuttle, tmp_path: Path
) -> None:
    await talks.draft("Both sides keep the wells open [until the harvest].")
    north, _ = talks.signers
    with pytest.raises(UserError, match="still open"):
        await north.channel.onetext.agree()
    with pytest.raises(UserError, match="still open"):
        await talks.text.appoint(SIGN, DEPOSIT)
    said = "We need a date for the wells, and it is a matter of weeks."
    await north.channel.onetext.comment(said)
    await talks.visit()
    rows = await talks.text.standing()
    assert [len(row.remarks) for row in rows] == [1, 0]
    await talks.text.revise([("en", "Both sides keep the wells open until the first of May.")])
    await talks.visit()
    assert [remarks_in(person) for person in talks.signers] == [[said], []]
    for person in talks.signers:  # and where it is, it is sealed
        assert not left_in(person, {b"matter of weeks"}, tmp_path / person.name)
    for person in talks.signers:
        papers = person.log.relayed.papers
        first, second = (papers.words(one) for one in papers.revisions(person.channel.onetext.paper().id))
        assert first is not None
        assert second is not None
        authors = {person.log.members[one.member.credential].name for one in talks.told[person.name] if one.member}
        assert not authors & {"adelina", "benedikt"} - {person.name}
    with pytest.raises(UserError, match="initialled"):
        await talks.text.appoint(SIGN, DEPOSIT)  # nobody has agreed to this revision
    await talks.agree()
    assert all(row.initialled for row in await talks.text.standing())


@pytest.mark.parametrize("words", ["An [open place", "A closed] place", "[[twice] open"])
async def test_brackets_that_do_not_match_are_refused_before_anybody_sees_them(talks: Shuttle, words: str) -> None:
    with pytest.raises(UserError, match="bracket"):
        await talks.draft(words)
    await talks.visit()
    assert not talks.signers[0].log.folded.papers


async def test_who_withdraws_lets_it_lapse_and_a_second_appointment_publishes(talks: Shuttle) -> None:
    await talks.ready()
    north, south = talks.signers
    await south.channel.onetext.sign(checked=talks.keys)
    await south.channel.onetext.act(Cue.WITHDRAW)
    await north.channel.onetext.sign(checked=talks.keys)
    part = north.channel.onetext.part
    assert part is not None
    talks.until(part.sign_by)
    await talks.rounds(lambda: talks.stages() == [Stage.WAITING, Stage.LAPSED])
    with pytest.raises((UserError, Misuse)):
        await north.channel.onetext.ready()
    await north.channel.onetext.act(Cue.WITHDRAW)  # who was told "lapsed" need not wait a day for a second one
    await talks.text.appoint(SIGN // 4, DEPOSIT // 2)
    await talks.visit()
    await talks.begun()
    await talks.rounds()
    await talks.sign()
    await talks.published()


async def test_an_initial_taken_back_on_one_side_ends_the_round_there(talks: Shuttle) -> None:
    await talks.appointed()
    await talks.begun()
    await talks.visit(*talks.signers)
    ana = talks.rooms[0].people[1]
    await ana.channel.do(Retracted(ana.channel.onetext.paper().id))
    await talks.visit(*talks.signers)
    await talks.text.carry()
    await talks.visit(*talks.signers)
    assert talks.stages()[0] in (None, Stage.CLEARED)
    with pytest.raises((UserError, Misuse)):
        await talks.signers[0].channel.onetext.sign(checked=talks.keys)


async def test_when_the_desk_is_silent_the_sides_complete_through_the_carrier(talks: Shuttle) -> None:
    await talks.ready()
    await talks.sign()
    await talks.rounds(lambda: set(talks.stages()) == {Stage.COMPLETE})
    part = talks.signers[0].channel.onetext.part
    assert part is not None
    for person in talks.signers:
        person.line.rewrite = desk_says("open")
    talks.until(part.not_before + 1)
    try:
        await talks.rounds(lambda: all(talks.notes()))
    finally:
        for person in talks.signers:
            person.line.rewrite = None
    assert talks.notes()[0] == talks.notes()[1]


async def test_a_carrier_that_dies_anywhere_goes_on_from_what_its_vaults_hold(talks: Shuttle) -> None:
    await talks.appointed()
    await talks.begun()
    for step in range(1, 40):
        await talks.visit(*talks.signers)
        for carrier in talks.carriers:
            carrier.line.before_request = _breaks_at(step % 5)
        with suppress(Unreachable):
            await talks.text.carry()
        for carrier in talks.carriers:
            carrier.line.before_request = None
        talks.text = OneText(*(person.channel for person in talks.carriers), pause=(0, 0))  # nothing in memory
        if talks.stages() == [Stage.ASKED, Stage.ASKED]:
            return
    raise AssertionError(talks.stages())


def _breaks_at(step: int) -> Callable[[str, str], None]:
    left = [step]

    def before(method: str, path: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise httpx.ConnectError("cut")

    return before


async def test_a_side_says_it_all_in_words(
    talks: Shuttle, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    await talks.appointed()
    north = talks.signers[0].channel
    await do_words("onetext show", north, as_json=False)
    assert "onetext ready" in capsys.readouterr().out
    await do_words("onetext ready", north, as_json=True)
    await talks.signers[1].channel.onetext.ready()
    await talks.rounds()
    empty, book = tmp_path / "empty", tmp_path / "book"
    empty.write_text(f"{talks.keys[0]} Ourselves\n")
    book.write_text(f"{talks.keys[1]} South\n")
    with pytest.raises(UserError, match="not among those that you have checked"):
        await do_words(f"onetext sign --keys {empty} --as 'North League'", north, as_json=True)
    with pytest.raises(UserError, match="not the name"):
        await do_words(f"onetext sign --keys {book} --as 'South League'", north, as_json=True)
    with pytest.raises(UserError, match="look at it again"):  # a round that ended while somebody read
        await north.onetext.sign(checked=talks.keys, shown=bytes(32))
    await do_words(f"onetext sign --keys {book} --as 'North League'", north, as_json=True)
    await talks.sign(talks.signers[1])
    await talks.published()
    await do_words(f"onetext export --out {tmp_path / 'note'}", north, as_json=True)
    Note.parse((tmp_path / "note").read_bytes()).check()


def commands(places: list[Path], *words: str) -> list[dict[str, object]]:
    """One command of the intermediary's, in a process of its own, with the passphrase of each compartment."""
    pipes = [os.pipe() for _ in places]
    for _, writing in pipes:
        os.write(writing, f"{PASSPHRASE}\n".encode())
        os.close(writing)
    first, second = (reading for reading, _ in pipes)
    sides = ["--vault", str(places[0]), "--side", str(places[1]), "--pause", "1s", "--json"]
    secrets = ["--passphrase-fd", str(first), "--side-passphrase-fd", str(second)]
    done = subprocess.run(
        [sys.executable, "-m", "pourparler_clients.cli", "onetext", words[0], *sides, *secrets, *words[1:]],
        capture_output=True,
        timeout=300,
        pass_fds=[first, second],
        check=False,
    )
    for reading in (first, second):
        os.close(reading)
    if done.returncode:
        return [{"error": done.stderr.decode()}]
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


async def test_the_intermediary_does_it_at_the_command_line(talks: Shuttle, tmp_path: Path) -> None:
    keys = []
    for number, key in enumerate(talks.keys):
        (tmp_path / f"{number}.key").write_text(f"{key}\n")
        keys += ["--key", f"Side {number}={tmp_path / f'{number}.key'}"]
    (tmp_path / "text.md").write_text("Both sides keep the wells open [until May].\n")
    (tmp_path / "closed.md").write_text("Both sides keep the wells open until May.\n")
    hour = datetime.fromtimestamp(talks.now() + HOUR, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    places = await talks.set_down()
    try:
        drafted = commands(
            places, "draft", f"en={tmp_path / 'text.md'}", *keys, "--not-before", hour, "--life", "9d"
        )
        assert drafted[-1].get("event") == "drafted", drafted
        assert "still open" in str(commands(places, "appoint")[-1]["error"])
        assert commands(places, "revise", f"en={tmp_path / 'closed.md'}")[-1]["event"] == "revised"
        await talks.visit(*(person for room in talks.rooms for person in room.parties))
        await talks.agree()
        seen = [row for row in commands(places, "standing") if row["event"] == "standing"]
        assert [row["agreed"] for row in seen] == [True, True]
        made = commands(places, "appoint", "--sign-within", "1h", "--deposit-within", "10m")
        assert made[-1]["event"] == "arranged"
        await talks.visit(*talks.signers)
        await talks.begun()
        assert commands(places, "carry")[-1] == {"event": "carried", "messages": 2}
        assert "error" in commands([places[0], places[0]], "standing")[-1]
    finally:
        await talks.take_up()
    await talks.rounds()
