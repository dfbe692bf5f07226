"""Desks that are silent, devices that are away, a stop before the hour: it completes, or it cleanly does not."""

import httpx
import pytest

from pourparler_clients.outbox import Kind
from pourparler_clients.sending import IN_VAIN
from pourparler_clients.signing_testing import SIGN, Hours, desk_says, release_room, secrets_of, stage_of
from pourparler_clients.testing import House, Person
from pourparler_crypto.note import Note
from pourparler_policies import payload
from pourparler_policies.errors import Misuse
from pourparler_policies.payload import Beside
from pourparler_policies.release.device import Cue, Stage
from pourparler_policies.release.events import Lock


def no_desk(method: str, path: str) -> None:
    if "/desk" in path:
        raise httpx.ConnectError("no desk")


def broken_desk(method: str, path: str, status: int, body: bytes) -> tuple[int, bytes]:
    return (500, b"<html>") if "/desk" in path else (status, body)


def still_complete(method: str, path: str, status: int, body: bytes) -> tuple[int, bytes]:
    """A desk that goes on saying what it last said before the hour."""
    if method == "GET" and "/desk/" in path and b'"published"' in body:
        return 200, b'{"answer": "open"}'
    return status, body


def cut_off(person: Person, how: str) -> None:
    if how == "no desk":
        person.line.before_request = no_desk
    else:
        person.line.rewrite = broken_desk if how == "faults" else still_complete


@pytest.mark.parametrize("how", ["no desk", "faults", "does not publish"])
async def test_when_the_desk_is_silent_at_the_hour_the_parties_complete_without_it(
    house: House, hours: Hours, how: str
) -> None:
    room = await release_room(house, hours, "ada", "ben")
    await room.ready()
    await room.sign()
    await room.through(lambda: all(stage_of(p) is Stage.COMPLETE for p in room.parties))
    for person in room.parties:
        cut_off(person, how)
    room.until(room.case.not_before - 5)
    await room.visit()
    assert {stage_of(p) for p in room.parties} == {Stage.COMPLETE}  # not before the hour
    room.until(room.case.not_before + 1)
    await room.through(lambda: len(room.notes()) == 2)  # nobody has to say anything for it
    assert len(set(room.notes())) == 1
    Note.parse(room.notes()[0]).check()
    await room.through(room.over)


async def test_no_lock_goes_into_the_channel_while_the_desk_answers(house: House, hours: Hours) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada, _ = room.parties
    await room.ready()
    await room.sign()
    await room.through(lambda: all(stage_of(p) is Stage.COMPLETE for p in room.parties))
    room.until(room.case.not_before)
    await room.visit(ada)
    # Ada's word that it is published brings the hour into the log; Ben's device asks the desk before it gives y away.
    await room.through(room.over)
    for person in room.parties:
        assert not room.was_told(person, "release", "unlocked")


async def test_who_was_away_when_it_was_stopped_gives_no_lock_away_after_the_hour(
    house: House, hours: Hours
) -> None:
    room = await release_room(house, hours, "ada", "ben", "eve")
    ada, ben, eve = room.parties
    await room.ready()
    await room.sign()
    await room.through(lambda: all(stage_of(p) is Stage.COMPLETE for p in room.parties))
    await ada.channel.releases.act(Cue.STOP)
    await room.visit(ada, ben)
    assert stage_of(ben) is Stage.STOPPED
    sent = len(eve.line.sealed)
    room.until(room.case.not_before + 60)
    await ada.say("We stopped it.")  # the log's time is past the hour
    await room.visit(eve)
    assert room.was_told(eve, "release", "stopped")
    assert not room.was_told(eve, "release", "unlocked")
    assert secrets_of(eve) == set()
    assert len(eve.line.sealed) - sent <= 2  # what it was told, and nothing beside it
    await room.through(room.over)
    assert room.notes() == []


async def test_a_stop_comes_too_late_within_an_hour_of_the_publication(house: House, hours: Hours) -> None:
    room = await release_room(house, hours, "ada", "ben")
    await room.ready()
    await room.sign()
    await room.through(lambda: all(stage_of(p) is Stage.COMPLETE for p in room.parties))
    room.until(room.case.stop_by)
    with pytest.raises(Misuse, match="can no longer be stopped"):
        await room.parties[0].channel.releases.act(Cue.STOP)
    await room.published()


