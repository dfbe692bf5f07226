"""Attestation and the lobby as people meet them: it runs by looking in alone, and holds messages back, no longer."""

import contextlib
from dataclasses import replace

import pytest

from pourparler_clients.errors import Unreachable, Waits
from pourparler_clients.happenings import Happening
from pourparler_clients.outbox import Kind
from pourparler_clients.sealing import bucket_for
from pourparler_clients.store import Meeting, State
from pourparler_clients.testing import House, Person, breaks, time_passes
from pourparler_crypto import dpa
from pourparler_crypto.dpa import MAX_OPENINGS
from pourparler_policies import payload
from pourparler_policies.fold.events import Attested, Held
from pourparler_policies.fold.facts import Lift, Phase
from pourparler_policies.limits import DAY, HOUR
from pourparler_policies.payload import Attesting, Envelope


def said(happened: list[Happening]) -> list[str]:
    return [happening.message.text for happening in happened if happening.message is not None]


def phase(watcher: Person, person: Person) -> Phase:
    return watcher.log.consent.devices[person.device.card.fingerprint].phase


async def lobby(house: House) -> list[Person]:
    """Two who are attested, and a newcomer beside the first whom nobody has attested."""
    ada, ben = await house.room("ada", "ben")
    cleo = await house.person("cleo")
    await house.put_on_the_table(ada, cleo)
    await house.bring_in(ada, cleo)
    return [ada, ben, cleo]


# By looking in alone


async def test_three_devices_that_are_never_online_together_attest_each_other_over_days_and_restarts(
    house: House,
) -> None:
    people = await lobby(house)
    warned: list[str] = []
    for visit in range(24):
        number = visit % 3
        person = people[number] = await house.again(people[number])  # each visit is another process
        time_passes(9 * HOUR, *people)
        warned += [happening.text for happening in await person.sync() if happening.kind == "warned"]
        if all(House.settled(one) for one in people):
            break
    assert all(House.settled(one) for one in people)
    assert warned == []
    for person in people:
        assert all(phase(person, other) is Phase.PRESENT for other in people)
        await person.say(f"{person.name} speaks")
    for person in people:
        await person.sync()
        assert person.texts() == ["ada speaks", "ben speaks", "cleo speaks"]


async def test_a_run_that_lapsed_is_begun_anew_and_nobody_is_warned(house: House) -> None:
    ada, ben, cleo = people = await lobby(house)
    for person in (ada, ben, cleo, ada):  # half way
        await person.sync()
    assert phase(ada, cleo) is Phase.LOBBY
    time_passes(4 * DAY, *people)
    happened = [*await ada.sync(), *await cleo.sync()]
    await house.attest(ada)
    assert [one.text for one in happened if one.kind == "warned"] == []
    assert phase(ben, cleo) is Phase.PRESENT
    for person in people:
        for seat in person.log.consent.seats:
            assert person.log.store.openings(seat) < MAX_OPENINGS


async def test_attestation_asks_nobody_anything_and_costs_each_pair_four_steps_a_side(house: House) -> None:
    ada, *_ = people = await lobby(house)
    before = [person.log.row.count for person in people]
    await house.attest(ada)
    for person, count in zip(people, before, strict=True):
        assert person.log.row.count - count <= 8 + 2  # two pairs at most, and the word that it is done
    for person in people:
        assert {meeting.run for meeting in person.log.store.meetings().values()} == {b""}  # nothing of it is kept
        assert {meeting.queue for meeting in person.log.store.meetings().values()} == {()}


async def test_a_line_that_breaks_at_each_step_changes_nothing_but_the_time(house: House) -> None:
    ada, ben, cleo = people = await lobby(house)
    for reached in (True, False) * 8:
        for person in people:
            breaks("POST", "/entries", reached=reached)(person.line)
            with contextlib.suppress(Unreachable):
                await person.sync()
            person.line.before_request = person.line.after_answer = None
    await house.attest(ada)
    assert all(House.settled(person) for person in people)
    assert ben.log.epoch_digits() == cleo.log.epoch_digits()


# A seat that claims a card


def answers_wrongly(person: Person) -> None:
    """This device opens what it had sealed as who does not have its card's key would: with any bytes."""
    put = person.log.store.put_meeting

    def spoiled(step: bytes) -> bytes:
        return step[:-64] + b"?" * 64 if dpa.peek(step)[0] is dpa.Kind.OPENING else step

    def put_spoiled(meeting: Meeting) -> None:
        put(replace(meeting, queue=tuple(map(spoiled, meeting.queue))))

    person.log.store.put_meeting = put_spoiled  # type: ignore[method-assign]


async def test_a_device_that_cannot_answer_for_its_card_is_never_attested_and_the_others_are_warned(
    house: House,
) -> None:
    ada, ben, cleo = await lobby(house)
    answers_wrongly(cleo)
    warned: dict[str, list[str]] = {"ada": [], "ben": []}
    for _ in range(16):
        for person in (ada, ben, cleo):
            happened = await person.sync()
            if person is not cleo:
                warned[person.name] += [one.text for one in happened if one.kind == "warned"]
    for person in (ada, ben):
        assert phase(person, cleo) is Phase.LOBBY
        assert warned[person.name] == ["it did not show that it has the key of its card"] * MAX_OPENINGS
        own = person.log.consent.devices[person.device.card.fingerprint]
        assert cleo.device.card.fingerprint not in own.met
        with pytest.raises(Waits):
            await person.say(f"{person.name} waits until it is gone")
    head = ada.log.row.cursor
    for person in (ada, ben, cleo) * 2:
        await person.sync()
    assert ada.log.row.cursor == head  # after three openings nobody answers that seat any more
    await ben.channel.remove(cleo.log.row.credential)
    for person in (ada, ben, ada):
        await person.sync()
    assert sorted(ada.texts()) == ["ada waits until it is gone", "ben waits until it is gone"]


