"""Parties with a vault that may crash at any instant, and an honest desk: what tests begin with.

`Party` keeps nothing but the encoded state; every step loads it and stores the next one, as a real client
does. No product code imports this module.
"""

import os
from collections.abc import Sequence
from functools import reduce

from pourparler_crypto.errors import NotAuthentic
from pourparler_crypto.jr2.case import Case, check_mask, check_share, complete
from pourparler_crypto.jr2.forging import Transcript
from pourparler_crypto.jr2.group import ED25519, WIDE_LENGTH, challenge, reduced
from pourparler_crypto.jr2.round import Round, Terms
from pourparler_crypto.jr2.signatures import Completed, verify
from pourparler_crypto.jr2.states import Committed, Deposited, Opened, Presigned, Ready, Signed, State, load
from pourparler_crypto.jr2.steps import (
    Random,
    check,
    commit,
    commit_further,
    deposit,
    finish,
    open_,
    presign,
    sign,
)
from pourparler_crypto.jr2.wire import HEADER
from pourparler_crypto.releasekey import ReleaseKey

NOW = 1_800_000_000  # Unix seconds
TERMS = Terms(NOW + 86_400, NOW + 2 * 86_400, NOW + 3 * 86_400, 3600)
TEXT = b"The parties agree to meet again.\n"


class Party:
    """One release device, or without a key a further signer's. `vault` holds the state, `sent` every message."""

    def __init__(self, about: Round, key: ReleaseKey | None, random: Random = os.urandom) -> None:
        self.round, self.key, self.random = about, key, random
        self.vault = b""
        self.sent: list[bytes] = []
        self.number = about.number_of(key.public) if key else 0

    @property
    def state(self) -> State:
        """As the vault has it."""
        return load(self.vault)

    def begin(self) -> bytes:
        """R1."""
        if self.key is None:
            return self._stored(commit_further(self.round, random=self.random))
        return self._stored(commit(self.round, self.key, random=self.random))

    def receive(self, messages: Sequence[bytes], further: Sequence[bytes] = ()) -> bytes | None:
        """The next message, if the step has one: R2 after all R1, R3 after all R2, none after all R3; R5 after
        R4.
        """
        match self.state:
            case Committed() as state:
                opened = open_(state, messages, further)
                self.number = opened.party
                return self._stored(opened)
            case Opened() as state:
                return self._stored(presign(state, messages, self.key, random=self.random))
            case Presigned() as state:
                self.vault = check(state, messages).encode()
                return None
            case Signed() as state:
                return self._stored(deposit(state, messages))
        raise AssertionError("nothing is awaited in this state")

    def ready(self) -> Ready:
        """The state in which a person may sign."""
        state = self.state
        if not isinstance(state, Ready):
            raise TypeError("not ready")
        return state

    def sign(self) -> bytes:
        """R4."""
        return self._stored(sign(self.ready()))

    def finish(self, shares: Sequence[bytes]) -> tuple[Completed, ...]:
        """All signatures."""
        state = self.state
        if not isinstance(state, Deposited):
            raise TypeError("not deposited")
        return finish(state, shares)

    def _stored(self, state: Committed | Opened | Presigned | Signed | Deposited) -> bytes:
        self.vault = state.encode()
        self.sent.append(state.message)
        return state.message


class Desk:
    """Takes values for one case, shows all masks or none, all shares or none, and completes."""

    def __init__(self, encoded: bytes, bundle: bytes, handle: bytes) -> None:
        self.case = Case.decode(encoded)
        self.case.check_handle(handle)
        self.case.check_bundle(bundle)
        self.bundle = bundle
        self._masks: dict[int, bytes] = {}
        self._shares: dict[int, bytes] = {}

    def take_mask(self, message: bytes) -> None:
        """R4."""
        self._masks[check_mask(self.case, message).party] = message

    def take_share(self, message: bytes) -> None:
        """R5."""
        self._shares[check_share(self.case, message).party] = message

    def masks(self) -> list[bytes] | None:
        """All, or None."""
        return list(self._masks.values()) if len(self._masks) == self.case.parties else None

    def publish(self) -> tuple[Completed, ...]:
        """At the not-before time."""
        masks = [check_mask(self.case, message) for message in self._masks.values()]
        shares = [check_share(self.case, message) for message in self._shares.values()]
        return complete(self.case, self.bundle, masks, shares)


