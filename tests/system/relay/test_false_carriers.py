"""An intermediary who alters, swaps, replays, reorders, shows two texts or withholds: the round fails in clear words.

Each test is one attack by whoever carries; what it gets is asserted to be nothing: no signature, nobody asked in vain
where a check can tell, and nothing kept once the time is over.
"""

import os
from collections.abc import Callable
from contextlib import suppress

import pytest

from pourparler_clients.channel import Channel
from pourparler_clients.errors import UserError
from pourparler_clients.onetext import OneText
from pourparler_clients.onetext_testing import SIDES, Shuttle
from pourparler_clients.outbox import Kind
from pourparler_clients.papers import compose
from pourparler_clients.relayed import OTHER_CASE, UNSOUND
from pourparler_clients.signing_testing import DEPOSIT, HOUR, SIGN, WORDS
from pourparler_clients.testing import Person
from pourparler_crypto.jr2 import Deposited, Round, Signed, Terms
from pourparler_crypto.jr2 import Kind as Step
from pourparler_crypto.jr2.crossing import Crossing, hello, key_of
from pourparler_crypto.jr2.forging import forge_presignature
from pourparler_crypto.jr2.testing import Party, scalar, total
from pourparler_crypto.jr2.wire import HEADER, commitment, points_of, write
from pourparler_crypto.note import KeyBook, PressKey, ReleaseKey, verify
from pourparler_policies import wire
from pourparler_policies.errors import Misuse
from pourparler_policies.limits import DAY
from pourparler_policies.payload import Beside
from pourparler_policies.release.device import Stage
from pourparler_policies.release.relayed import Arranged, Key, Leg

pytestmark = pytest.mark.asyncio(loop_scope="session")


Tamper = Callable[
    [int, Key, bytes], bytes | None
]  # to which side, what, its bytes: what is left there, if anything


class FalseText(OneText):
    """A carrier that does something else with what it carries."""

    def __init__(self, talks: Shuttle, tamper: Tamper) -> None:
        super().__init__(*(person.channel for person in talks.carriers), pause=(0, 0))
        self._channels = [person.channel for person in talks.carriers]
        self._tamper = tamper

    def leave(self, side: Channel, key: Key, sealed: bytes) -> None:
        made = self._tamper(self._channels.index(side), key, sealed)
        if made is not None:
            super().leave(side, key, made)


async def some_rounds(talks: Shuttle, visits: int = 8) -> None:
    for _ in range(visits):
        await talks.visit(*talks.signers)
        await talks.text.carry()
    await talks.visit(*talks.signers)


async def nothing_came_of_it(talks: Shuttle) -> None:
    """Nobody can sign; after the deadlines no device keeps anything, and nothing is published."""
    with pytest.raises((UserError, Misuse)):
        for person in talks.signers:
            await person.channel.onetext.sign(checked=talks.keys)
    talks.later(3 * DAY)
    await talks.visit()
    for person in talks.people:
        person.device.purge()
        kept = person.log.relayed.kept
        assert kept is None or not kept.own.holds
        assert person.log.store.vault.rows("SELECT 1 FROM passage") == []
    assert talks.notes() == [[], []]


@pytest.mark.parametrize("leg", [Leg.HELLO, Leg.THIRD, Leg.SAME])
async def test_one_altered_byte_bars_the_device_and_says_so(talks: Shuttle, leg: Leg) -> None:
    def alter(side: int, key: Key, sealed: bytes) -> bytes:
        return sealed[:700] + bytes([sealed[700] ^ 4]) + sealed[701:] if (side, key[0]) == (1, leg) else sealed

    talks.text = FalseText(talks, alter)
    await talks.appointed()
    await talks.begun()
    await some_rounds(talks)
    north, south = (person.channel.onetext for person in talks.signers)
    if leg is Leg.HELLO:  # a key that is still a key: the two have another sid, and see it at once
        assert {north.stage, south.stage} <= {Stage.BARRED, Stage.COMMITTED, None}
        assert UNSOUND in (north.trouble, south.trouble)
    else:
        assert south.stage is Stage.BARRED
        assert south.trouble in (UNSOUND, OTHER_CASE)
        assert north.stage is not Stage.SIGNED
    assert any(one.kind == "unfit" for told in talks.told.values() for one in told)
    if leg is Leg.SAME:  # north was asked; it may sign, and nothing can come of it
        await talks.signers[0].channel.onetext.sign(checked=talks.keys)
        await some_rounds(talks, 2)
        assert north.stage is Stage.SIGNED
    await nothing_came_of_it(talks)


