"""A commit that one device alone cannot process: it halts, complains under a key that all share, is seated again."""

import os

import pytest

from pourparler_clients.errors import Halted, Unreachable
from pourparler_clients.forging import Hostile, check_agreement, go_on, new_leaf, settle
from pourparler_clients.store import State
from pourparler_clients.testing import House, Person, breaks
from pourparler_clients.troubles import UNPROCESSABLE
from pourparler_crypto import complaint
from pourparler_policies.fold.events import Ground
from pourparler_policies.fold.facts import Phase


def phase(person: Person, of: Person) -> Phase:
    """Where a card stands, as that person's device has it."""
    return person.log.consent.devices[of.device.card.fingerprint].phase


async def trio(house: House) -> tuple[Person, Person, Person]:
    """Ben is Mal's neighbour in the tree, so a path can be wrong for him alone."""
    mal, ben, ada = await house.room("mal", "ben", "ada")
    return mal, ben, ada


@pytest.mark.parametrize("answer", ["arrives", "is lost"])
async def test_a_device_whose_path_was_broken_complains_and_is_seated_again_without_approvals(
    answer: str, house: House
) -> None:
    mal, ben, ada = await trio(house)
    await Hostile(mal).break_path(ben)
    epoch = ada.log.group.epoch
    await ada.sync()
    assert ada.log.group.epoch == epoch + 1  # the others could not see that anything was wrong
    if answer == "is lost":
        breaks("POST", "/entries", reached=True)(ben.line)
        with pytest.raises(Unreachable):
            await ben.sync()
    assert (await settle(ben)) == [["halted"]]
    assert (ben.state, ben.log.row.trouble) == (State.HALTED, UNPROCESSABLE)
    with pytest.raises(Halted, match="invite your card again"):
        await ben.say("Can you hear me?")
    told = (await settle(ada, mal))[0]
    assert "stranded" in told
    assert phase(ada, ben) is Phase.AWAY
    check_agreement(ada, mal)
    await house.seat(ada, ben)
    await go_on(ada, mal, ben)


async def test_a_complaint_seats_a_card_once_and_counts_once(house: House) -> None:
    mal, ben, ada = await trio(house)
    await Hostile(mal).break_path(ben)
    await settle(ben, ada, mal)
    said = next(sealed for sealed in ben.line.sealed if complaint.is_complaint(sealed))
    await house.seat(ada, ben)
    await Hostile(mal).post(said, handshake=True)  # the same complaint again
    await settle(ada, ben, mal, rounds=1)
    assert phase(ada, ben) is Phase.PRESENT
    epoch = ada.log.group.epoch
    await Hostile(mal).add(new_leaf(), ben.device.card, Ground.RETURN)
    await settle(ada, ben, rounds=1)
    assert ada.log.group.epoch == epoch
    await go_on(ada, ben, mal)


async def test_a_complaint_in_anothers_name_counts_for_nothing(house: House) -> None:
    """Every member has the key that seals complaints; the leaf's own key signs them."""
    mal, ben, ada = await trio(house)
    log, victim = mal.log, ben.log.row.credential
    for signer in (log.group, None):
        made = complaint.Complaint(victim, 99, os.urandom(16))
        signed = made.signed(log.row.id, log.group.epoch)
        signature = signer.sign(complaint.EXPORT_LABEL, signed) if signer else os.urandom(64)
        made = complaint.Complaint(victim, 99, made.refused, signature)
        sealed = complaint.seal(log.complaints.key(), log.row.id, log.group.epoch, made)
        await Hostile(mal).post(sealed, handshake=True)
    told = await settle(ada, ben, rounds=1)
    assert told == [[], []]
    assert phase(ada, ben) is Phase.PRESENT
    await go_on(ada, ben, mal)


async def test_a_newcomer_reads_a_complaint_about_an_epoch_before_it_came(house: House) -> None:
    mal, ben, ada = await trio(house)
    dan = await house.person("dan")
    await house.put_on_the_table(ada, dan)
    await Hostile(mal).break_path(ben)
    await ada.sync()
    await house.bring_in(ada, dan)  # Ben has not been online since
    assert (await settle(ben, rounds=1)) == [["halted"]]
    await settle(ada, mal, dan)
    assert phase(dan, ben) in (Phase.STRANDED, Phase.AWAY)
    await house.attest(ada)
    check_agreement(ada, mal, dan)
    await house.seat(ada, ben)
    await go_on(ada, mal, dan, ben)


async def test_a_device_that_was_watching_complains_at_once(house: House) -> None:
    mal, ben, ada = await trio(house)
    kinds = []
    watching = ben.channel.watch()
    await Hostile(mal).break_path(ben)
    async for happening in watching:
        kinds.append(happening.kind)
    assert kinds == ["halted"]
    assert any(complaint.is_complaint(sealed) for sealed in ben.line.sealed)
    assert "stranded" in (await settle(ada, rounds=1))[0]
