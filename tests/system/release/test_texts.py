"""Texts on the table: what voids an initial or an appointment, and what is neither shown, initialled nor joined."""

import os
import pty
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from pourparler_clients.cli import prompts, texts
from pourparler_clients.cli.table import do_words
from pourparler_clients.errors import UserError
from pourparler_clients.examine import pieces, stored_texts, traces
from pourparler_clients.forging import Hostile
from pourparler_clients.papers import compose, revision
from pourparler_clients.signing_testing import (
    HOUR,
    Hours,
    Signing,
    key_of,
    left_in,
    release_room,
    secrets_of,
    stage_of,
    text_between,
)
from pourparler_clients.testing import PASSPHRASE, House, Person
from pourparler_crypto.note import Act, Communique, Note, PressKey
from pourparler_policies.charter import decode
from pourparler_policies.charter.rules import Role
from pourparler_policies.errors import Misuse
from pourparler_policies.fold.events import Held
from pourparler_policies.fold.facts import Admit, Amend
from pourparler_policies.limits import DAY
from pourparler_policies.release.device import Cue, Stage
from pourparler_policies.release.events import (
    Drafted,
    Initialled,
    Opposed,
    Relented,
    Retracted,
    Shelved,
    Words,
)
from pourparler_policies.release.facts import PAPER_BYTES, Mark


def edited(room: Signing, words: str) -> Communique:
    signatories = [(party.name, party.key) for party in room.text.foot.signatories]
    return compose([("en", words)], signatories, room.text.foot.not_before, earlier=room.text)


async def test_an_edit_voids_initials_and_the_appointment_and_nothing_is_kept_of_the_rounds(
    house: House, hours: Hours
) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada, ben = room.parties
    await room.appointed()
    await room.rounds(ben, until=Stage.REVEALED)
    assert secrets_of(ben)
    await ben.channel.releases.table(edited(room, "We agreed on little."), 0, room.paper)
    await room.visit()
    await room.visit()
    assert room.over()
    assert room.held.initials == {}
    with pytest.raises(UserError, match="not every party has initialled"):
        await room.appoint()
    assert ada.log.signing.papers.communique(room.held).words == ("We agreed on little.",)
    await room.initial()
    await room.appoint()
    await room.rounds()
    await room.sign()
    await room.published()
    assert {Note.parse(note).communique.words for note in room.notes()} == {("We agreed on little.",)}


async def test_a_frozen_text_can_be_edited_by_nobody(house: House, hours: Hours) -> None:
    room = await release_room(house, hours, "ada", "ben")
    await room.ready()
    with pytest.raises(UserError, match="frozen"):
        await room.parties[0].channel.releases.table(edited(room, "Something else."), 0, room.paper)