async def test_what_was_recorded_in_one_round_is_refused_in_the_next(talks: Shuttle) -> None:
    recorded: dict[tuple[Key, int], bytes] = {}
    talks.text = FalseText(talks, lambda side, key, sealed: recorded.setdefault((key, side), sealed))
    await talks.ready()
    first = dict(recorded)
    talks.text = FalseText(
        talks, lambda side, key, sealed: first[key, side] if key[0] is Leg.SECOND and side == 0 else sealed
    )
    await talks.text.appoint(SIGN, DEPOSIT)
    await talks.visit()
    await talks.begun()
    await some_rounds(talks)
    assert talks.signers[0].channel.onetext.stage is Stage.BARRED
    assert talks.signers[0].channel.onetext.trouble == UNSOUND
    await nothing_came_of_it(talks)


async def test_late_doubled_and_reordered_messages_only_take_time(talks: Shuttle) -> None:
    waiting: list[tuple[int, Key, bytes]] = []

    def shuffle(side: int, key: Key, sealed: bytes) -> bytes | None:
        if (side, key, sealed) not in waiting and key[0] in (Leg.FIRST, Leg.THIRD):
            waiting.append((side, key, sealed))
            return None  # at the first visit not at all
        return sealed

    talks.text = FalseText(talks, shuffle)
    await talks.ready()
    for person, carrier in zip(talks.signers, talks.carriers, strict=True):
        with carrier.log.step():  # everything once more
            carrier.log.store.vault.execute("UPDATE passage SET own = 1")
        await carrier.sync()
        await person.sync()
    assert talks.stages() == [Stage.ASKED, Stage.ASKED]


async def test_two_texts_shown_to_two_sides_are_noticed_before_anybody_commits(talks: Shuttle) -> None:
    made = await talks.draft()
    south = talks.carriers[1].channel
    (paper,) = south.log.folded.papers
    signatories = [(one.name, one.key) for one in made.foot.signatories]
    other = compose(
        [("en", "Only the northern wells stay open.")], signatories, made.foot.not_before, earlier=made
    )
    await south.releases.table(other, 0, paper)
    await talks.visit()
    await talks.agree()
    with pytest.raises(UserError, match="same revision"):  # the honest client would not go on
        await talks.text.appoint(SIGN, DEPOSIT)
    await arrange(talks, [SIGN, SIGN])
    await talks.begun()
    await some_rounds(talks)
    assert Stage.BARRED in talks.stages()
    assert UNSOUND in [person.channel.onetext.trouble for person in talks.signers]
    await nothing_came_of_it(talks)


async def test_other_times_told_to_one_side_are_noticed_too(talks: Shuttle) -> None:
    await talks.draft()
    await talks.agree()
    await arrange(talks, [SIGN, SIGN + 60])
    await talks.begun()
    await some_rounds(talks)
    assert UNSOUND in [person.channel.onetext.trouble for person in talks.signers]
    await nothing_came_of_it(talks)


async def arrange(talks: Shuttle, within: list[int]) -> None:
    """What a false client posts: each side its own proposal under one number."""
    now = talks.now()
    for line, (carrier, seconds) in enumerate(zip(talks.carriers, within, strict=False)):
        log = carrier.log
        (paper,) = log.folded.papers.values()
        stop = log.folded.rules.stop_until
        proposal = Arranged(
            b"i" * 16, paper.id, paper.text.digest, (line,), now + seconds, now + seconds + DEPOSIT, stop
        )
        carrier.channel.draft([Beside.of(proposal)], DAY, Kind.BESIDE)
    await talks.visit()


async def test_who_withholds_gets_a_lapse_and_nothing_else(talks: Shuttle) -> None:
    talks.text = FalseText(talks, lambda side, key, sealed: None if key[0] is Leg.THIRD and side == 1 else sealed)
    await talks.appointed()
    await talks.begun()
    await some_rounds(talks)
    assert talks.stages()[1] is Stage.PREPARED
    await nothing_came_of_it(talks)


