"""The life of a seat, over the real programs: hold, absence, second device, replacement, recess, dormancy, leaving,
amendment, closing. After each: people were told, they agree, and the channel goes on.
"""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from pourparler_clients.errors import Refused, UserError
from pourparler_clients.forging import Hostile, go_on, new_leaf, settle
from pourparler_clients.store import State
from pourparler_clients.testing import House, Person
from pourparler_crypto.mls import CHARTER
from pourparler_policies.charter import Charter
from pourparler_policies.charter.document import Party
from pourparler_policies.charter.rules import Role
from pourparler_policies.fold import dormant
from pourparler_policies.fold.events import (
    Absent,
    Approved,
    Discarded,
    Enacted,
    Ground,
    Held,
    Leaving,
    Objected,
    Yielded,
)
from pourparler_policies.fold.facts import Admit, Amend, Close, Expel, Lift, Phase, Recess, Replace
from pourparler_policies.limits import DAY, HANDSHAKE_BURST, HOUR
from pourparler_service.caps import Caps
from pourparler_service.grants import issue
from pourparler_service.settings import Settings
from pourparler_service.testing import threaded


def place(person: Person, of: Person) -> Phase | None:
    """Where a card stands, as that person's device has it; None when it is gone."""
    device = person.log.consent.devices.get(of.device.card.fingerprint)
    return device.phase if device is not None else None


def seat(person: Person) -> bytes:
    """The person's seat."""
    return person.log.consent.devices[person.device.card.fingerprint].seat


@dataclass
class Weather:
    """The service's clock, in the test's hands; devices take theirs from it."""

    now: int

    def pass_(self, seconds: int, *people: Person) -> None:
        """Time passes for everybody who is named, and for the service."""
        self.now += seconds
        for person in people:
            person.clock.offset += seconds


@pytest.fixture
def weather() -> Weather:

    return Weather(int(time.time()))


@pytest_asyncio.fixture
async def house_in_time(weather: Weather, tmp_path: Path) -> AsyncIterator[House]:
    """A house whose service runs in a thread, with a clock of its own: handshakes come back, notices pass."""
    data = tmp_path / "data"
    data.mkdir()
    caps = Caps(newcomer_handshakes=HANDSHAKE_BURST)
    with threaded(Settings(data, caps=caps, clock=lambda: float(weather.now))) as url:
        house = House(url, lambda: issue(data)[0], tmp_path)
        yield house
        await house.close()


