"""An inviter who tells the newcomer something else than the truth: it is noticed, and deceives nobody for long."""

import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from pourparler_clients.errors import Halted, Refused, UserError
from pourparler_clients.forging import go_on, lying_welcome, settle
from pourparler_clients.store import State
from pourparler_clients.testing import House, Person
from pourparler_policies.charter import decode as decode_charter
from pourparler_policies.fold import subject_digest
from pourparler_policies.fold.encoding import encode
from pourparler_policies.fold.facts import Close, Open, Phase
from pourparler_policies.fold.facts import State as Consent
from pourparler_policies.invitation import Welcome
from pourparler_policies.release.decoding import decode_state

Lie = Callable[[Welcome], Welcome]


def state(change: Callable[[Consent], Consent]) -> Lie:
    def lie(told: Welcome) -> Welcome:
        folded = decode_state(told.state)
        return told.model_copy(update={"state": encode(replace(folded, consent=change(folded.consent)))})

    return lie


def approved(held: Consent) -> Consent:
    """Everybody has approved that the channel ends."""
    digest = subject_digest(held.rules, Close())
    return replace(held, open={**held.open, digest: Open(Close(), "side-0", dict.fromkeys(held.seats, True))})


def absent(held: Consent) -> Consent:
    """The first party has voted everybody else absent, long ago."""
    voted = {card: replace(one, absent={"side-0": 1}) for card, one in held.devices.items()}
    return replace(held, devices=voted)


def silenced(held: Consent) -> Consent:
    """All but one party have complained: nobody has to be waited for."""
    first, *others = held.devices.values()
    return replace(
        held,
        devices={first.card: first, **{one.card: replace(one, phase=Phase.STRANDED) for one in others}},
    )


def swapped(told: Welcome) -> Welcome:
    one, two, *others = told.members
    members = [one.model_copy(update={"device": two.device}), two.model_copy(update={"device": one.device})]
    return told.model_copy(update={"members": [*members, *others]})


def other_keys(told: Welcome) -> Welcome:
    first, *others = told.members
    return told.model_copy(update={"members": [first.model_copy(update={"keys": [os.urandom(32)]}), *others]})


def other_complaint_keys(told: Welcome) -> Welcome:
    return told.model_copy(update={"complaints": [(epoch, os.urandom(32)) for epoch, _ in told.complaints]})


NOTICED: dict[str, Lie] = {
    "approvals": state(approved),
    "votes of absence": state(absent),
    "the numbers of devices": swapped,
    "leaf keys": other_keys,
    "complaint keys": other_complaint_keys,
    "the running hash": lambda told: told.model_copy(update={"chain": os.urandom(32)}),
}


async def invited(house: House, lie: Lie) -> tuple[Person, Person, Person, Person]:
    ada, ben, mal = await house.room("ada", "ben", "mal")
    dan = await house.person("dan")
    await house.put_on_the_table(mal, dan)
    with lying_welcome(lie):
        await house.bring_in(mal, dan)
    return ada, ben, mal, dan


@pytest.mark.parametrize("what", NOTICED)
async def test_a_newcomer_who_was_told_otherwise_stops_at_the_first_word_of_an_honest_member(
    what: str, house: House
) -> None:
    ada, ben, mal, dan = await invited(house, NOTICED[what])
    await dan.sync()  # its first step, under the stamp of what it was told
    told = await settle(ada, ben, dan, rounds=2)
    assert "warned" in told[0]  # honest members hear of it, and are not stopped
    assert "alarm" in told[2]
    assert (ada.state, dan.state) == (State.OPEN, State.ALARM)
    with pytest.raises(Halted):
        await dan.say("I would not speak to whom I do not know.")
    assert dan.texts() == []
    await ada.channel.remove(ada.log.consent.devices[dan.device.card.fingerprint].credential)
    await go_on(ada, ben, mal)
    with pytest.raises(Refused, match="ask the others to seat you again"):
        await dan.sync()
    await house.seat(ben, dan)
    await go_on(ada, ben, mal, dan)


async def test_a_newcomer_who_was_told_the_truth_is_seated_by_the_same_inviter(house: House) -> None:
    """The control of the test above."""
    ada, ben, mal, dan = await invited(house, lambda told: told)
    await dan.sync()
    await house.attest(ada)
    await go_on(ada, ben, mal, dan)


def without_a_member(told: Welcome) -> Welcome:
    return told.model_copy(update={"members": told.members[1:]})


def other_cards(told: Welcome) -> Welcome:
    one, two, *others = told.members
    card = {"name": two.name, "public": two.public, "fingerprint": two.fingerprint}
    return told.model_copy(update={"members": [one.model_copy(update=card), two, *others]})


def other_charter(told: Welcome) -> Welcome:
    charter = replace(decode_charter(told.charter), purpose="Something else.")
    return told.model_copy(update={"charter": charter.encode()})


def ended(held: Consent) -> Consent:
    return replace(held, closed=True)


def torn(held: Consent) -> Consent:
    """Devices of seats that are not there: no fold makes such a state, and some rule would stumble over it."""
    return replace(held, seats=dict(list(held.seats.items())[:1]))


def objected_by_nobody(held: Consent) -> Consent:
    digest = subject_digest(held.rules, Close())
    return replace(held, open={digest: Open(Close(), "side-0", {}, frozenset({os.urandom(32)}))})


REFUSED: dict[str, Lie] = {
    "a member is missing": without_a_member,
    "cards": other_cards,
    "charter": other_charter,
    "a channel that is closed": state(ended),
    "devices without seats": state(torn),
    "objections of nobody": state(objected_by_nobody),
    "a state that is none": lambda told: told.model_copy(update={"state": b"d\0\0\0\1"}),
    "other rules": state(lambda held: replace(held, rules=replace(held.rules, notice=1))),
    "keys of epochs to come": lambda told: told.model_copy(update={"complaints": [(2**60, os.urandom(32))]}),
    "keys of no epoch": lambda told: told.model_copy(update={"complaints": [(-1, os.urandom(32))]}),
    "phases": state(silenced),
    "another ground": lambda told: told.model_copy(
        update={"seated": told.seated.model_copy(update={"digest": os.urandom(32)})}
    ),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_welcome_that_contradicts_itself_is_refused_in_one_sentence_and_leaves_nothing(
    what: str, house: House
) -> None:
    ada, ben = await house.room("ada", "ben")
    dan = await house.person("dan")
    await house.put_on_the_table(ben, dan)
    with lying_welcome(REFUSED[what]), pytest.raises(UserError, match=r"wrong|not the one you accepted"):
        await house.bring_in(ben, dan)
    assert dan.device.all_channels() == []
    assert dan.device.invitee().pending() == []
    await ada.sync()
    await ada.channel.remove(ada.log.consent.devices[dan.device.card.fingerprint].credential)
    await go_on(ada, ben)
