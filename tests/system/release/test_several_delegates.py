"""A party whose rule asks several persons: all sign, each on a device of their own, and nothing tells who has."""

from pathlib import Path

import pytest

from pourparler_clients.errors import Unreachable
from pourparler_clients.forging import Hostile
from pourparler_clients.signing_testing import (
    HOUR,
    Hours,
    Signing,
    left_in,
    release_room,
    secrets_of,
    stage_of,
    text_between,
)
from pourparler_clients.signingsteps import FURTHER
from pourparler_clients.testing import House
from pourparler_crypto.note import Note
from pourparler_policies.release import events as ev
from pourparler_policies.release.device import Cue, Stage
from pourparler_policies.release.facts import Phase


async def delegates(house: House, hours: Hours) -> Signing:
    """Ada with Amy, and Ben: a text whose hour leaves time for two appointments."""
    room = await release_room(house, hours, "ada", "ben", beside={"ada": ["amy"]})
    room.text = text_between(room.parties, room.now() + 3 * HOUR)
    return room


async def test_a_delegate_alone_signs_nothing_a_lapse_names_nobody_and_all_together_sign_for_their_party(
    house: House, hours: Hours, tmp_path: Path
) -> None:
    room = await delegates(house, hours)
    await room.ready()
    ada, ben = room.parties
    (amy,) = room.further
    kept = amy.log.signing.kept
    assert kept is not None
    assert kept.line == FURTHER
    assert amy.log.signing.line() == 0  # the line of her party, in whose name she signs
    secrets = set().union(*(secrets_of(person) for person in room.signers))
    before = {person.name: len(room.told.get(person.name, [])) for person in room.people}
    await room.sign(amy)  # and nobody else
    for _ in range(2):
        await room.visit()
    assert len({person.log.row.cursor for person in room.people}) == 1
    assert all(len(room.told.get(person.name, [])) == before[person.name] for person in (ada, ben))
    await room.lapsed()
    assert room.notes() == []
    for person in room.people:
        assert not left_in(person, secrets, tmp_path / person.name)
    await room.appoint()
    await room.rounds()
    await room.sign(*room.parties)
    for _ in range(2):
        await room.visit()
    assert {stage_of(person) for person in room.parties} == {Stage.SIGNED}  # hers is missing
    await room.sign(amy)
    await room.published()
    (note,) = set(room.notes())
    assert len(room.notes()) == 3
    assert len(Note.parse(note).signatures) == 2
    Note.parse(note).check()


async def test_a_delegate_withdraws_and_nothing_comes_of_it_even_if_the_desk_did_not_hear(
    house: House, hours: Hours
) -> None:
    room = await delegates(house, hours)
    await room.appointed()
    (amy,) = room.further
    for late in (False, True):
        await room.rounds()
        await room.sign(amy)
        if late:  # all have signed, and before her device hears of it she takes her word back, without a line
            amy.line.before_request = no_line
            await room.sign(*room.parties)
            await room.visit(*room.parties)
            with pytest.raises(Unreachable):
                await amy.channel.releases.act(Cue.WITHDRAW)
            amy.line.before_request = None
        else:
            await amy.channel.releases.act(Cue.WITHDRAW)
            await room.sign(*room.parties)
        for _ in range(3):
            await room.visit()
        assert stage_of(amy) is (Stage.TOO_LATE if late else Stage.WITHDRAWN)
        room.until(room.case.deposit_by + 1 if late else room.case.sign_by)
        await room.through(room.over)
        assert room.notes() == []
        if not late:
            await room.appoint()


def no_line(method: str, path: str) -> None:
    raise Unreachable("the line is gone")


async def test_as_many_as_the_rule_asks_take_part_and_whoever_is_first_does(house: House, hours: Hours) -> None:
    room = await release_room(house, hours, "ada", "ben", beside={"ada": ["amy", "abe"]}, decides=2)
    await room.appointed()
    ada, ben = room.parties
    amy, abe = room.further
    await room.visit(ada, ben, abe, amy)
    for _ in range(6):
        await room.visit(ben, amy, abe, ada)
    assert len(room.case.signers) == 3
    assert stage_of(amy) is None
    await room.sign(ada, ben, abe)
    await room.through(lambda: stage_of(abe) is Stage.COMPLETE)
    room.until(room.case.not_before)
    await room.through(room.over)
    assert len(room.notes()) == 3


FALSE = (
    (Phase.COMMITTING, "a party's name"),
    (Phase.REVEALING, "changed"),
    (Phase.REVEALING, "another delegate's name"),
    (Phase.PREPARING, "a party's name"),
    (Phase.PREPARING, "junk"),
)


async def test_a_hostile_delegate_is_named_by_its_party_and_costs_nothing_but_the_round(
    house: House, hours: Hours
) -> None:
    room = await delegates(house, hours)
    ada, ben = room.parties
    mal = Hostile(room.further[0])
    await room.appointed()
    for phase, how in FALSE:
        await plays_false(room, mal, phase, how)
        for person in (ada, ben):
            assert stage_of(person) in (Stage.BARRED, None)
            assert secrets_of(person) == set()
            assert room.was_told(person, "unchecked", "Side 0")
            assert not room.was_told(person, "unchecked", "Side 1")
        await ben.say("Somebody spoils this.")
        room.told.clear()
        room.later(600)
        if phase is Phase.PREPARING:
            room.until(room.case.deposit_by)
        await room.appoint(by=ben)
    await room.rounds()
    await room.sign()
    await room.published()
    assert len(set(room.notes())) == 1


async def plays_false(room: Signing, mal: Hostile, phase: Phase, how: str) -> None:
    """The parties keep to the round, and the delegate too until this phase."""
    for _ in range(12):
        await room.visit(*room.parties)
        await mal.catch_up()
        case = mal.log.folded.case
        assert case is not None
        part = {Phase.APPOINTED: "first", Phase.REVEALING: "second", Phase.PREPARING: "third"}.get(
            case.phase, "first"
        )
        if case.phase is phase and sum(bool(getattr(s, part)) for s in case.signers.values()) == 2:
            break
        if case.phase is not phase:
            for event in mal.log.signing.acts():
                await mal.act(event)
    kept = mal.log.signing.kept
    assert kept is not None
    own, nonce = kept.message, room.case.nonce
    message = {
        "junk": b"junk",
        "another delegate's name": own[:1] + b"\x04" + own[2:],
        "a party's name": own[:1] + b"\x02" + own[2:],
        "changed": own[:20] + bytes([own[20] ^ 1]) + own[21:],
    }[how]
    await mal.act(
        {
            Phase.COMMITTING: ev.First(nonce, None, message),
            Phase.REVEALING: ev.Second(nonce, message),
            Phase.PREPARING: ev.Third(nonce, message),
        }[phase]
    )
    for _ in range(2):
        await room.visit(*room.parties)