async def test_a_device_that_was_away_in_the_midst_of_the_rounds_comes_back_in_time(
    house: House, hours: Hours
) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada, ben = room.parties
    await room.appointed()
    await room.rounds(ben, until=Stage.REVEALED)
    for _ in range(3):
        room.later(300)
        await room.visit(ada)
    assert stage_of(ada) is Stage.PREPARED
    ben = room.people[1] = room.parties[1] = await house.again(ben)
    await room.rounds()
    await room.sign()
    await room.published()
    assert len(set(room.notes())) == 1


async def test_a_device_that_comes_back_after_the_sign_deadline_finds_nothing_to_sign(
    house: House, hours: Hours
) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada, ben = room.parties
    await room.appointed()
    await room.rounds(ben, until=Stage.REVEALED)
    await room.visit(ada)
    room.until(room.case.sign_by + 1)
    await room.visit(ada)
    await ada.channel.refresh_keys()  # the log's time is that of its procedure
    await room.through(room.over)
    assert not any(secrets_of(p) for p in room.parties)


async def test_a_device_that_is_away_once_all_have_signed_still_completes_in_time(
    house: House, hours: Hours
) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada, ben = room.parties
    await room.ready()
    await room.sign(ben)
    await room.sign(ada)
    await room.visit(ada)
    assert stage_of(ben) is Stage.SIGNED
    room.until(room.case.deposit_by - 30)
    await room.visit(ben)  # complete, and its share in time
    await room.published()


async def test_a_device_that_is_away_too_long_lets_it_lapse_for_all(house: House, hours: Hours) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada, ben = room.parties
    await room.ready()
    await room.sign(ben)
    await room.sign(ada)
    await room.visit(ada)
    room.until(room.case.deposit_by + 1)
    await room.through(room.over)
    assert room.notes() == []


async def test_a_lock_that_is_none_keeps_nobody_from_completing(house: House, hours: Hours) -> None:
    room = await release_room(house, hours, "ada", "ben", present=["mia"])
    (mia,) = room.people[2:]
    await room.ready()
    await room.sign()
    await room.through(lambda: all(stage_of(p) is Stage.COMPLETE for p in room.parties))
    for person in room.parties:
        person.line.before_request = no_desk
    nonce = room.case.nonce
    with mia.log.step():
        mia.log.store.outbox.add(Kind.BESIDE, events_of(Lock(nonce, b"no lock at all")), 3600, room.now() + 3600)
    await room.visit(mia)
    room.until(room.case.not_before + 1)
    await room.through(lambda: len(room.notes()) == 2)


def events_of(lock: Lock) -> bytes:
    return payload.encode_events([Beside.of(lock)])


async def test_a_desk_that_takes_no_case_is_told_to_people_and_the_case_ends(house: House, hours: Hours) -> None:
    room = await release_room(house, hours, "ada", "ben")

    def full(method: str, path: str, status: int, body: bytes) -> tuple[int, bytes]:
        if method == "POST" and path.endswith("/desk"):
            return 422, b'{"type": "urn:pourparler:problem:over-cap", "title": "", "status": 422, "detail": ""}'
        if "/desk/" in path:
            return 404, b'{"type": "urn:pourparler:problem:not-found", "title": "", "status": 404, "detail": ""}'
        return status, body

    for person in room.parties:
        person.line.rewrite = full
    await room.ready()
    await room.sign()
    await room.visit()
    assert all(room.was_told(person, "desk") for person in room.parties)
    room.until(room.case.sign_by + 1)
    await room.through(room.over)
    assert not any(secrets_of(p) for p in room.parties)


async def test_a_device_with_a_fast_clock_does_not_say_the_same_in_vain_again_and_again(
    house: House, hours: Hours
) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ben = room.parties[1]
    await room.ready()
    ben.clock.offset += 2 * SIGN
    ben.line.rewrite = desk_says("lapsed")
    sent = len(ben.line.sealed)
    for _ in range(3):
        await room.visit(ben)
    assert len(ben.line.sealed) - sent <= 2  # its own word, and a renewal of its keys
    ben.line.rewrite = None
    room.until(room.case.deposit_by + IN_VAIN)
    await room.through(room.over)
