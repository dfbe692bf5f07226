"""What a service that withholds, a member who floods or lies, and bad luck can do to a round: end it, and no more.

Each of these would tell whose idea is whose, or lose it, if devices opened what they got. All in one channel, one
round after the other.
"""

import asyncio
import base64
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import httpx
import pytest

from pourparler_clients.api import Api
from pourparler_clients.errors import UserError
from pourparler_clients.hours import ALONE
from pourparler_clients.ideas_testing import Circle
from pourparler_clients.testing import Person
from pourparler_crypto import idea
from pourparler_policies.fold.events import Held
from pourparler_policies.ideas.device import Duty, Stage
from pourparler_policies.limits import HOUR

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROAD = "Open the road on market days."


def shares(circle: Circle) -> int:
    """How many shares of the key the log has."""
    held = circle.people[0].log.folded.round
    return sum(bool(part.secret) for part in held.parts.values()) if held is not None else 0


async def begin(circle: Circle, *, least: int = 3) -> dict[str, int]:
    """Ben has one idea, whatever happened before, and somebody calls a round. Returns how many lists each has seen."""
    if circle.people[0].log.folded.round is not None:  # of a test that failed half-way
        with suppress(UserError):
            await circle.person("ada").channel.ideas.call_off()
        await circle.settle()
    ben = circle.person("ben").channel.ideas
    for text in await ben.own():
        await ben.drop(text.number)
    await circle.add("ben", ROAD, least=least)
    await circle.call("ada")
    return {person.name: len(await circle.shown(person.name)) for person in circle.people}


async def came_to_nothing(circle: Circle, lists: dict[str, int]) -> None:
    """The round is over, no share of its key is out, everybody was told, and Ben's idea waits on Ben's device."""
    assert circle.people[0].log.folded.round is None
    for person in circle.people:
        assert person.log.rounds.all() == []
        assert circle.told[person.name][-1].kind in ("broken", "failed")
        assert len(await circle.shown(person.name)) == lists[person.name]
    (waiting,) = await circle.person("ben").channel.ideas.own()
    assert (waiting.text, waiting.round, waiting.doubtful) == (b"i" + ROAD.encode(), b"", False)


def strikes(person: Person, strike: Callable[[str, str], None] | None) -> None:
    person.line.before_request = strike


async def test_a_service_that_drops_one_devices_packet_learns_nothing_for_nobody_reads_anything(
    circle: Circle,
) -> None:
    """The intersection attack: leave out one device's packets, and see with a member's help which idea is missing."""
    lists = await begin(circle)
    await circle.gather()

    def drop(method: str, path: str) -> None:
        if method == "POST" and path.startswith("/v1/rounds/"):
            raise httpx.ReadError("the service takes nothing from here")

    strikes(circle.person("ben"), drop)
    await circle.collect()
    strikes(circle.person("ben"), None)
    assert shares(circle) == 0
    await circle.settle()
    await came_to_nothing(circle, lists)


async def test_a_service_that_replaces_a_packet_by_a_members_forgery_is_found_out_by_its_author(
    circle: Circle,
) -> None:
    """Counting is not enough: with a member at its side the service can fill the list up again."""
    lists = await begin(circle)
    await circle.gather()
    forged = forgery(circle, "ada")
    await circle.collect()
    rewrite = instead(ben_packet(circle), forged)

    for person in circle.people:
        person.line.rewrite = rewrite
    await circle.settle()
    for person in circle.people:
        person.line.rewrite = None
    assert shares(circle) == 0
    await came_to_nothing(circle, lists)


def forgery(circle: Circle, name: str) -> bytes:
    """A packet that opens as well as any, by a member who has sent its own already."""
    held, person = circle.held, circle.person(name)
    (kept,) = person.log.rounds.all()
    publics = [held.parts[seat].key for seat in sorted(held.parts)]
    return idea.seal(kept.key, person.log.rounds.setting(held), publics, b"")


def instead(left_out: bytes, forged: bytes) -> Callable[[str, str, int, bytes], tuple[int, bytes]]:
    """A service that shows the one packet in the other's place."""

    def rewrite(method: str, path: str, status: int, data: bytes) -> tuple[int, bytes]:
        if method == "GET" and path.startswith("/v1/rounds/") and status == 200:
            data = data.replace(b64(left_out), b64(forged))
        return status, data

    return rewrite


