"""Nobody enters without every party: approvals missing, reused, replayed or withdrawn; a Welcome that is lost."""

import pytest

from pourparler_clients.errors import Unreachable, Waits
from pourparler_clients.forging import Hostile, go_on, new_leaf, no_welcome, settle
from pourparler_clients.testing import House, Person, breaks
from pourparler_policies.charter.rules import Role
from pourparler_policies.fold.events import Approved, Ground, Withdrawn
from pourparler_policies.fold.facts import Admit, Phase


def guest(host: Person, newcomer: Person) -> Admit:
    """A seat for a newcomer in the host's party."""
    state = host.log.consent
    own = state.devices[host.device.card.fingerprint]
    return Admit(state.seats[own.seat].body, Role.DELEGATE, newcomer.device.card.fingerprint)


async def approve(digest: bytes, *people: Person) -> None:
    for person in people:
        await person.sync()
        await person.channel.do(Approved(digest))


async def carry_on(inviter: Person) -> list[tuple[str, str]]:
    progress = await inviter.device.inviter(inviter.channel).progress()
    return [(one.step, one.reason) for one in progress]


async def accepted(inviter: Person, newcomer: Person) -> bytes:
    """An invitation as far as its acceptance; the Add is the inviter's next step. Returns the box."""
    sides = inviter.device.inviter(inviter.channel), newcomer.device.invitee()
    box = await sides[1].answer(await sides[0].invite(newcomer.device.card))
    await sides[0].progress()
    await sides[1].offer(box)
    await sides[1].accept(box)
    return box


@pytest.mark.parametrize("approved_by_all", [False, True])
async def test_an_add_that_not_every_party_approved_is_void_for_everybody(
    approved_by_all: bool, house: House
) -> None:
    """With everybody's approval the very same entry counts."""
    ada, ben, mal = await house.room("ada", "ben", "mal")
    dan = await house.person("dan")
    digest = await mal.channel.propose(guest(mal, dan))
    await approve(digest, ada)
    if approved_by_all:
        await approve(digest, ben)
    epoch = ada.log.group.epoch
    await Hostile(mal).add(leaf := new_leaf(), dan.device.card, Ground.ADMISSION, digest)
    await settle(ada, ben, rounds=1)
    assert [person.log.group.epoch - epoch for person in (ada, ben)] == [approved_by_all] * 2
    assert (dan.device.card.fingerprint in ben.log.consent.devices) == approved_by_all
    assert leaf
    if approved_by_all:
        await ben.channel.remove(ben.log.consent.devices[dan.device.card.fingerprint].credential)
    await go_on(ada, ben, mal)


@pytest.mark.parametrize("ground", [Ground.FOUNDING, Ground.RETURN, Ground.REPLACEMENT, Ground.SECOND])
async def test_no_other_ground_stands_in_for_the_approvals(ground: Ground, house: House) -> None:
    ada, ben, mal = await house.room("ada", "ben", "mal")
    dan = await house.person("dan")
    digest = await mal.channel.propose(guest(mal, dan))
    epoch = ada.log.group.epoch
    await Hostile(mal).add(new_leaf(), dan.device.card, ground, digest)
    await settle(ada, ben, rounds=1)
    assert ada.log.group.epoch == ben.log.group.epoch == epoch
    await go_on(ada, ben, mal)


async def test_an_approval_seats_the_card_that_it_names_and_no_other_and_only_once(house: House) -> None:
    ada, ben, mal = await house.room("ada", "ben", "mal")
    dan, eve = await house.person("dan"), await house.person("eve")
    digest = await mal.channel.propose(guest(mal, dan))
    await approve(digest, ada, ben)
    hostile, epoch = Hostile(mal), ada.log.group.epoch
    await hostile.add(new_leaf(), eve.device.card, Ground.ADMISSION, digest)  # another card
    await hostile.add(
        new_leaf(), eve.device.card, Ground.ADMISSION, digest, fingerprint=dan.device.card.fingerprint
    )
    await settle(ada, ben, rounds=1)
    assert ada.log.group.epoch == epoch
    await house.seat(mal, dan)
    await go_on(ada, ben, mal, dan)
    await dan.channel.leave()
    await settle(ada, ben, mal, rounds=2)
    epoch = ada.log.group.epoch
    await hostile.add(new_leaf(), dan.device.card, Ground.ADMISSION, digest)  # it was consumed
    await settle(ada, ben, rounds=1)
    assert ada.log.group.epoch == epoch
    await go_on(ada, ben, mal)


