"""How to make up an attestation, for all who deny theirs: no private key, no card, no device is needed.

`forge` draws the same coins as two honest devices (two N, two salts, the coins of two encapsulations) from the
same distributions, and computes the eight messages from them by the same formulas. In an honest run the private
keys serve only to learn N values that the other side drew, so the transcript is *the same function of the same
coins*: the two distributions are equal, not merely hard to tell apart, whatever the judge can compute, and even if
the judge holds both card keys. (The one difference: an honest run fails when ML-KEM fails to decrypt, less than
once in 2**160.) Nothing is programmed or rewound: anyone can do it alone, at any time.

`judge` makes every check that a third party could run. It takes part in no product code; the forger is shipped so
that everybody can use it.
"""

import hmac
import os
from dataclasses import dataclass

from pourparler_crypto.card import Card, CardKey
from pourparler_crypto.dpa.formulas import commitment, mac, mac_key, verify_opening
from pourparler_crypto.dpa.pair import Pair
from pourparler_crypto.dpa.steps import Random
from pourparler_crypto.dpa.wire import N_LENGTH, SALT_LENGTH, Kind, read, run_of, write
from pourparler_crypto.errors import NotAuthentic, UsageError


@dataclass(frozen=True, slots=True)
class Transcript:
    """A whole run as a member of the channel has it: the pair as the first side sees it, four messages each."""

    pair: Pair
    first: tuple[bytes, bytes, bytes, bytes]
    second: tuple[bytes, bytes, bytes, bytes]


def forge(pair: Pair, first: Card, second: Card, random: Random = os.urandom) -> Transcript:
    """A complete run between two cards of which only the public halves are known, under any leaf keys and `ctx`.

    Raises UsageError when the cards are not those of the pair.
    """
    if (first.fingerprint, second.fingerprint) != (pair.own, pair.peer):
        raise UsageError("these are not the two cards of this pair")
    back = pair.mirrored
    n1, n2 = random(N_LENGTH), random(N_LENGTH)
    salt1, salt2 = random(SALT_LENGTH), random(SALT_LENGTH)
    sealed1, sealed2 = second.seal(pair.info, n1), first.seal(back.info, n2)
    key = mac_key(pair, n1, n2, sealed1, sealed2)
    run = run_of(pair, sealed1, sealed2)

    def four(side: Pair, sealed: bytes, n: bytes, salt: bytes) -> tuple[bytes, bytes, bytes, bytes]:
        tag = mac(key, side)
        return (
            write(Kind.CHALLENGE, side, b"", sealed),
            write(Kind.COMMITMENT, side, run, commitment(salt, tag)),
            write(Kind.REVEAL, side, run, n),
            write(Kind.OPENING, side, run, salt + tag),
        )

    return Transcript(pair, four(pair, sealed1, n1, salt1), four(back, sealed2, n2, salt2))


def judge(transcript: Transcript, first: CardKey | None = None, second: CardKey | None = None) -> None:
    """Check all that can be checked; with a card's key (of the first or second side) also what was sealed to it.

    Raises Malformed, WrongRun, OutOfTurn, NotAttested or NotAuthentic at the first thing that a genuine run would
    not show.
    """
    pair, back = transcript.pair, transcript.pair.mirrored
    sealed1 = read(Kind.CHALLENGE, back, b"", transcript.first[0])
    sealed2 = read(Kind.CHALLENGE, pair, b"", transcript.second[0])
    run = run_of(pair, sealed1, sealed2)
    n1 = read(Kind.REVEAL, back, run, transcript.first[2])
    n2 = read(Kind.REVEAL, pair, run, transcript.second[2])
    key = mac_key(pair, n1, n2, sealed1, sealed2)
    for side, messages in ((pair, transcript.first), (back, transcript.second)):
        committed = read(Kind.COMMITMENT, side.mirrored, run, messages[1])
        verify_opening(committed, mac(key, side), read(Kind.OPENING, side.mirrored, run, messages[3]))
    for card_key, info, sealed, n in ((second, pair.info, sealed1, n1), (first, back.info, sealed2, n2)):
        if card_key is not None and not hmac.compare_digest(card_key.open(info, sealed), n):
            raise NotAuthentic("another secret was sealed than was revealed")
