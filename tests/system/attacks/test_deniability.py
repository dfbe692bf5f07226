"""Off the record: nothing in a recording proves who took part, and no key that has a name signs anything (DESIGN 2, 5).

What a judge gets here is the most that a third party can have: every entry as the service stored it, and all keys that
a member hands over. Whatever it can check, it checks; the same checks pass on a channel that one person made up alone.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pourparler_clients.examine import found, vault_pages
from pourparler_clients.forging import Hostile, check_agreement, claim, go_on, playing_all, settle
from pourparler_clients.testing import PASSPHRASE, House, Person
from pourparler_crypto import dpa
from pourparler_crypto.card import Card, CardKey
from pourparler_crypto.dpa.forging import Transcript, forge, judge
from pourparler_crypto.dpa.pair import Context, Pair
from pourparler_crypto.dpa.wire import Kind, write
from pourparler_crypto.errors import NotAuthentic, ProtocolError
from pourparler_crypto.mls import ApplicationMessage, Group, StagedCommit, suites
from pourparler_policies import payload
from pourparler_policies.fold.facts import Phase, Recess
from pourparler_policies.limits import DAY
from pourparler_policies.payload import Attesting, Envelope, Said


@dataclass(frozen=True)
class Opened:
    """One entry as a member can show it: who (leaf key), the steps of attestation, events and words in it."""

    epoch: int
    leaf: bytes
    envelope: Envelope


@dataclass(frozen=True)
class Recording:
    """All that a judge gets: entries opened, the cards that the channel claims for its leaves, the pairs' contexts."""

    entries: tuple[Opened, ...]
    cards: dict[bytes, Card]  # by credential
    contexts: tuple[Context, ...]
    leaves: dict[bytes, bytes]  # signature key of each credential when the contexts began


class Recorder:
    """A member who keeps every key instead of erasing it, from a given moment on."""

    def __init__(self, group: Group) -> None:
        self.group = Group.load(group.records())
        self.opened: list[Opened] = []

    def hear(self, sealed: bytes) -> None:
        """Opens one entry of another member."""
        try:
            received = self.group.decrypt(sealed)
        except ProtocolError:
            return  # one's own
        member = self.group.member(received.sender) if received.sender is not None else None
        if isinstance(received, ApplicationMessage) and member is not None:
            self.opened.append(
                Opened(self.group.epoch, member.signature_key, payload.decode_application(received.data))
            )
        if isinstance(received, StagedCommit):
            self.group = received.apply()


def steps_between(recording: Recording, first: bytes, second: bytes) -> tuple[list[bytes], list[bytes]]:
    """The four messages of each, as both wrote them; `first` and `second` are credentials."""
    by = {recording.leaves[credential]: credential for credential in recording.leaves}
    said: dict[bytes, list[bytes]] = {first: [], second: []}
    for entry in recording.entries:
        author = by.get(entry.leaf, b"")
        for event in entry.envelope.events:
            if isinstance(event, Attesting) and {author, event.peer} == {first, second}:
                said[author].append(event.step)
    return said[first], said[second]


def examine(recording: Recording, keys: dict[bytes, CardKey]) -> tuple[int, list[str]]:
    """Everything that a third party could check. Raises at the first thing that a genuine channel would not show.

    Returns how many attestations were good, and what was said. `keys`: card keys by credential, seized or handed over.
    """
    good = 0
    credentials = sorted(recording.cards)
    for number, one in enumerate(credentials):
        for two in credentials[number + 1 :]:
            mine, theirs = steps_between(recording, one, two)
            if len(mine) < 4 or len(theirs) < 4:
                continue
            for context in recording.contexts:
                pair = Pair(
                    context,
                    recording.cards[one].fingerprint,
                    recording.leaves[one],
                    recording.cards[two].fingerprint,
                    recording.leaves[two],
                )
                if pair.tag() != mine[0][2:18]:
                    continue
                transcript = Transcript(pair, tuple(mine[:4]), tuple(theirs[:4]))  # type: ignore[arg-type]
                judge(transcript, keys.get(one), keys.get(two))
                good += 1
    words = [
        event.text for entry in recording.entries for event in entry.envelope.events if isinstance(event, Said)
    ]
    return good, words


WORDS = ["We could live with that.", "So could we."]


