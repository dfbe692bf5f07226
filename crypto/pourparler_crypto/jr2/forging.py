"""How to make up R1 to R3 of a joint release, for all who deny theirs: no key, no party, no device is needed.

`forge` draws y, rho, R and ŝ and solves R3's equation for D. In a genuine round d and r are uniform and
secret, so (R, D) is uniform given Y, with ŝ determined; here R and ŝ are uniform, with D determined by the
same equation. That is the same distribution (up to 2**-250 for zero scalars), not merely one that is hard to
tell apart: whatever the judge can compute, also with every release key in hand. Nothing is programmed or
rewound: the hash is computed as it is.

What cannot be made up is d: a forged round has no R4. Once the masks are open, all pre-signatures hang on one
Y, and nobody can make up those of two parties at once: from R4 on the transcript says "all of these but one,
at least". Between two parties that is "one of us": either could have made it alone.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pourparler_crypto.jr2.checks import challenge_for, check_commitments, check_openings, check_presignatures
from pourparler_crypto.jr2.formulas import made_up
from pourparler_crypto.jr2.group import ED25519, WIDE_LENGTH, challenge, reduced
from pourparler_crypto.jr2.round import Round
from pourparler_crypto.jr2.states import Ready
from pourparler_crypto.jr2.steps import Random
from pourparler_crypto.jr2.wire import RHO_LENGTH, Kind, collect, commitment, numbered, points_of, write


@dataclass(frozen=True, slots=True)
class Transcript:
    """R1 to R3 of all parties, as a member of the channel, a relay or a thief has them."""

    round: Round
    commitments: tuple[bytes, ...]
    openings: tuple[bytes, ...]
    presignatures: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Forged:
    """A transcript, and what a genuine vault would hold besides: y of each signer, concatenated by text."""

    transcript: Transcript
    shares: tuple[bytes, ...]


def forge(about: Round, random: Random = os.urandom, further: int = 0) -> Forged:
    """R1 to R3 of all parties, and of so many further signers, from the text and the public keys alone."""
    texts = range(len(about.texts))
    signers = range(len(about.keys) + further)
    shares = [b"".join(reduced(random(WIDE_LENGTH)) for _ in texts) for _ in signers]
    rhos = [random(RHO_LENGTH) for _ in signers]
    locks = [points_of(share) for share in shares]
    sums = [reduce(ED25519.plus, column) for column in zip(*locks, strict=True)]
    bodies = [forge_presignature(about, party, sums, random) for party in about.parties]
    bodies += [b"".join(points_of(reduced(random(WIDE_LENGTH)))[0] for _ in texts) for _ in range(further)]
    return Forged(transcript_of(about, locks, rhos, bodies), tuple(shares))


def forge_ready(about: Round, party: int, random: Random = os.urandom) -> Ready:
    """The state from which this party could sign, with its y and d, made up without any key.

    Here R, ŝ, d and y are drawn and Y of another party is solved for; nobody knows its y. As a genuine Y is
    uniform too, this is again the same distribution. It works for one party's state at a time.
    """
    texts = range(len(about.texts))
    d, y = (b"".join(reduced(random(WIDE_LENGTH)) for _ in texts) for _ in range(2))
    rhos = [random(RHO_LENGTH) for _ in about.keys]
    own, sums = b"", []
    for text, mask_point in zip(about.texts, points_of(d), strict=True):
        nonce_point, response = points_of(reduced(random(WIDE_LENGTH)))[0], reduced(random(WIDE_LENGTH))
        public = about.keys[party - 1]
        right = ED25519.plus(nonce_point, ED25519.times(challenge(nonce_point, public, text), public))
        sums.append(ED25519.minus(ED25519.minus(right, ED25519.base(response)), mask_point))
        own += nonce_point + mask_point + response
    locks = [points_of(y)] + [
        points_of(b"".join(reduced(random(WIDE_LENGTH)) for _ in texts)) for _ in about.keys[2:]
    ]
    solved = [
        reduce(ED25519.minus, column, total) for total, column in zip(sums, zip(*locks, strict=True), strict=True)
    ]
    others = iter([tuple(solved), *locks[1:]])
    rows = [points_of(y) if number == party else next(others) for number in about.parties]
    bodies = [
        own if number == party else forge_presignature(about, number, sums, random) for number in about.parties
    ]
    flat = b"".join(point for row in rows for point in row)
    return Ready(about, party, y, flat, b"".join(rhos), b"".join(bodies), d)


def forge_presignature(about: Round, party: int, sums: Sequence[bytes], random: Random = os.urandom) -> bytes:
    """The body of R3 of any party, under Y as given for each text: 96·k bytes."""
    public = about.keys[party - 1]
    body = b""
    for text, lock in zip(about.texts, sums, strict=True):
        nonce_point, response = points_of(reduced(random(WIDE_LENGTH)))[0], reduced(random(WIDE_LENGTH))
        body += b"".join(
            made_up(
                ED25519,
                nonce_point=nonce_point,
                response=response,
                public=public,
                lock=lock,
                challenge=challenge_for(public, text),
            )
        )
    return body


def judge(transcript: Transcript) -> None:
    """Every check that a third party could make of R1 to R3, and the same ones that the parties make.

    Raises what the steps raise. Whatever passes proves nothing, since `forge` passes.
    """
    about = transcript.round
    n, k, signers = len(about.keys), len(about.texts), len(transcript.commitments)
    first = [numbered(m, i) if i > n else m for i, m in enumerate(transcript.commitments, 1)]

    def bodies(kind: Kind, messages: Sequence[bytes]) -> list[bytes]:
        return collect(kind, about.sid, signers, k, messages, messages[0], n)

    commitments = bodies(Kind.COMMITMENT, first)
    check_commitments(commitments, 0)
    locks, _ = check_openings(about, commitments, bodies(Kind.OPENING, transcript.openings), 0)
    check_presignatures(about, locks, bodies(Kind.PRESIGNATURE, transcript.presignatures), 0)


def transcript_of(
    about: Round, locks: Sequence[Sequence[bytes]], rhos: Sequence[bytes], bodies: Sequence[bytes]
) -> Transcript:
    """The messages of all signers out of Y ([signer - 1][text]), rho and the bodies of R3."""
    signers = range(1, len(locks) + 1)
    numbers = [signer if signer in about.parties else 0 for signer in signers]
    return Transcript(
        about,
        tuple(
            write(Kind.COMMITMENT, number, about.sid, commitment(about.sid, number, row, rho))
            for number, row, rho in zip(numbers, locks, rhos, strict=True)
        ),
        tuple(
            write(Kind.OPENING, signer, about.sid, b"".join(row) + rho)
            for signer, row, rho in zip(signers, locks, rhos, strict=True)
        ),
        tuple(
            write(Kind.PRESIGNATURE, signer, about.sid, body) for signer, body in zip(signers, bodies, strict=True)
        ),
    )