# The lobby


async def test_what_is_said_while_the_channel_is_founded_waits_in_order_and_is_sent_by_itself(
    house: House,
) -> None:
    ada, ben, cleo = await house.opened("ada", "ben", "cleo")
    sent = len(ada.line.sealed)
    for text in ("one", "two"):
        with pytest.raises(Waits, match="being founded"):
            await ada.say(text)
    assert len(ada.line.sealed) == sent
    assert ada.waiting() == ["one", "two"]
    await house.seat(ada, ben)
    with pytest.raises(Waits, match="being founded"):
        await ben.say("three")
    ada = await house.again(ada)
    assert ada.texts() == ben.texts() == []
    await house.seat(ben, cleo)
    for person in (ada, ben, cleo, ada, ben):
        await person.sync()
    for person in (ada, ben, cleo):
        assert sorted(person.texts()) == ["one", "three", "two"]
        assert person.texts().index("one") < person.texts().index("two")
        assert person.waiting() == []


async def test_while_a_newcomer_is_unattested_what_anybody_says_waits_and_then_is_sent_by_itself(
    house: House,
) -> None:
    ada, *_ = people = await lobby(house)
    for person in people:
        with pytest.raises(Waits):
            await person.say(f"{person.name} speaks")
    assert [person.texts() for person in people] == [[], [], []]
    await house.attest(ada)
    for person in people:
        await person.sync()
    for person in people:
        assert sorted(person.texts()) == ["ada speaks", "ben speaks", "cleo speaks"]
        assert person.waiting() == []


async def test_what_waits_ends_with_its_life_as_if_it_had_been_said(house: House) -> None:
    ada, ben = await house.opened("ada", "ben")
    with pytest.raises(Waits):
        await ada.say("soon over", life=60)
    with pytest.raises(Waits):
        await ada.say("lasts")
    time_passes(61, ada, ben)
    ada.device.purge()
    assert ada.waiting() == ["lasts"]
    await house.seat(ada, ben)
    await ada.sync()
    await ben.sync()
    assert ada.texts() == ben.texts() == ["lasts"]


async def returned(house: House) -> list[Person]:
    """Cleo, of a third party, has come back; Ada and she have attested each other, Ben has not looked in."""
    ada, ben, cleo = await house.room("ada", "ben", "cleo")
    seat = cleo.log.consent.devices[cleo.device.card.fingerprint].seat
    await cleo.channel.do(Held(seat))
    await ada.sync()
    await cleo.sync()
    await ada.channel.propose(Lift(seat))
    await ben.sync()
    await house.bring_in(ada, cleo)
    for _ in range(8):
        await ada.sync()
        await cleo.sync()
    assert phase(ada, cleo) is Phase.PRESENT
    return [ada, ben, cleo]


async def test_who_has_not_attested_a_returned_device_is_shown_nothing_until_it_has_and_then_everything(
    house: House,
) -> None:
    ada, ben, cleo = await returned(house)
    await ada.say("one")  # her side has attested cleo: it counts
    await cleo.say("two")
    assert said(await ben.sync()) == []
    assert ben.texts() == []
    with pytest.raises(Waits):
        await ben.say("three")
    ben = await house.again(ben)  # what is held back outlives a restart
    told: list[str] = []
    for _ in range(8):
        for person in (cleo, ada):
            await person.sync()
        told += said(await ben.sync())
    assert told == ["one", "two", "three"]
    for person in (ada, cleo, ben):
        await person.sync()
        assert person.texts() == ["one", "two", "three"]


async def test_what_was_held_back_ends_with_its_life_unread(house: House) -> None:
    ada, ben, _ = people = await returned(house)
    await ada.say("soon over", life=60)
    await ada.say("lasts")
    await ben.sync()
    time_passes(61, *people)
    ben.device.purge()
    await house.attest(ada)
    assert ben.texts() == ["lasts"]


# Who does not count


async def test_word_of_an_unattested_device_that_somebody_is_attested_lets_nobody_in(house: House) -> None:
    ada, ben, cleo = await lobby(house)
    # Cleo, whom nobody has attested, says that she has attested everybody: that counts for her own meeting alone.
    for person in (ada, ben):
        await cleo.channel.do(Attested(person.log.row.credential))
    await ada.sync()
    assert phase(ada, cleo) is Phase.LOBBY


async def test_steps_that_fit_nothing_are_ignored(house: House) -> None:
    ada, ben, cleo = await lobby(house)
    junk = [bytes(50), b"\x01" + bytes(1185), b"\xff" * 82, b"\x03\x00" + bytes(48)]
    log = cleo.log
    events: list[payload.Event] = [Attesting(peer=ada.log.row.credential, step=step) for step in junk]
    data = payload.encode(Envelope(seq=log.chain.seq, chain=log.chain.head, events=events))
    with log.step():
        sealed, changes = log.group.encrypt(data, pad_to=bucket_for)
        log.store.change_records(changes)
        cleo.channel.sealer._put(Kind.ATTESTING, sealed, data, handshake=False, life=DAY, draft=None)
    await cleo.sync()
    await house.attest(ada)
    assert (ada.state, ben.state) == (State.OPEN, State.OPEN)
    assert phase(ben, cleo) is Phase.PRESENT
