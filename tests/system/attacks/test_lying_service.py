"""A service that reorders, withholds, re-dates or forks the procedure, and junk: it seats nobody, and it shows."""

import os

import pytest

from pourparler_clients.errors import Halted, Refused
from pourparler_clients.forging import Hostile, check_agreement, go_on, new_leaf, redate, settle, swap, withhold
from pourparler_clients.store import State
from pourparler_clients.testing import House, Person
from pourparler_clients.troubles import FORKED
from pourparler_policies.charter.rules import Role
from pourparler_policies.fold.events import Approved, Ground, Proposed, Withdrawn
from pourparler_policies.fold.facts import Admit, Recess
from pourparler_policies.limits import BUCKETS, DAY, HANDSHAKE_BURST
from pourparler_policies.wire import Problem


async def caught(*victims: Person) -> None:
    """Told in one sentence, and nothing is sent any more."""
    for victim in victims:
        assert victim.state is State.ALARM
        assert victim.log.row.trouble.startswith(FORKED)
        with pytest.raises(Halted, match="another course of events"):
            await victim.say("not to be sent")


async def test_a_withheld_withdrawal_seats_nobody_and_is_caught_at_the_add(house: House) -> None:
    """The service hides from the inviter that Ada has withdrawn. Its Add is void for all who saw it."""
    ada, ben, cleo = await house.room("ada", "ben", "cleo")
    dan = await house.person("dan")
    own = ben.log.consent.seats[ben.log.consent.devices[ben.device.card.fingerprint].seat]
    digest = await ben.channel.propose(Admit(own.body, Role.DELEGATE, dan.device.card.fingerprint))
    for person in (ada, cleo):
        await person.sync()
        await person.channel.do(Approved(digest))
    await ben.sync()
    await ada.channel.do(Withdrawn(digest))
    ben.line.rewrite = withhold(ada.log.row.cursor)
    epoch = ada.log.group.epoch
    await Hostile(ben).add(new_leaf(), dan.device.card, Ground.ADMISSION, digest)  # as an honest inviter would
    for person in (ada, cleo):
        assert "alarm" in [one.kind for one in await person.sync()]
        assert person.log.group.epoch == epoch
        assert dan.device.card.fingerprint not in person.log.consent.devices
    await caught(ada, cleo)


@pytest.mark.parametrize("lie", ["withheld", "reordered", "re-dated"])
async def test_a_procedure_shown_otherwise_to_one_is_caught_at_the_next_word_and_the_rest_can_go_on(
    lie: str, house: House
) -> None:
    ada, ben, cleo = await house.room("ada", "ben", "cleo")
    await settle(ada, ben, cleo, rounds=1)
    first = ada.log.row.cursor + 1
    lies = {"withheld": withhold(first), "reordered": swap(first), "re-dated": redate(first, 3600)}
    ben.line.rewrite = lies[lie]
    digest = await ada.channel.propose(Recess(ada.clock() + 9 * DAY), confirm=None)
    await ada.channel.do(Approved(digest))
    told = await ben.sync()
    if lie == "withheld":
        assert digest not in ben.log.consent.open
    await ada.say("Shall we pause?")
    assert "alarm" in [one.kind for one in (*told, *await ben.sync())]
    await caught(ben)
    assert "Shall we pause?" in ben.texts()  # reading goes on
    await go_on(ada, cleo)
    assert ben.log.epoch_digits() != ada.log.epoch_digits()  # what people compare by voice


async def test_times_that_run_backwards_alarm_and_make_nothing_older(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    ben.line.rewrite = redate(ada.log.row.cursor + 1, -DAY)
    time = ben.log.consent.time
    await ada.channel.propose(Recess(ada.clock() + 9 * DAY))
    assert "alarm" in [one.kind for one in await ben.sync()]
    assert ben.log.consent.time == time
    await caught(ben)


async def test_junk_handshakes_cost_their_author_its_budget_and_nobody_else_anything(house: House) -> None:
    ada, ben, mal = await house.room("ada", "ben", "mal")
    hostile = Hostile(mal)
    with pytest.raises(Refused) as refusal:
        for number in range(2 * HANDSHAKE_BURST):
            await hostile.post(os.urandom(BUCKETS[number % 2]), handshake=True)
    assert refusal.value.problem is Problem.BUDGET
    told = await settle(ada, ben)
    assert told == [[], []]
    await ada.channel.refresh_keys()
    await ben.channel.propose(Recess(ben.clock() + 9 * DAY))
    await settle(ada, ben)
    check_agreement(ada, ben)
    await ada.say("We are still here.")
    await ben.sync()
    assert ben.texts() == ["We are still here."]


async def test_an_entry_shown_to_one_half_alone_splits_no_membership(house: House) -> None:
    """Whoever acts on what only it was shown is alone with it, and everybody hears of it."""
    ada, ben, cleo = await house.room("ada", "ben", "cleo")
    await settle(ada, ben, cleo, rounds=1)
    hidden = ada.log.row.cursor + 1
    await ada.channel.refresh_keys()
    ben.line.rewrite = withhold(hidden)
    cleo.line.rewrite = withhold(hidden)
    for person in (ben, cleo):
        await person.sync()
    await Hostile(ben).act(Proposed(Recess(ben.clock() + 9 * DAY)))  # in the epoch that has ended
    await settle(ada, rounds=1)
    assert ada.log.consent.open == {}
    await ada.say("Do you follow?")
    for person in (ben, cleo):
        assert "alarm" in [one.kind for one in await person.sync()]
    await caught(ben, cleo)


async def test_a_clock_set_back_while_an_attestation_goes_on_stops_nothing(house: House) -> None:
    """It once ended in a traceback at every visit, until the time had come round again."""
    ada, ben = [await house.person(name) for name in ("ada", "ben")]
    await house.found(ada, ben)
    await house.put_on_the_table(ada, ben)
    await house.bring_in(ada, ben)
    for person in (ada, ben, ada):
        await person.sync()
    for person in (ada, ben):
        person.clock.offset = -3600
    await house.attest(ada)
    await go_on(ada, ben)