async def record(house: House, ada: Person, ben: Person, observer: Person, dan: Person) -> Recording:
    """A channel from its founding on; what is recorded begins when Dan is seated. The observer keeps every key."""
    await house.found(ada, ben, observer)
    await house.seat(ada, ben)
    await house.seat(ada, observer)
    await house.put_on_the_table(ada, dan)
    start, recorder = observer.log.row.cursor, Recorder(observer.log.group)
    await house.bring_in(ada, dan)
    await house.attest(ada)
    await ada.say(WORDS[0])
    await dan.say(WORDS[1])
    await settle(ada, ben, observer, dan, rounds=1)
    check_agreement(ada, ben, observer, dan)  # every check that a member's client makes, it has made
    page = await observer.channel._api.entries(observer.channel.id, start)
    for entry in page.entries:
        recorder.hear(entry.sealed)
    group = recorder.group
    return Recording(
        entries=tuple(recorder.opened),
        cards={m.credential: Card(m.name, m.public) for m in observer.log.members.values()},
        contexts=(Context(group.group_id, group.epoch, group.tree_hash),),
        leaves={m.credential: m.signature_key for m in group.members},
    )


async def four(house: House, prefix: str = "") -> tuple[Person, Person, Person, Person]:
    """Four devices with cards of their own."""
    ada, ben, observer, dan = [await house.person(prefix + name) for name in ("ada", "ben", "observer", "dan")]
    return ada, ben, observer, dan


async def made_up(house: House, people: Iterable[Person]) -> Recording:
    """The same channel, made up by one person who knows the four public cards, on devices of its own."""
    cards = [_plain(person) for person in people]
    with playing_all() as known:
        puppets = await four(house, "a puppet of ")
        for puppet, card in zip(puppets, cards, strict=True):
            claim(puppet, card, known=known)
        return await record(house, *puppets)


def _plain(person: Person) -> Card:
    return Card(person.device.card.name, person.device.card.public)


def _form(recording: Recording) -> list[tuple[str, ...]]:
    return sorted(tuple(type(event).__name__ for event in entry.envelope.events) for entry in recording.entries)


@pytest.mark.parametrize("judge_has", ["what anybody has", "all card keys"])
async def test_whatever_a_judge_can_check_passes_on_a_channel_made_up_from_public_cards(
    judge_has: str, house: House
) -> None:
    """The control is the first half: the very same examination of a genuine channel."""
    people = await four(house)
    genuine = await record(house, *people)
    false = await made_up(house, people)
    for recording in (genuine, false):
        keys = {
            credential: person.device._key
            for credential, card in recording.cards.items()
            for person in people
            if judge_has == "all card keys" and card == _plain(person)
        }
        assert examine(recording, keys) == (
            2,
            WORDS,
        )  # Dan with Ada and with Ben; the observer's own were not opened
    assert set(_form(genuine)) == set(_form(false))


async def test_the_judge_is_no_rubber_stamp(house: House) -> None:
    """The control of the test above: one changed byte in any step, or another card's key, is noticed."""
    recording = await record(house, *await four(house))

    def spoiled(event: payload.Event) -> payload.Event:
        if not isinstance(event, Attesting):
            return event
        return event.model_copy(update={"step": event.step[:-1] + bytes([event.step[-1] ^ 1])})

    entries = tuple(
        replace(one, envelope=one.envelope.model_copy(update={"events": [*map(spoiled, one.envelope.events)]}))
        for one in recording.entries
    )
    with pytest.raises(ProtocolError):
        examine(replace(recording, entries=entries), {})
    with pytest.raises(NotAuthentic):
        examine(recording, dict.fromkeys(recording.cards, CardKey.generate()))


async def test_a_stolen_card_key_makes_its_owner_believe_in_no_false_peer(house: House) -> None:
    """Key-compromise impersonation: the thief of Ada's card key says to Ada that it is Ben."""
    ada, mal = await house.room("ada", "mal")
    ben = await house.person("ben")
    await house.put_on_the_table(mal, ben)
    false = await house.person("not ben")
    claim(false, ben.device.card, stolen=ada.device._key)
    await house.bring_in(mal, false)
    told = await settle(ada, mal, false, rounds=6)
    assert "warned" in told[0]
    assert ada.log.consent.devices[ben.device.card.fingerprint].phase is Phase.LOBBY


async def test_a_challenge_that_a_judge_prepared_draws_no_opening_from_the_client(house: House) -> None:
    """Else the opening would be a receipt. In the run before, between the same two, the opening was a true one."""
    ada, mal = await house.room("ada", "mal")
    hostile, recorder, start = Hostile(mal), Recorder(mal.log.group), mal.log.row.cursor
    own = Pair.decode(ada.log.store.meetings()[mal.log.row.credential].pair).mirrored
    pair = replace(own, attempt=own.attempt + 1)
    judges_n = os.urandom(32)
    sealed = _plain(ada).seal(pair.info, judges_n)  # the judge keeps N for itself
    await hostile.attest(ada, write(Kind.CHALLENGE, pair, b"", sealed))
    await settle(ada, rounds=1)
    run = dpa.load(ada.log.store.meetings()[mal.log.row.credential].run)
    assert isinstance(run, dpa.Committed)
    for kind, size in ((Kind.COMMITMENT, 64), (Kind.REVEAL, 32)):
        await hostile.attest(ada, write(kind, pair, run.run, os.urandom(size)))
        told = await settle(ada, rounds=1)
    assert told == [["warned"]]
    page = await mal.channel._api.entries(mal.channel.id, start)
    for entry in page.entries:
        recorder.hear(entry.sealed)
    bodies = {step[0]: step[18:] for entry in recorder.opened for step in _steps(entry.envelope)}
    assert set(bodies) == {*Kind}
    assert hashlib.sha512(bodies[Kind.OPENING]).digest() != bodies[Kind.COMMITMENT]
    await go_on(ada, mal)