def ben_packet(circle: Circle) -> bytes:
    ben = circle.person("ben")
    (kept,) = ben.log.rounds.all()
    return ben.log.rounds.packets(kept.own.id)[0][1]


def b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data)


async def test_a_service_that_shows_one_member_another_list_is_noticed_before_any_share_is_out(
    circle: Circle,
) -> None:
    lists = await begin(circle)
    await circle.gather()
    forged = forgery(circle, "cleo")
    await circle.collect()
    rewrite = instead(ben_packet(circle), forged)

    cleo = circle.person("cleo")
    cleo.line.rewrite = rewrite  # to Ben and Ada it shows the truth
    await circle.settle()
    cleo.line.rewrite = None
    assert shares(circle) == 0
    await came_to_nothing(circle, lists)


async def test_a_member_who_floods_the_round_ends_it_and_takes_nobodys_idea(circle: Circle) -> None:
    lists = await begin(circle)
    await circle.gather()
    held, ada = circle.held, circle.person("ada")
    circle.until(held.tick - 60)
    await circle.visit()
    (kept,) = ada.log.rounds.all()
    circle.until(held.tick)
    async with Api(ada.log.row.url, kept.token) as api:
        for number in range(held.places - 2):
            await api.send_packet(ada.log.rounds.handle(kept, held), bytes([number]) * idea.PACKET)
    await circle.collect()
    assert shares(circle) == 0
    await circle.settle()
    await came_to_nothing(circle, lists)


async def test_a_device_that_is_away_at_the_tick_ends_the_round_and_who_goes_in_between_does_too(
    circle: Circle,
) -> None:
    lists = await begin(circle)
    await circle.gather()
    await circle.collect("ada", "ben")  # Cleo's device was closed
    await circle.settle()
    await came_to_nothing(circle, lists)
    lists = await begin(circle)
    await circle.gather()
    cleo = circle.person("cleo")
    seat = cleo.log.consent.devices[cleo.device.card.fingerprint].seat
    await circle.person("ben").sync()
    with pytest.raises(UserError):
        await circle.person("ben").channel.do(Held(seat))  # another side cannot
    await circle.person("ada").channel.refresh_keys()  # a renewal of keys ends nothing
    await circle.visit()
    assert circle.held.parts.keys() >= {seat}
    await circle.person("ben").channel.ideas.call_off()
    await circle.settle()
    await came_to_nothing(circle, lists)


async def test_an_idea_goes_out_only_among_as_many_as_its_author_wanted(circle: Circle) -> None:
    await begin(circle, least=4)
    await circle.through()
    for name in ("ada", "ben", "cleo"):
        assert (await circle.shown(name))[0].ideas == ()
    (waiting,) = await circle.person("ben").channel.ideas.own()
    assert not waiting.round


async def test_who_gives_no_share_or_a_wrong_one_keeps_it_shut_for_all_and_what_may_be_read_waits_for_a_word(
    circle: Circle,
) -> None:
    """A member can read alone what it does not let others read: so nothing is put into another round by itself."""
    await begin(circle)
    await circle.gather()
    await circle.collect()
    cleo = circle.person("cleo")
    circle.until(circle.held.closes + 1)
    for _ in range(6):
        for person in circle.people:
            wrong(person if person is cleo else None)
            await circle.visit(person.name)
    for name in ("ada", "ben"):
        assert "does not fit" in circle.told[name][-1].text
    (waiting,) = await circle.person("ben").channel.ideas.own()
    assert waiting.doubtful
    await circle.person("ben").channel.ideas.again(waiting.number)
    assert not (await circle.person("ben").channel.ideas.own())[0].doubtful
    assert cleo.log.rounds.all() == []


def wrong(person: Person | None) -> None:
    """That person's device has another secret than it told."""
    if person is None:
        return
    for kept in person.log.rounds.all():
        if kept.own.stage is Stage.SEEN:
            with person.log.step():
                person.log.rounds.save(replace(kept, secret=bytes(32)))