async def test_who_reads_one_text_while_another_comes_to_the_same_point_signs_neither(
    house: House, hours: Hours, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question waits in a talk, which goes on: by the answer it is about another text than the one shown."""
    room = await release_room(house, hours, "ada", "ben")
    room.text = text_between(room.parties, room.now() + 4 * HOUR)
    ada, ben = room.parties
    await room.ready()

    async def meanwhile() -> bytes:
        await room.lapsed()
        await ben.channel.releases.table(edited(room, "We agreed on little."), 0, room.paper)
        await room.visit()
        await room.initial()
        await room.appoint()
        await room.rounds()
        return b"Side ada"

    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr(texts, "taken", texts.taken)
        prompts.read_from(meanwhile)
        with pytest.raises(UserError, match="look at it again"):
            await do_words("release sign", ada.channel, as_json=False)
    os.close(ours)
    assert {stage_of(person) for person in room.parties} == {Stage.ASKED}
    assert ada.log.signing.papers.communique(room.held).words == ("We agreed on little.",)
    await do_words("release sign --as 'Side ada'", ada.channel, as_json=False)  # who looks again can sign
    assert stage_of(ada) is Stage.SIGNED


async def test_no_row_of_a_text_or_a_remark_can_pass_for_a_row_of_ours(
    house: House, hours: Hours, capsys: pytest.CaptureFixture[str]
) -> None:
    """A text that brings along its own list of keys, a question, and an answer of somebody who agrees."""
    rows = ("Who signs, and with which key:", "The others sign with these keys:", "ben remarks:", "Signed.")
    words = "They met.\n\n" + "\n".join(f"{row} {'1' * 70} {row}" for row in rows) + "\n\n" + "\n".join(rows)
    room = await release_room(house, hours, "ada", "ben", words=words)
    ada, ben = room.parties
    await room.ready()
    await ben.channel.releases.remark(room.paper, "Yes.\n" + "\n".join(rows))
    await room.visit()
    capsys.readouterr()
    await do_words("release show", ada.channel, as_json=False)
    shown = capsys.readouterr().out.splitlines()
    assert [row for row in shown if row.startswith(rows)] == [rows[0], rows[2]]
    assert f"  | {rows[0]}" in shown
    await do_words("release sign --as 'Side ada'", ada.channel, as_json=False)
    asked = capsys.readouterr().out.splitlines()
    assert [row for row in asked if row.startswith(rows[:3])] == [rows[1]]
    assert key_of(ben).public != key_of(ada).public
    assert any(PressKey("ben.example", key_of(ben).public).digits in row for row in asked)


async def test_an_opposed_or_retracted_text_gets_no_appointment_and_ends_the_rounds(
    house: House, hours: Hours
) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ben = room.parties[1]
    await room.table()
    await room.initial()
    await ben.channel.do(Opposed(room.paper))
    with pytest.raises(UserError, match="somebody objects"):
        await room.appoint()
    await ben.channel.do(Relented(room.paper), Retracted(room.paper))
    with pytest.raises(UserError, match="not every party"):
        await room.appoint()
    await room.initial(ben)
    await room.appoint()
    await room.visit(ben)
    await ben.channel.do(Opposed(room.paper))
    for _ in range(3):
        await room.visit()
    assert not any(stage_of(p) in (Stage.ASKED, Stage.SIGNED) for p in room.parties)
    room.later(2 * DAY)
    for person in room.parties:
        person.device.purge()
    assert not any(secrets_of(p) for p in room.parties)


async def test_a_charter_that_is_amended_voids_initials_and_keeps_people_from_signing(
    house: House, hours: Hours
) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada, ben = room.parties
    charter = decode(ada.log.row.charter)
    await room.table()
    await room.initial()
    await house.agree(ada, Amend(replace(charter, purpose="To find ways out.").encode()))
    for _ in range(3):
        await room.visit()
    assert room.held.initials == {}
    room.later(400)
    await room.initial()
    await room.appoint()
    await room.rounds()
    await room.sign(ada)
    await house.agree(ada, Amend(replace(charter, purpose="To find more ways out.").encode()))
    for _ in range(3):
        await room.visit()
    with pytest.raises(Misuse, match="the charter has changed"):
        await room.sign(ben)
    assert stage_of(ada) is Stage.SIGNED  # Ben has not signed, and cannot


async def test_who_has_signed_is_asked_again_when_the_charter_was_amended_since(
    house: House, hours: Hours
) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada, ben = room.parties
    charter = decode(ada.log.row.charter)
    await room.ready()
    await room.sign(ada)
    ada.line.before_request = no_desk
    ben.line.before_request = no_desk
    await room.sign(ben)
    room.later(400)
    await house.agree(ada, Amend(replace(charter, purpose="To find ways out.").encode()))
    for _ in range(3):
        await room.visit()
    ada.line.before_request = ben.line.before_request = None
    await room.through(lambda: {stage_of(p) for p in room.parties} == {Stage.AGAIN})
    assert room.notes() == []
    for person in room.parties:
        await person.channel.releases.act(Cue.AGREE)
    await room.published()
    assert len(set(room.notes())) == 1


def no_desk(method: str, path: str) -> None:
    if "/desk" in path:
        raise httpx.ConnectError("no desk")


async def test_in_a_dormant_channel_nothing_goes_on(house: House, hours: Hours) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada, ben = room.parties
    await room.ready()
    seat = ben.log.consent.devices[ben.device.card.fingerprint].seat
    await ben.channel.do(Held(seat))
    for _ in range(2):
        await room.visit(ada)
    with pytest.raises(Misuse, match="a party cannot act"):
        await room.sign(ada)


async def test_an_assistant_initials_in_vain(house: House, hours: Hours) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada = room.parties[0]
    helper = await house.person("helper")
    helper.clock.offset = hours.offset
    body = ada.log.consent.seats[ada.log.consent.devices[ada.device.card.fingerprint].seat].body
    await house.agree(ada, Admit(body, Role.ASSISTANT, helper.device.card.fingerprint))
    await house.seat(ada, helper)
    await room.table()
    await helper.sync()
    with pytest.raises(UserError, match="assistant prepares"):
        await helper.channel.do(Initialled(room.paper, room.held.text.digest))
    mal = Hostile(helper)
    await mal.act(Initialled(room.paper, room.held.text.digest))
    await room.visit()
    assert room.held.initials == {}


async def lying_text(room: Signing, author: Person, **claims: int | bool | bytes) -> None:
    """A text on the table whose author says something else of it than its lines do."""
    salt, text = revision(room.text)
    room.paper = bytes(PAPER_BYTES)
    await author.channel.do(Drafted(room.paper, replace(text, **claims), 20 * DAY))  # type: ignore[arg-type]
    await author.channel.releases.post(Words(room.paper, salt, room.text.text), 20 * DAY)
    await room.visit()


@pytest.mark.parametrize("claims", [{"signatories": 1}, {"not_before": 1}, {"corrects": b"x" * 32}], ids=str)
async def test_a_text_that_is_not_what_was_claimed_is_not_shown_and_no_device_joins_its_rounds(
    house: House, hours: Hours, claims: dict[str, int | bool | bytes]
) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada, ben = room.parties
    if "not_before" in claims:
        claims = {"not_before": room.text.foot.not_before + 60}
    if "signatories" in claims:
        room.text = text_between([*room.parties, await house.person("eve")], room.text.foot.not_before)
        claims = {"signatories": 2}
    await lying_text(room, ben, **claims)
    with pytest.raises(UserError, match="says something else"):
        ada.log.signing.papers.communique(room.held)
    # Whoever agrees none the less, by some other client, is not followed by this one into a round.
    for person in room.parties:
        await person.channel.do(Initialled(room.paper, room.held.text.digest))
        await room.visit()
    if "corrects" not in claims:
        await room.appoint()
        for _ in range(3):
            await room.visit()
        assert room.case.signers == {}
    assert room.stages() == {"ada": None, "ben": None}


async def test_words_that_never_come_leave_nothing_to_show_or_to_join(house: House, hours: Hours) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada, ben = room.parties
    _, text = revision(room.text)
    room.paper = bytes(PAPER_BYTES)
    await ben.channel.do(Drafted(room.paper, text, 20 * DAY))
    await room.visit()
    with pytest.raises(UserError, match="not on this device"):
        ada.log.signing.papers.communique(room.held)
    await ben.channel.releases.post(Words(room.paper, bytes(32), b"Other words."), 20 * DAY)
    await room.visit()
    assert ada.log.signing.papers.revisions(room.paper) == []


async def test_words_end_with_their_paper_in_every_vault(house: House, hours: Hours, tmp_path: Path) -> None:
    room = await release_room(house, hours, "ada", "ben", words="A line that has to be forgotten.")
    ada, ben = room.parties
    await room.table(author=ada)
    await ben.channel.releases.remark(room.paper, "I would rather not say forgotten.")
    await room.visit()
    needles = {*traces("A line that has to be forgotten."), *traces("I would rather not say forgotten.")}
    sealed: dict[str, set[bytes]] = {}
    for person in room.people:
        held = person.log.signing.papers
        assert held.communique(room.held) == room.text
        assert [one.text for one in held.remarks(room.held.text.digest)] == ["I would rather not say forgotten."]
        image = person.copy(tmp_path / f"{person.name}-image")
        sealed[person.name] = pieces(text.sealed for text in stored_texts(image, PASSPHRASE))
        assert not left_in(person, needles, tmp_path / f"{person.name}-living")  # not even while they live
        assert left_in(person, sealed[person.name], tmp_path / f"{person.name}-sealed") == sealed[person.name]
    await ada.channel.do(Shelved(room.paper))
    await room.visit()
    for person in room.people:
        person.device.purge()
        assert not left_in(person, needles | sealed[person.name], tmp_path / f"{person.name}-shelved")
    room.text = text_between(room.parties, room.now() + 7200, "A line that has to be forgotten.")
    await room.table(author=ada)
    room.later(21 * DAY)
    for person in room.people:
        person.device.purge()
        assert not left_in(person, needles, tmp_path / f"{person.name}-later")


async def test_a_text_that_is_too_long_is_refused_before_anything_is_sent(house: House, hours: Hours) -> None:
    room = await release_room(house, hours, "ada", "ben", words="\n".join(["We agreed on this as well."] * 3000))
    with pytest.raises(UserError, match="at most"):
        await room.table()
    assert room.parties[0].log.folded.papers == {}
    assert room.parties[0].waiting() == []


async def test_a_correction_names_what_stands_and_its_revisions_keep_that(house: House, hours: Hours) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada, _ = room.parties
    await room.ready()
    digest = room.held.text.digest
    await room.sign()
    await room.published()
    assert ada.log.folded.released == {digest: Mark.PUBLISHED}
    room.later(400)
    first = room.text
    signatories = [(party.name, party.key) for party in first.foot.signatories]
    hour = room.now() + 7200
    room.text = compose(
        [("en", "We agreed, but not on wells.")], signatories, hour, relation=(Act.CORRECTS, first)
    )
    room.paper = await ada.channel.releases.table(room.text, 20 * DAY, corrects=digest)
    await room.visit()
    held = room.held
    room.text = edited(room, "We agreed, on other things.")
    assert room.text.foot.relation is not None
    await ada.channel.releases.table(room.text, 0, room.paper, held.text.corrects)
    await room.visit()
    await room.initial()
    await room.appoint()
    await room.rounds()
    await room.sign()
    await room.published()
    assert sorted(ada.log.folded.released.values()) == [Mark.PUBLISHED, Mark.SUPERSEDED]
