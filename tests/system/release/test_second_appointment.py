"""After a lapse a device that is off delays the others to the deposit deadline only; hours come by themselves."""

from pourparler_clients.signing_testing import (
    DEPOSIT,
    HOUR,
    SIGN,
    Hours,
    Signing,
    release_room,
    secrets_of,
    stage_of,
    text_between,
)
from pourparler_clients.testing import House
from pourparler_policies.release.device import Stage
from pourparler_policies.release.events import Appointed
from pourparler_policies.release.facts import Phase


async def asked(house: House, hours: Hours, *names: str) -> Signing:
    """All are asked to sign a text whose hour leaves time for two appointments."""
    room = await release_room(house, hours, *names)
    room.text = text_between(room.parties, room.now() + 3 * HOUR)
    await room.ready()
    return room


async def test_a_device_that_signed_and_is_off_delays_a_second_appointment_to_the_deposit_deadline_only(
    house: House, hours: Hours
) -> None:
    room = await asked(house, hours, "ada", "ben", "eve")
    ada, ben, eve = room.parties
    await room.sign(ada, eve)
    kept = secrets_of(eve)
    first = room.case
    room.until(first.sign_by)  # ben has not signed, and eve is on the road
    await room.visit(ada, ben)
    await room.visit(ada, ben)
    assert ada.log.folded.case is not None
    room.until(first.deposit_by)
    await room.through(lambda: ada.log.folded.case is None and ben.log.folded.case is None, ada, ben)
    assert secrets_of(ada) == set()
    await room.appoint(by=ben)
    await room.rounds(ada, ben, until=Stage.COMMITTED)
    assert kept
    assert stage_of(eve) is Stage.SIGNED
    await room.rounds()  # she is back: what she signed is over, and she takes part anew
    assert not kept & secrets_of(eve)
    await room.sign()
    await room.published()
    assert len(set(room.notes())) == 1


async def test_somebody_who_is_off_with_every_d_seen_keeps_the_case_alive(house: House, hours: Hours) -> None:
    room = await asked(house, hours, "ada", "ben", "eve")
    ada, ben, eve = room.parties
    await room.sign()
    await room.through(lambda: room.case.signers[ada.log.signing.kept.own.seat].complete, ada)  # type: ignore[union-attr]
    room.until(room.case.deposit_by)  # her y may be at the desk; of the others' nobody knows
    await room.through(lambda: stage_of(ben) is Stage.LAPSED or ben.log.folded.case is None, ben, visits=4)
    assert ben.log.folded.case is not None
    await room.through(room.over)  # she hears of the lapse too, and that ends it
    assert eve.log.folded.case is None


async def test_an_appointment_begins_by_itself_when_its_time_comes(house: House, hours: Hours) -> None:
    room = await release_room(house, hours, "ada", "ben")
    room.text = text_between(room.parties, room.now() + 3 * HOUR)
    await room.table()
    await room.initial()
    ada = room.people[0]
    opens = room.now() + HOUR // 2
    times = (opens, opens + SIGN, opens + SIGN + DEPOSIT)
    await ada.channel.do(Appointed(room.paper, room.held.text.digest, *times))
    await room.visit()
    await room.visit()
    assert room.case.phase is Phase.APPOINTED
    assert stage_of(ada) is None
    room.until(opens)  # and nobody says anything
    await room.rounds()
    await room.sign()
    await room.published()
    assert len(set(room.notes())) == 1
