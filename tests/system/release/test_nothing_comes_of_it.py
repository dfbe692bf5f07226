"""Whoever withdraws, or never signs: nothing is left, nothing says who, and a second appointment can follow."""

from pathlib import Path

import httpx
import pytest

from pourparler_clients.errors import Unreachable, UserError
from pourparler_clients.examine import files_below, found
from pourparler_clients.signing_testing import (
    HOUR,
    Hours,
    Signing,
    desk_says,
    left_in,
    release_room,
    secrets_of,
    stage_of,
    text_between,
)
from pourparler_clients.testing import House, Person
from pourparler_policies.errors import Misuse
from pourparler_policies.release.device import Cue, Stage
from pourparler_policies.release.facts import GRACE


async def second_appointment(room: Signing) -> None:
    """The same initials carry another appointment, and that one completes."""
    assert len(room.held.initials) == len(room.parties)
    await room.appoint()
    await room.rounds()
    await room.sign()
    await room.published()
    assert len(room.notes()) == len(room.parties)
    assert len(set(room.notes())) == 1


def later_text(room: Signing) -> None:
    """A text whose hour leaves time for two appointments."""
    room.text = text_between(room.parties, room.now() + 3 * HOUR)


@pytest.mark.parametrize("signs_first", [False, True], ids=["before signing", "after signing"])
async def test_a_withdrawal_lapses_leaves_nothing_and_a_second_appointment_completes(
    house: House, hours: Hours, data: Path, tmp_path: Path, signs_first: bool
) -> None:
    room = await release_room(house, hours, "ada", "ben", "eve")
    ada, ben, eve = room.parties
    later_text(room)
    await room.ready()
    secrets = {person.name: secrets_of(person) for person in room.parties}
    assert all(len(held) == 2 for held in secrets.values())
    assert all(
        left_in(p, secrets[p.name], tmp_path / f"{p.name}-before") for p in room.parties
    )  # the search works
    await room.sign(ada, *([ben] if signs_first else []))
    await ben.channel.releases.act(Cue.WITHDRAW)
    # Its lock is gone at once, and from the journal too.
    assert left_in(ben, secrets["ben"], tmp_path / "ben-withdrew") <= secrets_mask(room, ben, secrets)
    await room.sign(eve)
    await room.visit()
    await room.lapsed()
    everything = set().union(*secrets.values())
    for person in room.parties:
        assert not left_in(person, everything, tmp_path / f"{person.name}-after")
    assert not found(everything, files_below(data))
    # Nobody was told who; each was told the same.
    assert {one.text for p in (ada, eve) for one in room.told[p.name] if one.kind == "lapsed"} == {""}
    assert all(room.was_told(person, "lapsed") for person in room.parties)
    assert not any(
        one.member is ben for p in (ada, eve) for one in room.told[p.name] if one.kind in ("release", "lapsed")
    )
    await second_appointment(room)


def secrets_mask(room: Signing, person: Person, secrets: dict[str, set[bytes]]) -> set[bytes]:
    """Of what a device held, the one secret by which its withdrawal shows whose word it is."""
    kept = person.log.signing.kept
    return {one for one in secrets[person.name] if kept is not None and one in kept.masks}


async def test_somebody_never_signs_and_all_devices_do_the_same(
    house: House, hours: Hours, tmp_path: Path
) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada, _ = room.parties
    later_text(room)
    await room.ready()
    await room.sign(ada)
    await room.lapsed()
    assert room.notes() == []
    assert {stage_of(person) for person in room.parties} == {None}
    await second_appointment(room)


def only_withdrawal_is_lost(method: str, path: str) -> None:
    if path.endswith("/withdrawal"):
        raise httpx.ReadError("the line broke")


async def test_who_withdraws_too_late_does_outside_what_the_others_do(house: House, hours: Hours) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada, ben = room.parties
    await room.ready()
    await room.sign(ben)
    ben.line.before_request = only_withdrawal_is_lost
    await ben.channel.releases.act(Cue.WITHDRAW)
    assert stage_of(ben) is Stage.WITHDRAWN
    await room.sign(ada)
    await room.through(lambda: stage_of(ada) is Stage.COMPLETE)
    ben.line.before_request = None
    await room.through(lambda: stage_of(ben) is Stage.TOO_LATE)
    await room.visit()
    # In the log both have said that they saw every d, and have passed it on.
    assert [signer.complete for signer in room.case.signers.values()] == [True, True]
    assert ben.log.signing.kept is not None
    assert secrets_of(ben) == set()
    room.until(room.case.deposit_by)
    await room.through(room.over)
    assert room.notes() == []


async def test_a_word_is_taken_back_without_a_service_and_reaches_the_desk_later(
    house: House, hours: Hours
) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada, ben = room.parties
    await room.ready()
    await room.sign(ben)

    def dead(method: str, path: str) -> None:
        raise httpx.ConnectError("no line")

    ben.line.before_request = dead
    with pytest.raises(Unreachable, match="done on this device"):
        await ben.channel.releases.act(Cue.WITHDRAW)
    assert stage_of(ben) is Stage.WITHDRAWN
    assert secrets_of(ben) == set()
    ben.line.before_request = None
    await room.visit(ben)
    await room.sign(ada)
    await room.visit()
    assert stage_of(ada) is Stage.SIGNED  # the desk has all words but one, and says so to nobody
    await room.lapsed()


async def test_what_is_over_is_erased_by_the_devices_own_clock_without_any_service(
    house: House, hours: Hours, tmp_path: Path
) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada, _ = room.parties
    await room.ready()
    await room.sign(ada)
    held = secrets_of(ada)
    ada.clock.offset += room.case.not_before + GRACE - room.now()
    ada.device.purge()
    assert ada.log.signing.kept is None
    assert not left_in(ada, held, tmp_path / "over")
    with pytest.raises((UserError, Misuse)):
        await ada.channel.releases.act(Cue.SIGN)


@pytest.mark.parametrize("cue", [Cue.AGREE, Cue.REFUSE])
async def test_told_lapsed_and_complete_after_all_the_person_is_asked_again(
    house: House, hours: Hours, cue: Cue
) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada, ben = room.parties
    await room.ready()
    await room.sign(ben)
    ben.line.rewrite = desk_says("lapsed")  # a desk that does not say the same to all
    await room.visit(ben)
    assert stage_of(ben) is Stage.WAITING
    await room.sign(ada)
    await room.through(lambda: stage_of(ben) is Stage.AGAIN)
    assert room.was_told(ben, "release", "asked again")
    assert stage_of(ada) is Stage.COMPLETE
    ben.line.rewrite = None
    await ben.channel.releases.act(cue)
    if cue is Cue.AGREE:
        await room.published()
        assert len(set(room.notes())) == 1
    else:
        assert secrets_of(ben) == set()
        room.until(room.case.deposit_by)
        await room.through(room.over)
        assert room.notes() == []