async def test_a_carrier_that_plays_the_other_side_gets_a_mask_that_proves_nothing_and_no_signature(
    talks: Shuttle,
) -> None:
    """It exchanges the keys of the round, and makes the false side's R1 to R3 as anybody can (`jr2.forging`)."""
    played = Impostor(talks, None)
    talks.text = FalseText(
        talks, lambda side, key, sealed: played.hello if (side, key[0]) == (0, Leg.HELLO) else sealed
    )
    await talks.appointed()
    await talks.begun()
    await played.rounds()
    north, south = talks.stages()
    assert north is Stage.ASKED  # no check can tell that a release key is missing before a signature is due
    assert south is not Stage.ASKED
    await talks.signers[0].channel.onetext.sign(checked=talks.keys)
    await some_rounds(talks, 2)
    assert talks.stages()[0] is Stage.SIGNED
    await nothing_came_of_it(talks)


class Impostor:
    """A false other side for the first one: all that is needed but a release key; or with one of the carrier's own."""

    def __init__(self, talks: Shuttle, key: ReleaseKey | None) -> None:
        self.talks, self.key = talks, key
        self.private, self.hello = hello()
        self.party: Party | None = None
        self.sent: dict[Leg, bytes] = {}
        self.theirs: dict[Leg, bytes] = {}

    async def rounds(self, visits: int = 10) -> None:
        for _ in range(visits):
            await self.talks.visit(self.talks.signers[0])
            with suppress(UserError):  # it does not even need the other side
                await self.talks.text.carry()
            await self.step()

    async def step(self) -> None:
        """Answers each leg of the victim's with one of its own."""
        carrier = self.talks.carriers[0]
        await carrier.sync()
        held, mine = carrier.log.relayed, carrier.log.relayed.mine
        assert mine is not None
        for leg in (Leg.HELLO, Leg.FIRST, Leg.SECOND, Leg.THIRD, Leg.SAME):
            to = None if leg is Leg.HELLO else 0
            theirs = held.sealed(leg, 0, None if leg is Leg.HELLO else 1)
            if theirs is None or (leg in self.sent and (leg, 1, to) in held.holds):
                continue
            self.sent[leg] = self._answer(leg, theirs, carrier)
            with carrier.log.step():
                held.put((leg, 1, to), self.sent[leg], own=True)
        await carrier.sync()

    def _answer(self, leg: Leg, theirs: bytes, carrier: Person) -> bytes:
        if leg is Leg.HELLO:
            self.ends = Crossing.begin(self.private, 2, [key_of(theirs), key_of(self.hello)])
            return self.hello
        if leg is Leg.FIRST:
            self._begin(carrier)
            self.theirs[leg], self.ends = self.ends.open_first(self.about.sid, 1, theirs)
            return self.ends.seal_first(self.about.sid, 1, self._first())
        name = {Leg.SECOND: "second", Leg.THIRD: "third", Leg.SAME: "same"}[leg]
        self.theirs[leg] = self.ends.open_(name, self.about.sid, 1, theirs)
        if leg is Leg.SAME:
            made = self.theirs[leg]
        elif self.party is not None:
            made = self.party.receive([self.theirs[{Leg.SECOND: Leg.FIRST, Leg.THIRD: Leg.SECOND}[leg]]]) or b""
        else:
            made = self._forged(leg)
        return self.ends.seal(name, self.about.sid, 1, made)

    def _begin(self, carrier: Person) -> None:
        mine = carrier.log.relayed.mine
        assert mine is not None
        part = mine.part
        (paper,) = carrier.log.folded.papers.values()
        text = carrier.log.relayed.papers.communique(paper)
        terms = Terms(part.sign_by, part.deposit_by, part.not_before, part.stop_before)
        self.about = Round(self.ends.nonce(part.id), (text.text,), text.keys, terms)

    def _first(self) -> bytes:
        if self.key is not None:
            self.party = Party(self.about, self.key)
            return self.party.begin()
        self.lock, self.rho = points_of(scalar()), os.urandom(32)
        return write(Step.COMMITMENT, 2, self.about.sid, commitment(self.about.sid, 2, self.lock, self.rho))

    def _forged(self, leg: Leg) -> bytes:
        if leg is Leg.SECOND:
            return write(Step.OPENING, 2, self.about.sid, self.lock[0] + self.rho)
        victims = self.theirs[Leg.SECOND][HEADER : HEADER + 32]
        body = forge_presignature(self.about, 2, [total([self.lock[0], victims])])
        return write(Step.PRESIGNATURE, 2, self.about.sid, body)

    async def at_the_desk(self, message: bytes) -> wire.Case:
        """Brings a message of the false side, and asks."""
        assert self.party is not None
        state = self.party.state
        assert isinstance(state, Signed | Deposited)
        carrier = self.talks.carriers[0]
        async with carrier.line.connect(carrier.log.row.url, None) as api:
            await api.case_message(wire.Route.CASE_DEPOSIT, state.case.handle, message)
            return await api.case(state.case.handle)