async def test_a_hold_by_the_own_side_removes_at_once_and_the_same_device_returns(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    bea = await house.person("bea")
    await house.seat(ben, bea)
    await ada.sync()
    with pytest.raises(UserError, match="only the own side"):
        await ada.channel.do(Held(seat(bea)))
    await Hostile(ada).act(Held(seat(bea)))  # nor by who does not ask its own client
    await ben.sync()
    assert place(ben, bea) is Phase.PRESENT
    await ben.channel.do(Held(seat(bea)))
    told = await settle(ada, ben)
    assert "held" in told[0]
    assert place(ada, bea) is Phase.HELD
    with pytest.raises(Refused, match="seat you again"):
        await bea.sync()
    await go_on(ada, ben)
    subject = Lift(ada.log.consent.devices[bea.device.card.fingerprint].seat)
    await ben.channel.propose(subject)
    await settle(ada, ben, rounds=1)
    assert place(ada, bea) is Phase.AWAY
    await house.seat(ada, bea)  # anybody may bring it back; nobody need approve
    await go_on(ada, ben, bea)


async def test_an_absent_device_is_voted_out_after_the_notice_and_returns(
    house_in_time: House, weather: Weather
) -> None:
    house = house_in_time
    ada, ben, cleo = await house.room("ada", "ben", "cleo", absence=10 * DAY, notice=3 * DAY)
    weather.pass_(9 * DAY, ada, ben, cleo)
    for person in (ada, ben):
        await person.channel.refresh_keys()
    weather.pass_(2 * DAY, ada, ben)
    await settle(ada, ben)
    device = ada.log.consent.devices[cleo.device.card.fingerprint]
    assert len(device.absent) == 2  # both others have voted by themselves
    weather.pass_(3 * DAY - HOUR, ada, ben)
    await settle(ada, ben)
    assert place(ada, cleo) is Phase.PRESENT  # the notice has not passed
    weather.pass_(2 * HOUR, ada, ben)
    await settle(ada, ben)
    assert place(ada, cleo) is Phase.AWAY
    await go_on(ada, ben)
    assert dormant(ada.log.consent)
    cleo.clock.offset = ada.clock.offset
    await cleo.sync()  # away for longer than the limit and two days: it believes nothing that it is shown
    assert cleo.state is State.HALTED
    await house.seat(ben, cleo)
    await go_on(ada, ben, cleo)
    assert not dormant(ada.log.consent)


async def test_a_vote_of_absence_falls_with_any_sign_of_life_and_one_side_alone_votes_nobody_out(
    house_in_time: House, weather: Weather
) -> None:
    house = house_in_time
    ada, ben, mal = await house.room("ada", "ben", "mal", absence=10 * DAY, notice=HOUR)
    hostile = Hostile(mal)
    await hostile.act(Absent(ben.log.row.credential))
    weather.pass_(2 * HOUR, ada, ben, mal)
    await hostile.commit(remove=[ben.log.row.credential])  # the other party has not voted
    await settle(ada, ben, rounds=1)
    assert place(ada, ben) is Phase.PRESENT
    assert len(ada.log.consent.devices[ben.device.card.fingerprint].absent) == 1
    await ben.channel.refresh_keys()
    await ada.sync()
    assert not ada.log.consent.devices[ben.device.card.fingerprint].absent
    await go_on(ada, ben, mal)


async def second_device(house: House, first: Person, second: Person) -> str:
    """The first device of a seat invites the second: nobody need approve."""
    sides = first.device.inviter(first.channel), second.device.invitee()
    box = await sides[1].answer(await sides[0].invite(second.device.card, second=True))
    await sides[0].progress()
    await sides[1].offer(box)
    await sides[1].accept(box)
    (told,) = await sides[0].progress()
    if told.step == "seated":
        await sides[1].join(box)
        await house.attest(first)
    return told.step


async def test_a_second_device_comes_by_the_first_and_all_are_told(house: House) -> None:
    ada, ben, mal = await house.room("ada", "ben", "mal")
    tablet, third = await house.person("ben's tablet"), await house.person("a third")
    await Hostile(mal).add(new_leaf(), tablet.device.card, Ground.SECOND)  # for Mal's seat: two are allowed
    await ada.sync()
    assert place(ada, tablet) is Phase.LOBBY
    assert ada.log.consent.devices[tablet.device.card.fingerprint].seat == seat(mal)
    await ada.channel.remove(ada.log.consent.devices[tablet.device.card.fingerprint].credential)
    await Hostile(mal).act(Discarded(tablet.device.card.fingerprint))
    await go_on(ada, ben, mal)
    await second_device(house, ben, tablet)
    await go_on(ada, ben, mal, tablet)
    assert ada.log.consent.devices[tablet.device.card.fingerprint].seat == seat(ben)
    assert await second_device(house, ben, third) == "failed"  # the charter gives a seat two devices


async def test_a_card_is_replaced_in_one_commit_by_its_own_side_and_a_voucher(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    bea, new = await house.person("bea"), await house.person("bea's new phone")
    await house.seat(ben, bea)
    await settle(ada, ben, bea, rounds=1)
    subject = Replace(seat(bea), bea.device.card.fingerprint, new.device.card.fingerprint)
    digest = await ben.channel.propose(subject)
    epoch = ben.log.group.epoch
    await Hostile(ben).add(new_leaf(), new.device.card, Ground.REPLACEMENT, digest)  # nobody has vouched
    await ada.sync()
    assert ada.log.group.epoch == epoch
    await ada.channel.do(Approved(digest))
    await ben.sync()
    before = ada.log.group.epoch
    await house.bring_in(ben, new)
    await ada.sync()
    assert ada.log.group.epoch == before + 1  # one commit: the old leaf goes, the new one comes
    assert place(ada, bea) is None
    assert place(ada, new) is Phase.RETURNING
    await bea.close()
    await house.attest(ada)
    await go_on(ada, ben, new)


async def test_a_recess_suspends_absence_and_ends_with_it(house_in_time: House, weather: Weather) -> None:
    house = house_in_time
    ada, ben = await house.room("ada", "ben", absence=10 * DAY, notice=HOUR)
    until = weather.now + 30 * DAY
    await house.agree(ada, Recess(until))
    await settle(ada, ben, rounds=2)
    assert ada.log.consent.recess == until
    weather.pass_(9 * DAY, ada, ben)
    await Hostile(ada).act(Absent(ben.log.row.credential))
    await ben.sync()
    assert not ben.log.consent.devices[ben.device.card.fingerprint].absent
    await go_on(ada, ben)


async def test_a_channel_without_one_party_is_dormant_and_talk_goes_on(house: House) -> None:
    ada, ben, cleo = await house.room("ada", "ben", "cleo")
    dan = await house.person("dan")
    digest = await ada.channel.propose(
        Admit(ada.log.consent.seats[seat(ada)].body, Role.DELEGATE, dan.device.card.fingerprint)
    )
    for person in (ben, cleo):
        await person.sync()
        await person.channel.do(Approved(digest))
    await cleo.channel.leave()
    told = await settle(ada, ben)
    assert "leaving" in told[0]
    assert dormant(ada.log.consent)
    epoch = ben.log.group.epoch
    await Hostile(ada).add(new_leaf(), dan.device.card, Ground.ADMISSION, digest)
    await settle(ben, ada, rounds=1)
    assert ben.log.group.epoch == epoch
    await go_on(ada, ben)


async def test_who_left_reads_and_writes_nothing_more_and_the_seat_is_gone(house: House) -> None:
    ada, ben, mal = await house.room("ada", "ben", "mal")
    token, channel = mal.log.row.token, mal.channel.id
    await Hostile(ada).act(Leaving(), counter=2**40)  # Ada's own counter may leap; it is Ada who goes
    await settle(ben, mal)
    assert place(ben, ada) is None
    api = mal.line.connect(house.url, token)
    await mal.channel.leave()
    assert mal.device.all_channels() == []
    await settle(ben, rounds=1)
    with pytest.raises(Refused):
        await api.entries(channel, 0)
    assert ben.state is State.OPEN


def mandated(charter: Charter) -> Charter:
    """The talks become official: every party takes part with a mandate."""
    parties: dict[str, Party] = {key: replace(one, capacity="mandated") for key, one in charter.parties.items()}
    return replace(charter, parties=parties)


async def test_the_capacity_changes_by_every_party_and_the_group_holds_the_new_charters_hash(house: House) -> None:
    ada, ben, mal = await house.room("ada", "ben", "mal")
    new = mandated(ada.log.charter)
    assert ada.log.charter.hash != new.hash
    digest = await mal.channel.propose(Amend(new.encode()))
    await ada.sync()
    await ada.channel.do(Approved(digest))
    epoch = ben.log.group.epoch
    await Hostile(mal).charter(new.hash)  # Ben has not approved
    await settle(ben, ada, rounds=1)
    assert ben.log.group.epoch == epoch
    await ben.channel.do(Approved(digest))
    told = await settle(ada, ben, mal)
    assert "amended" in told[0]
    for person in (ada, ben, mal):
        assert person.log.charter == new
        assert person.log.group.extensions == ((CHARTER, new.hash),)
        assert person.log.consent.rules.charter == new.hash
    await go_on(ada, ben, mal)
    dan = await house.person("dan")
    await house.seat(ben, dan)  # and newcomers accept the new one
    assert dan.log.charter == new


async def test_an_amendment_that_the_group_does_not_get_in_full_is_void(house: House) -> None:
    ada, ben, mal = await house.room("ada", "ben", "mal")
    epoch, hostile = ada.log.group.epoch, Hostile(mal)
    await hostile.charter(mandated(ada.log.charter).hash)  # nobody has put it on the table
    await hostile.commit(extensions=[])
    await settle(ada, ben, rounds=1)
    assert ada.log.group.epoch == ben.log.group.epoch == epoch
    await go_on(ada, ben, mal)


async def test_one_objection_keeps_a_channel_open_until_it_is_taken_back(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    digest = await ada.channel.propose(Close())
    await ben.sync()
    await ben.channel.do(Objected(digest))
    await ben.channel.do(Approved(digest))  # it approves and objects: it is blocked
    told = await settle(ada, ben)
    assert "objected" in told[0]
    assert ada.state is ben.state is State.OPEN
    await go_on(ada, ben)
    await ben.channel.do(Yielded(digest))
    await settle(ada, ben)
    assert ada.device.all_channels() == ben.device.all_channels() == []


async def test_nobody_is_expelled_without_their_own_party(house: House) -> None:
    ada, ben, mal = await house.room("ada", "ben", "mal")
    digest = await mal.channel.propose(Expel(seat(ben)))
    await ada.sync()
    await ada.channel.do(Approved(digest))

    await Hostile(mal).act(Enacted(digest))
    await Hostile(mal).commit(remove=[ben.log.row.credential])
    await settle(ada, ben, rounds=1)
    assert place(ada, ben) is Phase.PRESENT
    await go_on(ada, ben, mal)
