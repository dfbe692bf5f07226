"""Somebody claims a card that is not theirs: nobody honest attests the device, people are told, the channel goes on."""

import pytest

from pourparler_clients.errors import UserError, Waits
from pourparler_clients.forging import Hostile, claim, go_on, new_leaf, settle
from pourparler_clients.store import State
from pourparler_clients.testing import House, Person
from pourparler_policies.charter.rules import Role
from pourparler_policies.fold.events import Approved, Attested, Enacted, Ground
from pourparler_policies.fold.facts import Admit, Phase, Recess
from pourparler_policies.fold.standing import stands
from pourparler_policies.limits import DAY


def phase(person: Person, of: Person) -> Phase:
    """Where a card stands, as that person's device has it."""
    return person.log.consent.devices[of.device.card.fingerprint].phase


async def impostor(house: House, of: Person) -> Person:
    """Somebody's device that says it has another's card."""
    made = await house.person(f"not {of.name}")
    claim(made, of.device.card)
    return made


async def attest_by_lie(*liars: Person) -> None:
    """Each says that it has attested the others, whatever came of any run."""
    for liar in liars:
        credentials = [one.log.row.credential for one in liars if one is not liar]
        await Hostile(liar).act(*(Attested(credential) for credential in credentials))


async def test_an_impostor_is_not_attested_and_people_are_told_in_one_sentence(house: House) -> None:
    """Its accomplice invites it, both lie about having attested each other; all parties had approved the true card."""
    ada, ben, mal = await house.room("ada", "ben", "mal")
    dan = await house.person("dan")
    await house.put_on_the_table(mal, dan)
    false = await impostor(house, dan)
    assert [one.step for one in await house.bring_in(mal, false)] == ["seated"]
    await attest_by_lie(mal, false)
    told = await settle(ada, ben, mal, false)
    for person, kinds in zip((ada, ben), told, strict=False):
        assert "warned" in kinds
        assert phase(person, dan) is Phase.LOBBY
        assert "attested" not in kinds
    with pytest.raises(Waits, match="attested"):
        await ada.say("Not before I know who listens.")
    await Hostile(false).say("I am Dan.")
    assert "said" not in [kind for kinds in await settle(ada, ben) for kind in kinds]
    await ada.channel.remove(ada.log.consent.devices[dan.device.card.fingerprint].credential)
    await go_on(ada, ben, mal)
    await false.close()
    await house.seat(ben, dan)  # the true one needs no new approval: it is the card that was approved
    await go_on(ada, ben, mal, dan)


async def test_the_same_way_in_attests_the_true_device(house: House) -> None:
    """The control of the test above: without a claim to another's card the accomplice's guest is attested by all."""
    ada, mal = await house.room("ada", "mal")
    dan = await house.person("dan")
    await house.put_on_the_table(mal, dan)
    await house.bring_in(mal, dan)
    told = await settle(ada, mal, dan, rounds=8)
    assert "warned" not in told[0]
    assert "attested" in told[0]
    await go_on(ada, mal, dan)


async def test_an_impostor_gets_three_openings_and_no_more(house: House) -> None:
    """Whether a device opens tells who prepared the challenge one bit that only the card's key gives."""
    ada, mal = await house.room("ada", "mal")
    dan = await house.person("dan")
    await house.put_on_the_table(mal, dan)
    false = await impostor(house, dan)
    await house.bring_in(mal, false)
    told = await settle(ada, false, rounds=24)
    seat = ada.log.consent.devices[dan.device.card.fingerprint].seat
    assert ada.log.store.openings(seat) == 3
    assert told[0].count("warned") >= 3
    assert phase(ada, dan) is Phase.LOBBY


async def test_nobody_gets_a_second_place_with_a_card_that_is_in_the_group(house: House) -> None:
    """Also with the victim's own card: there is no run with oneself, and the Add is void."""
    ada, ben, mal = await house.room("ada", "ben", "mal")
    epoch = ada.log.group.epoch
    for ground in (Ground.RETURN, Ground.ADMISSION, Ground.FOUNDING):
        await Hostile(mal).add(new_leaf(), ada.device.card, ground)
    await settle(ada, ben, rounds=1)
    assert ada.log.group.epoch == ben.log.group.epoch == epoch
    with pytest.raises(UserError, match="already has a seat"):
        await mal.device.inviter(mal.channel).invite(ada.device.card)
    await go_on(ada, ben, mal)