async def test_a_withdrawn_approval_does_not_come_back_by_a_copy_of_it(house: House) -> None:
    ada, ben, mal = await house.room("ada", "ben", "mal")
    dan = await house.person("dan")
    digest = await mal.channel.propose(guest(mal, dan))
    await approve(digest, ben, ada)
    hostile = Hostile(mal)
    copy = await hostile.take(await hostile.newest())
    assert len(ada.log.consent.open[digest].approvals) == 3  # it counted
    await ada.channel.do(Withdrawn(digest))
    await hostile.replay(copy)
    await settle(ada, ben, rounds=1)
    own = ada.log.consent.devices[ada.device.card.fingerprint].seat
    assert own not in ben.log.consent.open[digest].approvals
    epoch = ben.log.group.epoch
    await hostile.add(new_leaf(), dan.device.card, Ground.ADMISSION, digest)
    await settle(ada, ben, rounds=1)
    assert ben.log.group.epoch == epoch
    await go_on(ada, ben, mal)


async def test_an_approval_withdrawn_while_the_add_is_under_way_stops_it(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    dan = await house.person("dan")
    digest = await ben.channel.propose(guest(ben, dan))
    await approve(digest, ada)
    await ben.sync()
    box = await accepted(ben, dan)
    breaks("POST", "/entries", reached=False)(ben.line)
    with pytest.raises(Unreachable):
        await carry_on(ben)  # the Add is sealed, and waits
    await ada.channel.do(Withdrawn(digest))
    ((step, reason),) = await carry_on(ben)
    assert step == "waiting"
    assert "not every party has approved" in reason
    assert await dan.device.invitee().join(box) is None
    await go_on(ada, ben)
    await approve(digest, ada)
    await ben.sync()
    assert await carry_on(ben) == [("seated", "")]
    await dan.device.invitee().join(box)
    await house.attest(ben)
    await go_on(ada, ben, dan)


async def test_a_welcome_that_never_arrives_costs_an_invitation_and_no_new_approval(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    dan = await house.person("dan")
    await house.put_on_the_table(ada, dan)
    box = await accepted(ada, dan)
    dan.line.rewrite = no_welcome()
    assert await carry_on(ada) == [("seated", "")]
    assert await dan.device.invitee().join(box) is None
    told = await settle(ben, rounds=1)
    assert "seated" in told[0]
    with pytest.raises(Waits, match="attested"):
        await ben.say("Is anybody there?")
    place = ben.log.consent.devices[dan.device.card.fingerprint]
    await ben.channel.remove(place.credential)  # anybody may, at any time
    await go_on(ada, ben)
    assert "Is anybody there?" in ada.texts()  # what waited was said
    assert ben.log.consent.devices[place.card].phase is Phase.EXPECTED
    dan.line.rewrite = None
    await house.seat(ben, dan)
    await go_on(ada, ben, dan)


async def test_a_card_is_seated_once_whoever_invites_it_besides(house: House) -> None:
    ada, ben, mal = await house.room("ada", "ben", "mal")
    dan = await house.person("dan")
    await house.put_on_the_table(mal, dan)
    boxes = [await accepted(inviter, dan) for inviter in (ada, ben)]
    assert await carry_on(ada) == [("seated", "")]
    await ben.sync()
    assert await carry_on(ben) == [("failed", "refused")]
    assert await dan.device.invitee().join(boxes[0]) is not None
    epoch = ada.log.group.epoch
    for ground in (Ground.RETURN, Ground.ADMISSION, Ground.SECOND):
        await Hostile(mal).add(new_leaf(), dan.device.card, ground)
    await settle(ada, ben, rounds=1)
    assert ada.log.group.epoch == epoch
    await house.attest(ada)
    await go_on(ada, ben, mal, dan)
