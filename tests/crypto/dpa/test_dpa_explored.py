"""Every course of parallel runs with an attacker between them, explored on the real code.

The attacker carries every message. To each honest device it hands, in every order, everything of the right form
that it can have: what any device has sent, what it seals itself, what it computes from any N that it knows. It
claims cards whose keys it does not hold. Nobody accepts it; and the same search finds the attack as soon as one of
the protocol's precautions is taken out, so it can fail.

Four things shorten the search and lose nothing. Challenges are handed over first: all are known from the start, so
that waiting with one gains nothing. A run that is no target gets its commitment next: it answers with its N
whatever was committed. Openings are tried last: to hand one over teaches the attacker nothing.
Of the bodies that a device must treat alike (an N that is not the right one; a commitment to another tag than the
expected one, which only a collision of SHA-512 could open) one is tried.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product

import pytest

from pourparler_crypto.card import CardKey
from pourparler_crypto.dpa import Challenged, Committed, Kind, NotAttested, Opened, Pair, Revealed, load
from pourparler_crypto.dpa.formulas import commitment, mac, mac_key
from pourparler_crypto.dpa.testing import Seat, a_context, new_card
from pourparler_crypto.dpa.wire import HEADER, run_of, write

SALT = bytes(32)  # the attacker hides nothing


@dataclass
class World:
    """Honest runs, each with the attacker as its peer, and what the attacker knows."""

    seats: list[Seat]
    stolen: CardKey | None = None  # a card key in the attacker's hands (key-compromise impersonation)
    known: tuple[bytes, ...] = ()  # N values
    challenges: tuple[bytes, ...] = ()  # bodies
    commitments: tuple[tuple[bytes, bytes], ...] = ()  # body, and the tag in it, which the attacker does not see
    openings: tuple[bytes, ...] = ()
    given: tuple[bytes, ...] = ()  # the challenge that each run was handed
    targets: tuple[int, ...] = (0, 1)  # the runs in which acceptance would be the attacker's success
    courses: int = 0
    computed: dict[tuple[int, bytes, bytes, bytes], bytes] = field(default_factory=dict)

    def begin(self, *, early_reveal: bool = False) -> None:
        for seat in self.seats:
            self.challenges += (seat.begin()[HEADER:],)
            state = load(seat.vault)
            assert isinstance(state, Challenged)
            if early_reveal:
                self.known += (state.own_n,)
            if self.stolen and seat.peer.public == self.stolen.card("").public:
                self.known += (self.stolen.open(seat.pair.info, state.challenge),)

    def sealed_by_attacker(self, seat: Seat) -> bytes:
        n = os.urandom(32)
        self.known += (n,)
        return seat.own.seal(seat.pair.mirrored.info, n)

    def run(self, index: int) -> bytes:
        return run_of(self.seats[index].pair, self.challenges[index], self.given[index])

    def tags(self, index: int) -> Iterator[bytes]:
        """Every tag that the attacker has: seen in an opening, or computed for this run under two N it knows."""
        yield from (opening[-32:] for opening in self.openings)
        for own, theirs in product(self.known, repeat=2):
            yield self.tag(index, own, theirs, self.given[index])

    def tag(self, index: int, own: bytes, theirs: bytes, given: bytes) -> bytes:
        if (index, own, theirs, given) not in self.computed:
            pair = self.seats[index].pair
            key = mac_key(pair, theirs, own, self.challenges[index], given)
            self.computed[index, own, theirs, given] = mac(key, pair.mirrored)
        return self.computed[index, own, theirs, given]

    def explore(self, awaited: tuple[Kind, ...]) -> bool:
        """Whether some course from here ends with a device that accepts the attacker."""
        if set(awaited) == {Kind.OPENING}:
            self.courses += 1
            return any(self.accepted(index) for index in self.targets)
        aside = [i for i, kind in enumerate(awaited) if kind == Kind.COMMITMENT and i not in self.targets]
        for index, kind in enumerate(awaited):
            if kind == Kind.OPENING or (aside and index != aside[0]):
                continue
            following = (*awaited[:index], Kind(kind + 1), *awaited[index + 1 :])
            if any(self.course(index, kind, body, following) for body in self.bodies(index, kind)):
                return True
        return False

    def bodies(self, index: int, kind: Kind) -> list[bytes]:
        """What may be handed to this run now: one body of each sort that makes a difference."""
        state = load(self.seats[index].vault)
        if kind == Kind.REVEAL:
            assert isinstance(state, Revealed)
            sorts = {n == state.peer_n: n for n in self.known}
        else:
            assert isinstance(state, Committed)
            made = {tag == state.expected: commitment(SALT, tag) for tag in self.tags(index)}
            sent = {tag == state.expected: body for body, tag in self.commitments}
            sorts = {**made, **sent, **({True: made[True]} if True in made else {})}
        return list(sorts.values())

    def course(self, index: int, kind: Kind, body: bytes, following: tuple[Kind, ...]) -> bool:
        seat = self.seats[index]
        before = (seat.vault, self.known, self.openings)
        answer = seat.receive(write(kind, seat.pair.mirrored, self.run(index), body))
        assert answer is not None
        if kind == Kind.COMMITMENT:
            self.known += (answer[HEADER:],)
        else:
            self.openings += (answer[HEADER:],)
        found = self.explore(following)
        seat.vault, self.known, self.openings = before
        return found

    def accepted(self, index: int) -> bool:
        seat = self.seats[index]
        state = load(seat.vault)
        assert isinstance(state, Opened)
        made = {tag == state.expected: SALT + tag for tag in self.tags(index)}
        for opening in [*self.openings, *made.values()]:
            try:
                seat.receive(write(Kind.OPENING, seat.pair.mirrored, self.run(index), opening))
            except NotAttested:
                continue
            return True
        return False


def attack_succeeds(world: World, *, early_reveal: bool = False) -> bool:
    world.known = world.challenges = world.commitments = world.openings = world.given = ()
    world.computed.clear()
    world.begin(early_reveal=early_reveal)
    vaults = [seat.vault for seat in world.seats]

    def hand_out(index: int) -> bool:
        if index == len(world.seats):
            return world.explore((Kind.COMMITMENT,) * len(world.seats))
        seat = world.seats[index]
        own = world.sealed_by_attacker(seat)
        before = (world.commitments, world.given)
        for body in (own, *world.challenges):
            seat.vault = vaults[index]
            answer = seat.receive(write(Kind.CHALLENGE, seat.pair.mirrored, b"", body))
            assert answer is not None
            state = load(seat.vault)
            assert isinstance(state, Committed)
            world.commitments = (*before[0], (answer[HEADER:], state.tag))
            world.given = (*before[1], body)
            if hand_out(index + 1):
                return True
            world.commitments, world.given = before
        world.known = world.known[:-1]
        return False

    found = hand_out(0)
    assert found or world.courses >= 3
    return found


def in_the_middle(same_context: bool) -> World:
    """Amal believes the attacker's leaf to be Boris, and Boris another of its leaves to be Amal."""
    (key1, amal), (key2, boris) = new_card("Amal"), new_card("Boris")
    context = a_context()
    to_amal = Pair(context, amal.fingerprint, b"A" * 32, boris.fingerprint, b"M" * 32)
    other = context if same_context else a_context()
    to_boris = Pair(other, boris.fingerprint, b"B" * 32, amal.fingerprint, b"N" * 32)
    return World([Seat(to_amal, key1, amal, boris), Seat(to_boris, key2, boris, amal)])