async def test_a_service_that_breaks_a_devices_line_to_the_channel_does_not_delay_its_packets(
    circle: Circle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There it knows whose line it is: a delay would tell which packets are Ben's, over whatever network they come."""
    monkeypatch.setattr("pourparler_clients.watching.TEND", 0.1)
    await begin(circle)
    held = circle.held
    await circle.gather()
    ben, sent = circle.person("ben"), list[str]()

    def cut(method: str, path: str) -> None:
        if "/entries" in path or "/stream" in path or path.endswith(b64(ben.channel.id).decode().rstrip("=")):
            raise httpx.ReadError("the line broke")
        if method == "POST" and path.startswith("/v1/rounds/"):
            sent.append(path)

    circle.until(held.tick - 60)
    await circle.visit()
    strikes(ben, cut)

    async def watch() -> None:
        async for _ in ben.channel.watch():
            pass

    watching = asyncio.create_task(watch())
    circle.until(held.tick)
    for _ in range(200):
        await asyncio.sleep(0.05)
        circle.until(min(circle.now() + 5, held.closes - 60))
        if len(sent) == held.a_seat:
            break
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    strikes(ben, None)
    assert len(sent) == held.a_seat
    await circle.person("ben").channel.ideas.call_off()
    await circle.settle()


async def test_a_device_killed_in_the_midst_goes_on_with_the_same_packets_and_nothing_is_lost(
    circle: Circle,
) -> None:
    """Also the answer to one of them is lost: it is sent again, takes no second place, and is read once."""
    await begin(circle)
    held = circle.held
    await circle.gather()
    circle.until(held.tick)
    ben = circle.person("ben")
    circle.people[circle.people.index(ben)] = ben = await again(ben, held.id)
    answered = list[str]()

    def lose_the_first(method: str, path: str) -> None:
        if method == "POST" and path.startswith("/v1/rounds/"):
            answered.append(path)
            if len(answered) == 1:
                raise httpx.ReadError("the answer is lost")

    ben.line.after_answer = lose_the_first
    await circle.collect()
    assert 1 < len(answered) <= held.a_seat + 1
    await circle.settle()
    for name in ("ada", "ben", "cleo", "dan"):
        assert (await circle.shown(name))[0].ideas == (ROAD,)
    assert not await circle.person("ben").channel.ideas.own()


async def test_packets_end_sooner_where_a_device_gives_what_it_keeps_a_shorter_life(circle: Circle) -> None:
    await begin(circle)
    await circle.gather()
    held, ben = circle.held, circle.person("ben")
    circle.until(held.tick)
    await circle.visit()
    sql = "SELECT DISTINCT end, expires_at FROM idea_packet"
    ((before, _),) = ben.device.vault.rows(sql)
    await ben.channel.set_own_rule(2 * HOUR, 0)
    ((end, expires_at),) = ben.device.vault.rows(sql)
    assert expires_at == held.closes + 2 * HOUR <= end < before
    await circle.collect()
    await circle.settle()
    assert (await circle.shown("ben"))[0].ideas == (ROAD,)
    await ben.channel.set_own_rule(0, 0)


async def test_a_device_without_the_services_half_sends_as_much_as_ever_and_its_idea_waits(circle: Circle) -> None:
    lists = await begin(circle)
    await circle.gather()
    ben = circle.person("ben")
    (kept,) = ben.log.rounds.all()
    halves = ben.log.store.hours.at_hand()
    ben.log.store.hours.forget(max(halves))
    circle.until(circle.held.tick)
    await ben.channel.ideas._alone(kept, Duty.SEAL)
    assert ben.device.vault.rows("SELECT DISTINCT end FROM idea_packet") == [(ALONE,)]
    assert len(ben.log.rounds.packets(kept.own.id)) == circle.held.a_seat
    await circle.collect()
    await circle.settle()
    assert (await circle.shown("ada"))[0].ideas == ()
    assert len(await circle.shown("ben")) == lists["ben"] + 1
    (waiting,) = await ben.channel.ideas.own()
    assert (waiting.text, waiting.round) == (b"i" + ROAD.encode(), b"")


async def again(person: Person, round_: bytes) -> Person:
    """Its packets are sealed, some are out, and the process ends without a word; another one goes on."""
    await person.sync()
    before = person.log.rounds.packets(round_)
    assert before
    image = person.copy(person.directory.with_name(f"{person.directory.name}-image"))
    following = await person.again(directory=image)
    following.channel.ideas.spread, following.channel.ideas.attends = 0, True
    after = await following.channel.with_halves(lambda: following.log.rounds.packets(round_))
    assert [packet for _, packet, _, _ in after] == [packet for _, packet, _, _ in before]
    return following
