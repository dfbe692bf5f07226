"""A signer who plays false: rounds are spoilt, people are told, nobody is bound, and the channel goes on."""

import pytest

from pourparler_clients.forging import Hostile
from pourparler_clients.signing_testing import (
    HOUR,
    Hours,
    Signing,
    release_room,
    secrets_of,
    stage_of,
    text_between,
)
from pourparler_clients.store import State
from pourparler_clients.testing import House, Person
from pourparler_crypto.jr2.wire import Kind, write
from pourparler_policies import payload
from pourparler_policies.release import events as ev
from pourparler_policies.release.device import Cue, Stage
from pourparler_policies.release.facts import GRACE, Phase

JUNK = b"\x01\x02" + bytes(80)


async def spoilt(room: Signing, *honest: Person) -> None:
    """Honest devices have told their persons, hold nothing, and the channel goes on."""
    for _ in range(3):
        await room.visit(*honest)
    for person in honest:
        assert person.state is State.OPEN
        assert stage_of(person) in (Stage.BARRED, None)
        assert secrets_of(person) == set()
        assert room.was_told(person, "release", "barred")
    await honest[0].say("Somebody spoils this.")
    for person in room.people:
        await person.sync()
        assert "Somebody spoils this." in person.texts()


async def completes(room: Signing) -> None:
    """Another appointment for the same text, which everybody keeps to."""
    room.later(400)
    await room.appoint()
    await room.rounds()
    await room.sign()
    await room.published()
    assert len(set(room.notes())) == 1


async def at(house: House, hours: Hours, phase: Phase) -> tuple[Signing, Hostile]:
    """A round of three in which only the last party's message of this phase is awaited: that party is hostile."""
    room = await release_room(house, hours, "ada", "ben", "eve")
    room.text = text_between(room.parties, room.now() + 3 * HOUR)
    ada, ben, eve = room.parties
    await room.appointed()
    mal = Hostile(eve)
    for _ in range(8):
        await room.visit(ada, ben)
        await mal.catch_up()
        case = eve.log.folded.case
        assert case is not None
        part = {Phase.COMMITTING: "first", Phase.REVEALING: "second", Phase.PREPARING: "third"}[phase]
        if case.phase is phase and sum(bool(getattr(one, part)) for one in case.signers.values()) == 2:
            return room, mal
        kept = eve.log.signing.kept
        if case.phase is not phase and kept is not None:
            for event in eve.log.signing.acts():
                await mal.act(event)
    raise AssertionError(room.stages())


def mine(mal: Hostile) -> bytes:
    kept = mal.log.signing.kept
    assert kept is not None
    return kept.message


def changed(message: bytes) -> bytes:
    return message[:-1] + bytes([message[-1] ^ 1])


def another(room: Signing, part: str) -> bytes:
    """What an honest signer has sent in this part."""
    return next(getattr(one, part) for one in room.case.signers.values() if getattr(one, part))


@pytest.mark.parametrize("how", ["junk", "changed", "another party's name", "an earlier round's"])
async def test_a_false_commitment_bars_honest_devices_and_a_new_appointment_completes(
    house: House, hours: Hours, how: str
) -> None:
    room, mal = await at(house, hours, Phase.COMMITTING)
    own = mine(mal)
    message = {
        "junk": JUNK,
        "changed": own[:1] + b"\xff" + own[2:],
        "another party's name": bytes([own[0], 1]) + own[2:],
        "an earlier round's": write(Kind.COMMITMENT, own[1], bytes(64), own[-64:]),
    }[how]
    await mal.act(ev.First(room.case.nonce, 2, message))
    await spoilt(room, *room.parties[:2])
    await completes(room)


async def test_a_copy_of_anothers_commitment_does_not_count(house: House, hours: Hours) -> None:
    room, mal = await at(house, hours, Phase.COMMITTING)
    await mal.act(ev.First(room.case.nonce, 2, another(room, "first")))
    await room.visit(*room.parties[:2])
    assert len(room.case.signers) == 2
    await room.rounds()  # its device goes on as if nothing had been


@pytest.mark.parametrize("how", ["junk", "changed", "a copy of another's"])
async def test_a_false_opening_bars_honest_devices_and_a_new_appointment_completes(
    house: House, hours: Hours, how: str
) -> None:
    room, mal = await at(house, hours, Phase.REVEALING)
    message = {"junk": JUNK, "changed": changed(mine(mal)), "a copy of another's": another(room, "second")}[how]
    await mal.act(ev.Second(room.case.nonce, message))
    await spoilt(room, *room.parties[:2])
    await completes(room)


@pytest.mark.parametrize("how", ["junk", "changed", "a copy of another's"])
async def test_a_false_presignature_costs_the_case_and_binds_nobody(house: House, hours: Hours, how: str) -> None:
    room, mal = await at(house, hours, Phase.PREPARING)
    message = {"junk": JUNK, "changed": changed(mine(mal)), "a copy of another's": another(room, "third")}[how]
    await mal.act(ev.Third(room.case.nonce, message))
    await spoilt(room, *room.parties[:2])
    assert room.case.phase is Phase.FROZEN
    with pytest.raises(Exception, match="cannot be done now"):
        await room.sign(room.parties[0])
    room.later(room.case.not_before + GRACE - room.now())  # no desk has it: it ends a day after the hour
    await room.parties[0].channel.refresh_keys()
    await room.through(room.over)
    room.text = text_between(room.parties, room.now() + HOUR + 400)
    await room.table()
    await room.initial()
    await completes(room)


async def test_an_old_rounds_messages_do_not_count_in_the_next(house: House, hours: Hours) -> None:
    room, mal = await at(house, hours, Phase.REVEALING)
    old, nonce = mine(mal), room.case.nonce
    await room.appoint()
    await room.visit(*room.parties[:2])
    await mal.act(ev.Second(nonce, old))
    await room.visit()
    assert room.case.nonce != nonce
    await room.rounds()
    await room.sign()
    await room.published()


async def test_a_signer_that_begins_again_and_again_only_delays(house: House, hours: Hours) -> None:
    room, mal = await at(house, hours, Phase.COMMITTING)
    for number in range(3):
        await mal.act(ev.First(bytes([number]) * 32, 2, JUNK))
        await room.visit(*room.parties[:2])
    for person in room.parties[:2]:
        assert person.state is State.OPEN
        assert stage_of(person) not in (Stage.ASKED, Stage.SIGNED)
    await completes(room)


async def test_masks_that_do_not_fit_lead_nobody_on(house: House, hours: Hours) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada, ben = room.parties
    await room.ready()
    await room.sign(ada)
    await beside(ben, room, ev.Masks(room.case.nonce, b"\0\0\0\x20" + bytes(32)))
    await room.visit(ada)
    assert stage_of(ada) is Stage.SIGNED
    await ben.channel.releases.act(Cue.SIGN)
    await room.published()


async def beside(person: Person, room: Signing, event: ev.Masks | ev.Lock) -> None:
    mal = Hostile(person)
    await mal.catch_up()
    await mal.raw(payload_of(mal, event), handshake=False)


def payload_of(mal: Hostile, event: ev.Masks | ev.Lock) -> bytes:
    envelope = mal.envelope(payload.Beside.of(event))
    return payload.encode(envelope.model_copy(update={"key": mal.log.group.next_generation()}))