def alone_with_amal() -> World:
    """The attacker claims Boris's card, who is not there."""
    world = in_the_middle(same_context=True)
    world.seats.pop()
    world.targets = (0,)
    return world


def with_the_key_of_boris() -> World:
    """The attacker holds Boris's card key and wants Boris to take it for Amal, whose device talks to it as well.

    (Amal's device takes the thief for Boris, which nothing can prevent.)
    """
    world = in_the_middle(same_context=False)
    world.seats.reverse()
    world.stolen, world.targets = world.seats[0].key, (0,)
    return world


@pytest.mark.parametrize("same_context", [True, False])
def test_nobody_in_the_middle_is_ever_accepted(same_context: bool) -> None:
    assert not attack_succeeds(in_the_middle(same_context))


def test_who_claims_a_card_without_its_key_is_never_accepted() -> None:
    assert not attack_succeeds(alone_with_amal())


def test_one_device_in_two_attempts_at_once_accepts_nobody() -> None:
    world = alone_with_amal()
    seat = world.seats[0]
    world.seats.append(Seat(replace(seat.pair, attempt=2), seat.key, seat.own, seat.peer))
    world.targets = (0, 1)
    assert not attack_succeeds(world)


def beside_an_honest_pair() -> World:
    """In one channel: Amal and Boris run with each other, and Amal with a leaf that claims Boris's card too."""
    world = in_the_middle(same_context=True)
    amal, boris = world.seats
    to_boris = replace(amal.pair, peer_leaf=boris.pair.own_leaf)
    world.seats[1:] = [
        Seat(to_boris, amal.key, amal.own, boris.own),
        Seat(to_boris.mirrored, boris.key, boris.own, amal.own),
    ]
    world.targets = (0,)
    return world


def test_a_second_leaf_that_claims_a_card_is_not_accepted_while_the_first_one_is_being_attested() -> None:
    assert not attack_succeeds(beside_an_honest_pair())


def test_the_search_finds_the_attack_when_leaf_keys_are_not_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pair, "parties", property(lambda pair: (pair.own, pair.peer)))
    assert attack_succeeds(in_the_middle(same_context=True))


def test_the_search_finds_no_attack_on_other_channels_before_ctx_is_unbound_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Pair, "parties", property(lambda pair: (pair.own, pair.peer)))
    assert not attack_succeeds(in_the_middle(same_context=False))
    monkeypatch.setattr(Pair, "ctx", property(lambda pair: b""))
    assert attack_succeeds(in_the_middle(same_context=False))


def test_the_search_finds_the_attack_when_the_direction_is_not_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    # The attacker hands Amal her own commitment and opening back.
    def unordered(pair: Pair) -> tuple[bytes, ...]:
        return tuple(sorted((pair.own, pair.peer, pair.own_leaf, pair.peer_leaf)))

    monkeypatch.setattr(Pair, "parties", property(unordered))
    assert attack_succeeds(alone_with_amal())


def test_the_search_finds_the_attack_when_n_is_known_before_the_commitment() -> None:
    # Also what happens to a vault that is set back to before it revealed N: why an old copy must halt.
    assert attack_succeeds(alone_with_amal(), early_reveal=True)


def test_a_stolen_card_key_convinces_its_owner_of_nobody() -> None:
    world = with_the_key_of_boris()
    assert not attack_succeeds(world)
    world.targets = (1,)
    assert attack_succeeds(world)  # the search does use the stolen key