async def swapped(talks: Shuttle) -> Impostor:
    """The first side is shown a text with a key of the carrier's as the other side's; the other is shown nothing."""
    false = Impostor(talks, ReleaseKey.generate())
    assert false.key is not None
    mine = [("North League", talks.keys[0]), ("South League", PressKey(talks.keys[1].name, false.key.public))]
    carrier = talks.carriers[0].channel
    await carrier.releases.table(compose([("en", WORDS)], mine, talks.now() + HOUR), 20 * DAY)
    await talks.visit()
    for person in talks.rooms[0].parties:
        await person.channel.onetext.agree()
    await arrange(talks, [SIGN])
    await talks.signers[0].channel.onetext.ready()
    await false.rounds(8)
    assert talks.stages()[0] is Stage.ASKED
    return false


async def test_a_key_swapped_in_the_text_is_caught_by_who_has_the_other_side_s_key_from_elsewhere(
    talks: Shuttle,
) -> None:
    """The carrier puts a key of its own for the other side into the text, and could sign with it."""
    false = await swapped(talks)
    north = talks.signers[0].channel.onetext
    with pytest.raises(UserError, match=r"South League.*not among those that you have checked"):
        await north.sign(checked=talks.keys)
    assert north.stage is Stage.ASKED  # nothing was signed
    assert false.party is not None
    talks.later(3 * DAY)
    await talks.visit()
    assert talks.notes() == [[], []]


async def test_a_text_put_on_the_table_after_the_round_is_not_what_is_shown_and_checked_at_signing(
    talks: Shuttle,
) -> None:
    """The carrier's round is about a text with its own key; then it shows a clean one, for which the book is right."""
    await swapped(talks)
    north, carrier = talks.signers[0], talks.carriers[0].channel
    (paper,) = carrier.log.folded.papers.values()
    earlier = carrier.log.relayed.papers.communique(paper)
    clean = [(one.name, key) for one, key in zip(earlier.foot.signatories, talks.keys, strict=True)]
    await carrier.releases.table(
        compose([("en", WORDS)], clean, earlier.foot.not_before, earlier=earlier), 0, paper.id
    )
    await talks.visit()
    assert north.channel.onetext.text().keys == tuple(key.public for key in talks.keys)
    with pytest.raises(UserError, match="not among those that you have checked"):
        await north.channel.onetext.sign(checked=talks.keys)
    assert north.channel.onetext.stage is Stage.ASKED
    assert north.channel.onetext.to_sign()[0] == earlier


async def test_limit_who_checks_the_key_with_the_carrier_signs_with_the_carrier_and_only_a_reader_s_book_tells(
    talks: Shuttle,
) -> None:
    """What no protocol prevents: a key that was `checked` with the one who swapped it."""
    false = await swapped(talks)
    assert false.party is not None
    assert false.key is not None
    north = talks.signers[0]
    await north.channel.onetext.sign(checked=[*talks.keys, PressKey(talks.keys[1].name, false.key.public)])
    false.party.receive([false.theirs[Leg.THIRD]])
    await talks.visit(north)
    answer = await false.at_the_desk(false.party.sign())
    share = false.party.receive(answer.masks or [])
    assert share is not None
    await talks.visit(north)
    await talks.visit(north)
    await false.at_the_desk(share)
    part = north.channel.onetext.part
    assert part is not None
    talks.until(part.not_before)
    await talks.visit(north)
    (note,) = north.log.relayed.papers.notes()
    book = KeyBook.parse("".join(f"{key} {name}\n" for key, name in zip(talks.keys, SIDES, strict=True)).encode())
    owners = [one.owner for one in verify(note, book).signatures]
    assert owners == ["North", None]  # valid, and not South's
