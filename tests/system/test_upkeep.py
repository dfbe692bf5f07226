"""What devices owe a channel they do by themselves, whoever comes first; and none of it delays what people say."""

from dataclasses import replace

import pytest

from pourparler_clients.errors import PourparlerError, Refused, Unreachable, UserError
from pourparler_clients.happenings import Happening
from pourparler_clients.store import State
from pourparler_clients.testing import House, Person, breaks, time_passes
from pourparler_policies.fold import subject_digest
from pourparler_policies.fold.events import Approved, Held
from pourparler_policies.fold.facts import Amend, Device, Lift, Phase, Recess
from pourparler_policies.limits import DAY, HOUR


def of(watcher: Person, person: Person) -> Device:
    """How the watcher's fold has a person's device."""
    return watcher.log.consent.devices[person.device.card.fingerprint]


def names(person: Person) -> list[str]:
    return sorted(member.name for member in person.log.members.values())


def counted(person: Person) -> dict[bytes, int]:
    """How many events of the procedure each card's device has posted."""
    return {card: device.counter for card, device in person.log.consent.devices.items()}


def kinds(happened: list[Happening]) -> list[str]:
    return [happening.kind for happening in happened]


async def rounds(*people: Person, count: int = 2) -> None:
    for _ in range(count):
        for person in people:
            await person.sync()


# Leavers


@pytest.mark.parametrize("first", [0, 1])
async def test_whoever_comes_first_takes_a_leaver_out_without_being_asked(first: int, house: House) -> None:
    *others, cleo = await house.room("ada", "ben", "cleo")
    await cleo.channel.leave()
    assert cleo.device.channels() == []
    epoch = others[first].log.group.epoch
    await others[first].sync()
    assert names(others[first]) == ["ada", "ben"]
    await others[1 - first].sync()
    for person in others:
        assert names(person) == ["ada", "ben"]
        assert person.log.group.epoch == epoch + 1  # once


async def test_who_is_on_hold_is_taken_out_erases_everything_and_comes_back_without_approvals(
    house: House,
) -> None:
    ada, ben = await house.room("ada", "ben")
    cleo = await house.person("cleo")
    await house.seat(ada, cleo)  # beside ada
    await ada.say("before")
    await rounds(cleo, ben)
    await ada.channel.do(Held(of(ada, cleo).seat))
    await ben.sync()  # it need not be their own side that removes the leaf
    assert names(ben) == ["ada", "ben"]
    assert of(ben, cleo).phase is Phase.HELD
    assert kinds(await cleo.sync())[-1] == "removed"
    assert cleo.device.channels() == []
    await ada.say("without her")
    await ada.channel.propose(Lift(of(ada, cleo).seat))
    await rounds(ada, ben)
    assert of(ben, cleo).phase is Phase.AWAY
    await house.bring_in(ben, cleo)
    await house.attest(ada)
    await cleo.say("back")
    await rounds(ada, ben)
    assert ada.texts() == ben.texts() == ["before", "without her", "back"]
    assert cleo.texts() == ["back"]


# Absence


ABSENCE = {"absence": 30 * DAY, "notice": HOUR}


async def test_who_is_silent_is_voted_absent_by_the_clock_of_each_and_removed_after_the_notice(
    house: House,
) -> None:
    ada, ben, cleo = everybody = await house.room("ada", "ben", "cleo", **ABSENCE)
    time_passes(20 * DAY, *everybody)
    await rounds(ada, ben)  # they only look in, and so are heard of
    time_passes(11 * DAY, *everybody)
    await rounds(ada, ben)
    assert set(of(ada, cleo).absent) == {"side-0", "side-1"}
    assert of(ada, ben).absent == of(ben, ada).absent == {}
    head = ada.log.row.cursor
    await rounds(ada, ben)
    assert ada.log.row.cursor == head  # nobody votes twice, and nobody removes before the notice has passed
    assert names(ada) == ["ada", "ben", "cleo"]
    time_passes(2 * HOUR, *everybody)
    await ada.say("life goes on")
    await rounds(ada, ben)
    for person in (ada, ben):
        assert names(person) == ["ada", "ben"]
        assert of(person, cleo).phase is Phase.AWAY
        assert person.texts() == ["life goes on"]
        assert person.state is State.OPEN


async def test_whoever_was_removed_for_absence_comes_back_without_approvals(house: House) -> None:
    ada, ben = everybody = await house.room("ada", "ben", **ABSENCE)
    await ada.say("before")
    await ben.sync()
    assert await ben.device.invitee()._has_place(
        ben.log.row
    )  # whoever has a seat keeps it, whatever a welcome says
    time_passes(31 * DAY, *everybody)
    await ada.sync()
    time_passes(2 * HOUR, *everybody)
    await ada.say("alone, for now")
    assert names(ada) == ["ada"]
    with pytest.raises(Refused, match="ask the others to seat you again"):
        await ben.sync()  # its token has ended with its leaf: it cannot see how
    await house.bring_in(ada, ben)
    await house.attest(ada)
    await ben.say("I was on a ship")
    await ada.sync()
    assert ada.texts() == ["alone, for now", "I was on a ship"]
    assert ben.texts() == ["I was on a ship"]
    ben = await house.again(ben)
    assert ben.texts() == ["I was on a ship"]


async def test_whoever_is_back_within_the_notice_undoes_the_votes_by_being_there(house: House) -> None:
    ada, ben, cleo = everybody = await house.room("ada", "ben", "cleo", **ABSENCE)
    time_passes(20 * DAY, *everybody)
    await rounds(ada, ben)
    time_passes(11 * DAY, *everybody)
    await rounds(ada, ben)
    assert len(of(ada, cleo).absent) == 2
    await cleo.sync()  # only to read
    assert of(cleo, cleo).absent == {}
    time_passes(2 * HOUR, *everybody)
    await ada.say("still three")
    await rounds(ada, ben)
    assert names(ben) == ["ada", "ben", "cleo"]