async def test_runs_of_another_channel_epoch_or_device_are_answered_by_nothing(house: House) -> None:
    ada, mal, ben = await house.room("ada", "mal", "ben")
    hostile = Hostile(mal)
    own = Pair.decode(ada.log.store.meetings()[mal.log.row.credential].pair).mirrored
    later = replace(own, attempt=own.attempt + 1)
    context = later.context
    elsewhere = [
        replace(later, context=replace(context, group_id=os.urandom(16))),
        replace(later, context=replace(context, epoch=context.epoch + 1)),
        replace(later, context=replace(context, tree_hash=os.urandom(len(context.tree_hash)))),
        replace(later, own_leaf=os.urandom(32)),
    ]
    before = ada.log.store.meetings()
    for pair in elsewhere:
        await hostile.attest(ada, *forge(pair, _plain(mal), _plain(ada)).first)
    of_ben = Pair.decode(ada.log.store.meetings()[ben.log.row.credential].pair).mirrored
    stranger = replace(of_ben, attempt=of_ben.attempt + 1)
    await hostile.attest(ada, *forge(stranger, _plain(ben), _plain(ada)).first)
    await settle(ada, rounds=1)
    after = ada.log.store.meetings()
    assert {credential: one.accepted for credential, one in after.items()} == dict.fromkeys(before, True)
    assert ada.log.store.openings(ada.log.consent.devices[ben.device.card.fingerprint].seat) == 1
    assert ada.log.store.openings(ada.log.consent.devices[mal.device.card.fingerprint].seat) == 1
    await go_on(ada, mal, ben)


def _steps(envelope: Envelope) -> list[bytes]:
    return [event.step for event in envelope.events if isinstance(event, Attesting)]


@dataclass(frozen=True)
class Signature:
    """By which key, with which secret seed."""

    public: bytes
    seed: bytes


@contextmanager
def all_signatures() -> Iterator[list[Signature]]:
    """Every signature that any device of this process makes. There is one place in the product that signs."""
    made: list[Signature] = []
    true = suites._Ed25519Signer.sign

    def sign(self: suites._Ed25519Signer, message: bytes) -> bytes:
        made.append(Signature(self.public, self.private))
        return true(self, message)

    suites._Ed25519Signer.sign = sign  # type: ignore[method-assign]
    try:
        yield made
    finally:
        suites._Ed25519Signer.sign = true  # type: ignore[method-assign]


async def test_no_card_signs_and_whatever_signs_is_a_leaf_of_this_channel_alone_and_gone_after_rotation(
    house: House, tmp_path: Path
) -> None:
    """Over founding, attestation, consent, talk and rotation of one channel; and over another one."""
    with all_signatures() as made:
        ada, ben = await house.room("ada", "ben")
        await house.agree(ada, Recess(ada.clock() + 9 * DAY))
        await go_on(ada, ben)
        first = set(made)
        for person in (ada, ben):
            await person.channel.refresh_keys()
        await settle(ada, ben, rounds=1)
        start = len(made)
        await go_on(ada, ben)
        later = set(made[start:])
        leaves = {key for member in ada.log.members.values() for key in member.keys}
        start = len(made)
        cleo, dan = await house.room("cleo", "dan")
        await go_on(cleo, dan)
        second = set(made[start:])
    assert len(first) >= 3
    assert {one.public for one in first | later} <= leaves  # each is a leaf's, which the members know by a number
    assert first.isdisjoint(later)
    assert second.isdisjoint(first | later)
    cards = b"".join(person.device.card.public for person in (ada, ben, cleo, dan))
    assert not any(one.public in cards for one in made)
    secrets = {person.device._key.secret for person in (ada, ben, cleo, dan)}
    assert secrets.isdisjoint(one.seed for one in made)
    gone = {one.seed for one in first}
    for number, person in enumerate((ada, ben)):
        image = person.copy(tmp_path / f"image-{number}")
        assert not found(gone, vault_pages(image, PASSPHRASE))
        assert found({one.seed for one in later}, vault_pages(image, PASSPHRASE))  # the search finds what is there