async def test_an_inviter_who_plays_all_parties_convinces_nobody(house: House) -> None:
    """Mal opens a channel whose charter names Ada, Ben and Dan, plays Ada and Ben on devices of its own, and asks Dan
    in. Dan attests Mal, who is Mal; he hears and says nothing, for nobody has shown him the keys of the others.
    """
    mal, ada, ben, dan = [await house.person(name) for name in ("mal", "ada", "ben", "dan")]
    await house.found(mal, ada, ben, dan)
    plays = [mal]

    async def bring_in(card: bytes, device: Person) -> None:
        named = next(n for n in mal.log.consent.rules.founding if n.card == card)
        for one in plays:
            await Hostile(one).catch_up()
            await one.channel.propose(Admit(named.body, Role.DELEGATE, card))
        await house.bring_in(mal, device)

    for of in (ada, ben):
        false = await impostor(house, of)
        await bring_in(of.device.card.fingerprint, false)
        plays.append(false)
        await attest_by_lie(*plays)
    await Hostile(mal).catch_up()
    assert mal.log.consent.devices[ben.device.card.fingerprint].phase is Phase.PRESENT  # in the play all is well
    card = dan.device.card.fingerprint
    await bring_in(card, dan)
    for one in plays:
        await Hostile(one).act(Attested(dan.log.row.credential))
        await Hostile(one).say(f"{one.name} welcomes you.")
    told = await settle(dan, *plays, rounds=6)
    assert told[0].count("warned") >= 2
    assert "said" not in told[0]
    own = dan.log.consent.devices[card]
    assert own.phase is Phase.LOBBY
    assert own.met == {mal.device.card.fingerprint}
    with pytest.raises(Waits):
        await dan.say("Who is there?")
    assert dan.state is State.OPEN


async def test_a_returning_device_under_anothers_leaf_is_not_attested_while_its_own_side_is_there(
    house: House,
) -> None:
    ben, ada, mal = await house.room("ben", "ada", "mal")
    bea = await house.person("bea")  # of Ben's side
    await house.seat(ben, bea)
    await Hostile(mal).break_path(bea)
    await settle(ada, ben, mal, bea)
    assert phase(mal, bea) is Phase.AWAY
    false = await impostor(house, bea)
    await house.bring_in(mal, false)
    await attest_by_lie(mal, false)
    told = await settle(ben, mal, false)
    assert "warned" in told[0]
    assert phase(ben, bea) is Phase.RETURNING
    await ada.sync()
    await ada.channel.remove(ada.log.consent.devices[bea.device.card.fingerprint].credential)
    await false.close()
    await house.seat(ada, bea)
    assert stands(ben.log.consent, ben.log.consent.devices[bea.device.card.fingerprint])
    await go_on(ben, ada, mal, bea)


async def test_a_leaf_that_one_side_put_in_for_a_party_that_is_away_deceives_nobody_and_decides_nothing(
    house: House,
) -> None:
    """The limit of docs/consent.md, 8: the others cannot get it out against that side, nor talk while it is there.

    Nothing is approved, nothing is said to it, people are told; what is left to them is another channel.
    """
    ada, mal, ben = await house.room("ada", "mal", "ben")
    await Hostile(mal).break_path(ben)
    await settle(ben, ada, mal, rounds=2)
    assert phase(ada, ben) is Phase.AWAY
    false = await impostor(house, ben)
    await house.bring_in(mal, false)
    await attest_by_lie(mal, false)
    told = await settle(ada, mal, false)
    assert "warned" in told[0]
    assert "back" in told[0]
    assert "attested" not in told[0]  # Ada's own device has not attested it, and is not told that it has
    device = ada.log.consent.devices[ben.device.card.fingerprint]
    assert device.phase is Phase.PRESENT
    assert not stands(ada.log.consent, device)
    digest = await ada.channel.propose(Recess(ada.clock() + 9 * DAY))
    for one in (mal, false):
        await Hostile(one).act(Approved(digest), Enacted(digest))
    await settle(ada, rounds=1)
    assert digest in ada.log.consent.open
    assert ada.log.consent.recess == 0
    with pytest.raises(Waits):
        await ada.say("Ben, is that you?")