async def test_who_only_reads_is_not_found_absent(house: House) -> None:
    ada, ben = everybody = await house.room("ada", "ben", **ABSENCE)
    time_passes(10 * DAY, *everybody)
    epoch = ben.log.group.epoch
    await rounds(ben, ben)
    assert ben.log.group.epoch == epoch + 1  # on the charter's schedule, not at every visit
    for _ in range(5):
        time_passes(16 * DAY, *everybody)
        await rounds(ada, ben)
    for person in everybody:
        assert names(person) == ["ada", "ben"]
        assert {device.phase for device in person.log.consent.devices.values()} == {Phase.PRESENT}
        assert all(not device.absent for device in person.log.consent.devices.values())


async def test_a_clock_that_is_far_ahead_votes_and_removes_nobody(house: House) -> None:
    ada, ben = await house.room("ada", "ben", **ABSENCE)
    ada.clock.offset = 400 * DAY
    assert kinds(await ada.sync()) == ["halted"]  # it must have been away for long: it believes nothing more
    ada.log.resume()  # but she knows better: it is the clock
    await ada.sync()
    assert of(ada, ben).absent == {"side-0": of(ada, ben).absent["side-0"]}
    with pytest.raises(UserError, match="clock"):
        await ada.say("what a long time")  # there are no keys yet for what would end then
    await rounds(ada, ada)  # its removals, for which the notice has not passed, are void for everybody
    assert names(ada) == ["ada", "ben"]
    await ben.sync()
    assert (ben.state, ben.texts()) == (State.OPEN, [])
    await ben.say("here I am")
    await rounds(ada, ben)
    assert ben.texts() == ["here I am"]
    for person in (ada, ben):
        assert person.state is State.OPEN
        assert names(person) == ["ada", "ben"]


async def test_nobody_is_found_absent_during_a_recess(house: House) -> None:
    ada, ben = await house.room("ada", "ben", **ABSENCE)
    await house.agree(ada, Recess(ada.device.clock() + 60 * DAY))
    assert ada.log.consent.recess
    ada.clock.offset = 45 * DAY
    await rounds(ada)
    assert of(ada, ben).absent == {}


# What everybody has agreed to


@pytest.mark.parametrize("first", [0, 1, 2])
async def test_what_is_agreed_takes_effect_once_by_whoever_comes_first(first: int, house: House) -> None:
    people = await house.room("ada", "ben", "cleo")
    ada, ben, cleo = people
    subject = Recess(ada.device.clock() + 60 * DAY)
    digest = await ada.channel.propose(subject)
    await ben.channel.do(Approved(digest))
    # Cleo's approval arrives, and her device dies before it can do more.
    breaks("POST", "/entries", reached=True)(cleo.line)
    with pytest.raises(Unreachable):
        await cleo.channel.do(Approved(digest))
    cleo = await house.again(cleo)
    people = [ada, ben, cleo]
    assert not ada.log.consent.recess
    await people[first].sync()
    assert people[first].log.consent.recess == subject.until
    counters = counted(people[first])
    await rounds(*people)
    for person in people:
        assert person.log.consent.recess == subject.until
        assert person.log.consent.open == {}
        assert counted(person) == counters  # once


async def test_an_amendment_is_put_in_force_by_whoever_comes_first_and_rules_from_then_on(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    shorter = replace(ada.log.charter, retention=replace(ada.log.charter.retention, messages=HOUR))
    await ada.channel.propose(Amend(shorter.encode()))
    await ben.sync()
    (digest,) = ben.log.consent.open
    await ben.channel.do(Approved(digest))
    happened = await ada.sync()
    assert "amended" in kinds(happened + await ada.sync())
    await ben.sync()
    for person in (ada, ben):
        assert person.log.charter == shorter
        assert person.log.group.extensions[0][1] == shorter.hash
        with pytest.raises(UserError, match=f"1 to {HOUR} seconds"):
            await person.say("too long", life=HOUR + 1)
    ada = await house.again(ada)
    assert ada.log.charter == shorter
    await ada.say("under the new one")
    await ben.sync()
    (message,) = ben.log.store.messages.shown(ben.device.clock())
    assert message.expires_at - message.received_at == HOUR


# Budgets


async def test_a_spent_budget_delays_what_a_device_owes_and_nothing_that_people_say(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    subject = Recess(ada.device.clock() + 60 * DAY)
    await ben.channel.propose(subject)
    digest = subject_digest(ben.log.consent.rules, subject)
    await ben.spend_handshakes()
    breaks("POST", "/entries", reached=True)(ada.line)
    with pytest.raises(Unreachable):
        await ada.channel.do(Approved(digest))
    for text in ("one", "two"):
        await ben.say(text)  # ben owes the enactment, and cannot pay
    assert ben.texts() == ["one", "two"]
    assert not ben.log.consent.recess
    assert ben.waiting() == []
    ada.line.after_answer = None
    await rounds(ada, ben)
    for person in (ada, ben):
        assert person.log.consent.recess == subject.until
        assert person.texts() == []  # a recess ends what was said before


async def test_what_a_person_does_beyond_the_budget_is_refused_and_does_not_happen_later(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ben.spend_handshakes()
    with pytest.raises(PourparlerError, match="too many changes"):
        await ben.channel.propose(Recess(ben.device.clock() + DAY))
    assert ben.log.store.outbox.waiting() == 0
    await ben.say("all the same")
    await ada.sync()
    assert (ada.texts(), ada.log.consent.open) == (["all the same"], {})
