"""The five steps of DESIGN 5. Each takes a state and the peer's next message and gives the next state.

1. **N is revealed only to who has committed, and only to one commitment.** A commitment made without the card's
   key is a guess at 32 bytes.
2. **An opening follows only the N that was decrypted.** So nobody obtains one for a challenge whose secret
   somebody else keeps, and who receives one could have made it.
3. **Whatever could be decrypted, the messages are four and their sizes the same.** A challenge that does not open
   is treated as one that held another N: the person is warned, and nothing shows before the last message.
4. **A step that raises has changed nothing.** A step that returns has used its state up.

Messages come to these functions only when MLS has authenticated them as the peer's leaf's. `random` returns as
many random bytes as asked; `now` is in Unix seconds.
"""

import hmac
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pourparler_crypto.card import Card, CardKey
from pourparler_crypto.dpa.errors import NotAttested
from pourparler_crypto.dpa.formulas import commitment, mac, mac_key, verify_opening
from pourparler_crypto.dpa.pair import Context, Pair
from pourparler_crypto.dpa.states import Challenged, Committed, Opened, Revealed
from pourparler_crypto.dpa.wire import N_LENGTH, OPENING_LENGTH, SALT_LENGTH, Kind, read, run_of, write
from pourparler_crypto.errors import ProtocolError, UsageError

Random = Callable[[int], bytes]

# Openings that one seat may draw from a device. Whether a device opens tells whoever prepared the peer's
# challenge one bit that only this card's key gives. "It opened" is such a bit as well, also in a run that ends in
# acceptance; so all openings count, not failures: among many good runs even three failures would say a lot.
MAX_OPENINGS: Final = 3


@dataclass(frozen=True, slots=True)
class Attested:
    """The leaf and the card belong together. Nothing in it proves so to anybody else.

    context, attempt  of the run
    fingerprint       of the peer's card, 32 bytes
    leaf              the peer's current leaf signature key, 32 bytes
    """

    context: Context
    attempt: int
    fingerprint: bytes
    leaf: bytes


def challenge(
    pair: Pair, own: Card, peer: Card, *, openings: int, now: int, random: Random = os.urandom
) -> Challenged:
    """Step 1: a fresh N sealed to the peer's card. The message has 1,186 bytes.

    `openings` is how many openings, real or not, this device has sent to that seat in earlier attempts, whatever
    came of them; lapsed runs that sent none are free. Raises UsageError when they are MAX_OPENINGS, or when a card
    is not the pair's; Malformed when the peer's card holds no valid key.
    """
    if not 0 <= openings < MAX_OPENINGS:
        raise UsageError(f"a seat gets at most {MAX_OPENINGS} openings: it has to be seated anew")
    if own.fingerprint != pair.own or peer.fingerprint != pair.peer:
        raise UsageError("these are not the two cards of this pair")
    n = _draw(random, N_LENGTH)
    return Challenged(pair, now, write(Kind.CHALLENGE, pair, b"", peer.seal(pair.info, n)), n)


def commit(
    state: Challenged, message: bytes, *, own: Card, key: CardKey, now: int, random: Random = os.urandom
) -> Committed:
    """Step 2: open the peer's challenge (1,186 bytes) and commit to the answer. The message has 82 bytes.

    A challenge that does not open is answered under a random N in its place, by the same path: the commitment
    looks the same, nobody can check it, and the state does not tell either. Raises UsageError when the key does
    not belong to the pair's own card; Malformed, OutOfTurn, WrongRun, Lapsed, AlreadyUsed.
    """
    state.check_usable(now)
    if own.fingerprint != state.pair.own or key.card(own.name) != own:
        raise UsageError("this is not the key of the pair's own card")
    pair = state.pair
    received = read(Kind.CHALLENGE, pair, b"", message)
    salt, peer_n = _draw(random, SALT_LENGTH), _draw(random, N_LENGTH)
    try:
        opened = key.open(pair.mirrored.info, received)
    except ProtocolError:
        opened = peer_n
    k = mac_key(pair, state.own_n, opened, state.challenge, received)
    run = run_of(pair, state.challenge, received)
    tag, expected = mac(k, pair), mac(k, pair.mirrored)
    answer = write(Kind.COMMITMENT, pair, run, commitment(salt, tag))
    following = Committed(pair, state.began, answer, run, state.own_n, opened, salt, tag, expected)
    state.erase()
    return following


def reveal(state: Committed, message: bytes, *, now: int) -> Revealed:
    """Step 3: the peer has committed (82 bytes), so it may know N. The message has 50 bytes.

    Raises Malformed, OutOfTurn, WrongRun, Lapsed, AlreadyUsed.
    """
    state.check_usable(now)
    pair, run = state.pair, state.run
    received = read(Kind.COMMITMENT, pair, run, message)
    answer = write(Kind.REVEAL, pair, run, state.own_n)
    kept = (state.peer_n, state.salt, state.tag, state.expected)
    following = Revealed(pair, state.began, answer, run, *kept, received)
    state.erase()
    return following


def open_(state: Revealed, message: bytes, *, now: int, random: Random = os.urandom) -> Opened:
    """Step 4: open the commitment if the peer's N (50 bytes) is the one it had sealed. The message has 82 bytes.

    If it is not, 64 random bytes go out in its place, so that the service counts no difference, and the state is
    `suspect`: warn the person. Every state that comes from here counts as one of the seat's `openings`.
    Raises Malformed, OutOfTurn, WrongRun, Lapsed, AlreadyUsed.
    """
    state.check_usable(now)
    pair, run = state.pair, state.run
    received = read(Kind.REVEAL, pair, run, message)
    decoy = _draw(random, OPENING_LENGTH)
    known = hmac.compare_digest(received, state.peer_n)
    answer = write(Kind.OPENING, pair, run, state.salt + state.tag if known else decoy)
    flag = b"\x00" if known else b"\x01"
    following = Opened(pair, state.began, answer, run, state.expected, state.commitment, flag)
    state.erase()
    return following


def accept(state: Opened, message: bytes, *, lineage: Sequence[bytes], now: int) -> Attested:
    """Step 5: the peer's opening (82 bytes) opens its commitment and its tag is right; everything is erased.

    `lineage` holds the signature keys of the peer's leaf in the fold, each put there by a valid commit of the one
    before, the current one last: the leaf named in the pair must be among them. Raises NotAttested, which ends the
    run; Malformed, OutOfTurn, WrongRun, Lapsed, AlreadyUsed.
    """
    state.check_usable(now)
    pair = state.pair
    received = read(Kind.OPENING, pair, state.run, message)
    verify_opening(state.commitment, state.expected, received)
    if state.suspect:
        raise NotAttested("the device has revealed another secret than it had sealed")
    if pair.peer_leaf not in lineage:
        raise NotAttested("the device's leaf does not descend from the one that was attested")
    result = Attested(pair.context, pair.attempt, pair.peer, lineage[-1])
    state.erase()
    return result


def _draw(random: Random, length: int) -> bytes:
    drawn = random(length)
    if len(drawn) != length:
        raise UsageError("the source of randomness returned another number of bytes")
    return drawn