def a_round(keys: Sequence[ReleaseKey], texts: Sequence[bytes] = (TEXT,), nonce: bytes | None = None) -> Round:
    """A fresh round about these texts."""
    return Round(nonce or os.urandom(32), tuple(texts), tuple(key.public for key in keys), TERMS)


def parties(count: int, texts: Sequence[bytes] = (TEXT,), random: Random = os.urandom) -> list[Party]:
    """So many parties with fresh keys in a fresh round."""
    return seated([ReleaseKey.generate(random) for _ in range(count)], texts, random)


def seated(
    keys: Sequence[ReleaseKey], texts: Sequence[bytes] = (TEXT,), random: Random = os.urandom
) -> list[Party]:
    """Parties with these keys in one fresh round."""
    about = a_round(keys, texts, random(32))
    return [Party(about, key, random) for key in keys]


def with_further(count: int, further: int, texts: Sequence[bytes] = (TEXT,)) -> list[Party]:
    """So many parties, and so many further signers after them."""
    everyone = parties(count, texts)
    return everyone + [Party(everyone[0].round, None) for _ in range(further)]


def again(everyone: Sequence[Party]) -> list[Party]:
    """The same parties at a second appointment."""
    return seated([party.key for party in everyone if party.key], everyone[0].round.texts)


def play(everyone: Sequence[Party]) -> Transcript:
    """R1 to R3 in lock step, up to Ready."""
    first = [party.begin() for party in everyone]
    further = [message for party, message in zip(everyone, first, strict=True) if party.key is None]
    first = first[: len(first) - len(further)]
    second = [_some(party.receive(first, further)) for party in everyone]
    third = [_some(party.receive(second)) for party in everyone]
    for party in everyone:
        party.receive(third)
    return Transcript(everyone[0].round, tuple(first + further), tuple(second), tuple(third))


def desk_of(party: Party) -> Desk:
    """The case as this party would open it."""
    ready = party.ready()
    return Desk(ready.case.encode(), ready.bundle, ready.case.handle)


def release(everyone: Sequence[Party]) -> tuple[Desk, tuple[Completed, ...]]:
    """All of it, from R1 to the publication."""
    play(everyone)
    desk = desk_of(everyone[0])
    for party in everyone:
        desk.take_mask(party.sign())
    masks = desk.masks()
    if masks is None:
        raise AssertionError("all have signed")
    for party in everyone:
        desk.take_share(_some(party.receive(masks)))
    return desk, desk.publish()


def _some(message: bytes | None) -> bytes:
    if message is None:
        raise AssertionError("this step has a message")
    return message


# An attacker's arithmetic. Python integers will do for it: it has nothing to hide.

L = 2**252 + 27742317777372353535851937790883648493  # the group's order, RFC 8032, 5.1


def scalar() -> bytes:
    """A random scalar."""
    return reduced(os.urandom(WIDE_LENGTH))


def number(data: bytes) -> int:
    """A scalar as an integer."""
    return int.from_bytes(data, "little")


def as_scalar(value: int) -> bytes:
    """An integer mod L as a scalar."""
    return (value % L).to_bytes(32, "little")


def total(points: Sequence[bytes]) -> bytes:
    """Sum of points."""
    return reduce(ED25519.plus, points)


def lock_of(public: bytes, nonce_point: bytes, response: bytes, text: bytes = TEXT) -> bytes:
    """S = R + c·X − ŝ·G: what a pre-signature lacks to be a signature, as a point."""
    c = challenge(nonce_point, public, text)
    return ED25519.minus(ED25519.plus(nonce_point, ED25519.times(c, public)), ED25519.base(response))


def is_signature(public: bytes, nonce_point: bytes, s: bytes, text: bytes = TEXT) -> bool:
    """Whether stock verifiers take (R, S)."""
    try:
        verify(public, text, nonce_point + s)
    except NotAuthentic:
        return False
    return True


def own_body(party: Party) -> bytes:
    """The body of R3 that a party has sent."""
    return party.sent[2][HEADER:]
