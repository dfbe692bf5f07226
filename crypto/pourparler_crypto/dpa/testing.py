"""A device that attests, with a vault that may crash at any instant: what tests begin with.

`Seat` keeps nothing but the encoded state; every step loads it and stores the next one, as a real client does. Two
seats of one channel are made by `two_seats`; `exchange` lets them talk until nobody has anything to say. No
product code imports this module.
"""

import os
from collections.abc import Sequence
from dataclasses import replace

from pourparler_crypto.card import Card, CardKey
from pourparler_crypto.dpa.forging import Transcript
from pourparler_crypto.dpa.formulas import mac, mac_key
from pourparler_crypto.dpa.pair import Context, Pair
from pourparler_crypto.dpa.states import Challenged, Committed, Opened, Revealed, load
from pourparler_crypto.dpa.steps import Attested, Random, accept, challenge, commit, open_, reveal
from pourparler_crypto.dpa.wire import HEADER, Kind, run_of, write

NOW = 1_800_000_000  # Unix seconds


class Seat:
    """One device in one run. `vault` holds the state, `sent` every message in order."""

    def __init__(self, pair: Pair, key: CardKey, own: Card, peer: Card, random: Random = os.urandom) -> None:
        self.pair, self.key, self.own, self.peer, self.random = pair, key, own, peer, random
        self.now = NOW
        self.vault = b""
        self.sent: list[bytes] = []
        self.attested: Attested | None = None
        self.warned = False
        self.lineage: Sequence[bytes] = (pair.peer_leaf,)

    def begin(self, openings: int = 0) -> bytes:
        """Send the challenge."""
        state = challenge(self.pair, self.own, self.peer, openings=openings, now=self.now, random=self.random)
        return self._stored(state)

    def receive(self, message: bytes) -> bytes | None:
        """The answer to the peer's next message; None when the run is at its end. Raises what the steps raise."""
        match load(self.vault):
            case Challenged() as state:
                following = commit(state, message, own=self.own, key=self.key, now=self.now, random=self.random)
                return self._stored(following)
            case Committed() as state:
                return self._stored(reveal(state, message, now=self.now))
            case Revealed() as state:
                opened = open_(state, message, now=self.now, random=self.random)
                self.warned = opened.suspect
                return self._stored(opened)
            case Opened() as state:
                self.attested = accept(state, message, lineage=self.lineage, now=self.now)
                self.vault = b""
        return None

    def _stored(self, state: Challenged | Committed | Revealed | Opened) -> bytes:
        self.vault = state.encode()
        self.sent.append(state.message)
        return state.message


def new_card(name: str) -> tuple[CardKey, Card]:
    """A card and its key."""
    key = CardKey.generate()
    return key, key.card(name)


def a_context() -> Context:
    """Of a channel that nobody has seen before."""
    return Context(os.urandom(32), 7, os.urandom(48))


def two_seats(names: tuple[str, str] = ("Amal", "Boris"), context: Context | None = None) -> tuple[Seat, Seat]:
    """Two devices that see each other as they are."""
    (key1, card1), (key2, card2) = new_card(names[0]), new_card(names[1])
    pair = Pair(context or a_context(), card1.fingerprint, os.urandom(32), card2.fingerprint, os.urandom(32))
    return Seat(pair, key1, card1, card2), Seat(pair.mirrored, key2, card2, card1)


def again(seat: Seat) -> Seat:
    """The same device in the pair's next attempt."""
    return Seat(replace(seat.pair, attempt=seat.pair.attempt + 1), seat.key, seat.own, seat.peer, seat.random)


def exchange(first: Seat, second: Seat) -> Transcript:
    """A run from its beginning to its end, in lock step; raises what a step raises."""
    out1, out2 = first.begin(), second.begin()
    for _ in range(3):
        answer1, answer2 = first.receive(out2), second.receive(out1)
        if answer1 is None or answer2 is None:
            raise AssertionError("a run has four messages each way")
        out1, out2 = answer1, answer2
    first.receive(out2)
    second.receive(out1)
    return transcript(first, second)


def transcript(first: Seat, second: Seat) -> Transcript:
    """What two seats have sent."""
    a0, a1, a2, a3 = first.sent
    b0, b1, b2, b3 = second.sent
    return Transcript(first.pair, (a0, a1, a2, a3), (b0, b1, b2, b3))


def played(steps: int) -> tuple[Seat, Seat, bytes]:
    """Two seats after this many messages each; and the second one's newest, which the first has not had."""
    first, second = two_seats()
    out1, out2 = first.begin(), second.begin()
    for _ in range(steps - 1):
        answer1, answer2 = first.receive(out2), second.receive(out1)
        if answer1 is None or answer2 is None:
            raise AssertionError("a run has four messages each way")
        out1, out2 = answer1, answer2
    return first, second, out2


class Impostor:
    """Claims a card that is not its own, on a leaf of its own, and does right whatever needs no key."""

    def __init__(self, victim: Seat, n: bytes | None = None) -> None:
        self.victim, self.pair = victim, victim.pair.mirrored
        self.n = n or os.urandom(32)
        self.sealed = victim.own.seal(self.pair.info, self.n)
        self.run = b""

    def challenge(self, sealed: bytes | None = None) -> bytes:
        """Its challenge, or another that somebody prepared."""
        self.sealed = sealed or self.sealed
        self.run = run_of(self.pair, self.sealed, self.victim.sent[0][HEADER:])
        return write(Kind.CHALLENGE, self.pair, b"", self.sealed)

    def tag(self, n_of_victim: bytes) -> bytes:
        """The tag that the claimed card's owner would send, if this is the N sealed to it."""
        key = mac_key(self.pair, self.n, n_of_victim, self.sealed, self.victim.sent[0][HEADER:])
        return mac(key, self.pair)

    def says(self, kind: Kind, body: bytes) -> bytes:
        """A message of the run with any body."""
        return write(kind, self.pair, self.run, body)


def victim_with_impostor() -> tuple[Seat, Impostor]:
    """A device, and an impostor who claims the peer's card."""
    victim, _ = two_seats()
    victim.begin()
    return victim, Impostor(victim)
