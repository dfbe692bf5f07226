"""The steps of JR2 (DESIGN 6.2). Each takes a state and the others' messages and gives the next state.

1. **Nothing before R4 is evidence**: no proof of possession, no nonce that a seed determines, no value that
   only a key holder could have made (`forging.py` makes all of it for all parties). So R1 to R3 run by themselves.
2. **y is committed before any Y is seen; every mask is fresh and private**: nobody can choose Y so as to know
   it, and two parties' pre-signatures have no lock in common.
3. **Signing is one step, and a person's**: it is possible only from `Ready`, in which all n pre-signatures hold.
4. **y goes to the desk only after every mask has been seen**; who withdraws never deposits it.
5. **A step that raises has changed nothing.** A step that returns has used its state up.

Messages come in any order, repeated or not; each names its party. `random` returns as many random bytes as
asked; the order in which a step draws is part of the test vectors.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence

from pourparler_crypto.encoding import lp
from pourparler_crypto.errors import NotAuthentic, UsageError
from pourparler_crypto.jr2.case import check_mask, check_share, rows
from pourparler_crypto.jr2.checks import (
    challenge_for,
    check_commitments,
    check_openings,
    check_presignatures,
    sum_of,
)
from pourparler_crypto.jr2.formulas import presign as _presign
from pourparler_crypto.jr2.formulas import share_of
from pourparler_crypto.jr2.group import (
    ED25519,
    POINT_LENGTH,
    SCALAR_LENGTH,
    WIDE_LENGTH,
    expand,
    reduced,
)
from pourparler_crypto.jr2.round import Round, pieces
from pourparler_crypto.jr2.signatures import SIGNATURE_LENGTH, Completed, completed, parts, verify
from pourparler_crypto.jr2.states import Committed, Deposited, Opened, Presigned, Ready, Signed
from pourparler_crypto.jr2.wire import COMMITMENT_LENGTH, RHO_LENGTH, Kind, collect, numbered, points_of, write
from pourparler_crypto.releasekey import ReleaseKey

Random = Callable[[int], bytes]


def commit(about: Round, key: ReleaseKey, *, random: Random = os.urandom) -> Committed:
    """R1: draw y of each text, and rho; commit to both. The message has 82 bytes.

    Draws 64 bytes for each y, then 32 for rho. Raises UsageError when the key is of no signatory.
    """
    party = about.number_of(key.public)
    _, prefix = expand(key.seed)
    y = b"".join(_scalar(random, "y", prefix, about.sid, k.to_bytes(1)) for k in range(len(about.texts)))
    return Committed(about, party, y, _rho(random, prefix, about.sid))


def commit_further(about: Round, *, random: Random = os.urandom) -> Committed:
    """R1 of a further signer: somebody without a key, whose party signs only when this person does too.

    It holds a y and a d like everybody, and nothing is signed without them. Its number comes with `open_`.
    """
    y = b"".join(_scalar(random, "y", b"", about.sid, k.to_bytes(1)) for k in range(len(about.texts)))
    return Committed(about, 0, y, _rho(random, b"", about.sid))


def open_(state: Committed, messages: Iterable[bytes], further: Sequence[bytes] = ()) -> Opened:
    """R2: all have committed, so Y may be seen, by the other signers only. The message has 50 + 32·k bytes.

    `further`: R1 of the further signers, in the order in which they are numbered after the parties. Raises
    Incomplete, Malformed, WrongRound, OutOfTurn, OwnAltered, Contradiction, Copied; AlreadyUsed.
    """
    state.check_usable()
    count, own = len(state.round.keys), state.message
    if not state.party and own not in further:
        raise UsageError("this further signer has no place in the round")
    party = state.party or count + 1 + further.index(own)
    ordered = [numbered(message, number) for number, message in enumerate(further, count + 1)]
    mine = own if state.party else numbered(own, party)
    signers = count + len(further)
    bodies = collect(
        Kind.COMMITMENT, state.round.sid, signers, len(state.round.texts), [*messages, *ordered], mine
    )
    check_commitments(bodies, party)
    following = Opened(state.round, party, state.y, state.rho, b"".join(bodies))
    state.erase()
    return following


def presign(
    state: Opened,
    messages: Iterable[bytes],
    key: ReleaseKey | None,
    *,
    random: Random = os.urandom,
) -> Presigned:
    """R3: all openings hold; pre-sign every text under Y and a mask of one's own. The message has 18 + 96·k bytes.

    Draws for each text 64 bytes for d, then for each 64 for r. r exists within this call only. A further signer has
    no key, and shows its D alone (18 + 32·k bytes). Raises as `open_` does, and BadOpening; UsageError when the key is
    another party's.
    """
    bodies = _collect(state, Kind.OPENING, messages, state.message)
    if (state.round.number_of(key.public) if key else None) != (
        state.party if state.party in state.round.parties else None
    ):
        raise UsageError("this is another party's release key")
    commitments = pieces(state.commitments, COMMITMENT_LENGTH)
    locks, rhos = check_openings(state.round, commitments, bodies, state.party)
    x, prefix = expand(key.seed) if key else (b"", b"")
    texts = range(len(state.round.texts))
    d = b"".join(_scalar(random, "d", prefix, state.round.sid, k.to_bytes(1)) for k in texts)
    mask_points = points_of(d)
    sums = sum_of(locks)
    body = b"" if key else b"".join(mask_points)
    for k, (text, lock) in enumerate(zip(state.round.texts, sums, strict=True) if key else ()):
        public = state.round.keys[state.party - 1]
        context = (k.to_bytes(1), lock, mask_points[k], public)
        body += b"".join(
            _presign(
                ED25519,
                r=_scalar(random, "r", prefix, state.round.sid, *context),
                x=x,
                lock=lock,
                mask_point=mask_points[k],
                challenge=challenge_for(public, text),
            )
        )
    flat = b"".join(point for row in locks for point in row)
    following = Presigned(state.round, state.party, state.y, flat, b"".join(rhos), d, body)
    state.erase()
    return following


def check(state: Presigned, messages: Iterable[bytes]) -> Ready:
    """R3's checks of all parties and texts, one's own included: now a person may sign, or not.

    The state's `case`, `bundle` and `case.digits` are settled from here on. Raises as `open_` does, and
    BadPresignature.
    """
    bodies = _collect(state, Kind.PRESIGNATURE, messages, state.message)
    check_presignatures(state.round, rows(state.locks, len(state.round.texts)), bodies, state.party)
    following = Ready(state.round, state.party, state.y, state.locks, state.rhos, b"".join(bodies), state.d)
    state.erase()
    return following


def sign(state: Ready) -> Signed:
    """R4: a person consents to publication in the party's name. The message for the desk has 18 + 32·k bytes.

    Raises AlreadyUsed.
    """
    state.check_usable()
    following = Signed(state.round, state.party, state.y, state.locks, state.rhos, state.presignatures, state.d)
    check_mask(following.case, following.message)  # what the desk will do: a party must not sign in vain
    state.erase()
    return following


def deposit(state: Signed, messages: Iterable[bytes]) -> Deposited:
    """R5: the desk, or another signer, has shown every mask; each fits its D. The message has 50 + 32·k bytes.

    Raises as `open_` does, and BadMask. A desk that says "complete" without showing all masks draws nothing.
    """
    bodies = _collect(state, Kind.MASK, messages, state.message, state.case.handle)
    for party, body in enumerate(bodies, 1):
        check_mask(state.case, write(Kind.MASK, party, state.case.handle, body))
    following = Deposited(
        state.round, state.party, state.y, state.locks, state.rhos, state.presignatures, b"".join(bodies)
    )
    state.erase()
    return following


def finish(state: Deposited, messages: Iterable[bytes]) -> tuple[Completed, ...]:
    """All signatures of all texts, verified. The state stays: erase it once the release is published.

    `messages` are the shares as the desk shows them at the not-before time, or as the other signers send them
    after it. Raises as `open_` does, and BadShare.
    """
    bodies = _collect(state, Kind.SHARE, messages, state.message, state.case.handle)
    shares = [
        check_share(state.case, write(Kind.SHARE, party, state.case.handle, body)).scalars
        for party, body in enumerate(bodies, 1)
    ]
    return completed(state.round, state.bodies, _masks_by_party(state)[: len(state.round.keys)], shares)


def finish_from(state: Deposited, party: int, signatures: Sequence[bytes]) -> tuple[Completed, ...]:
    """The same, from one party's finished signatures of all texts (64 bytes each), when somebody published
    only those.

    Raises NotAuthentic when they are not this party's, or were not made in this round.
    """
    state.check_usable()
    if party not in state.round.parties or len(signatures) != len(state.round.texts):
        raise UsageError("one signature of each text, of a party of this round")
    shares = []
    for k, signature in enumerate(signatures):
        verify(state.round.keys[party - 1], state.round.texts[k], signature)
        nonce_point, _, response = parts(state.bodies[party - 1])[k]
        if len(signature) != SIGNATURE_LENGTH or signature[:POINT_LENGTH] != nonce_point:
            raise NotAuthentic("this signature was not made in this round")
        mask = _masks_by_party(state)[party - 1][k]
        shares.append(share_of(ED25519, response=response, mask=mask, finished=signature[POINT_LENGTH:]))
    return completed(state.round, state.bodies, _masks_by_party(state)[: len(state.round.keys)], [shares])


def _masks_by_party(state: Deposited) -> list[tuple[bytes, ...]]:
    return [pieces(row, SCALAR_LENGTH) for row in pieces(state.masks, SCALAR_LENGTH * len(state.round.texts))]


def _collect(
    state: Opened | Presigned | Signed | Deposited,
    kind: Kind,
    messages: Iterable[bytes],
    own: bytes,
    bound_to: bytes | None = None,
) -> list[bytes]:
    state.check_usable()
    about = state.round
    return collect(kind, bound_to or about.sid, state.signers, len(about.texts), messages, own, len(about.keys))


def _scalar(random: Random, label: str, prefix: bytes, *context: bytes) -> bytes:
    """`reduce(64 random bytes) + reduce(SHA512(lp("jr2/…/v1", prefix, sid, …)))` mod L, 32 bytes.

    Uniform if either half is: a broken random source does not repeat a nonce, and a seized seed does not tell it.
    """
    hedge = hashlib.sha512(lp(f"jr2/{label}/v1", prefix, *context)).digest()
    return ED25519.add(reduced(_draw(random, WIDE_LENGTH)), reduced(hedge))


def _rho(random: Random, prefix: bytes, sid: bytes) -> bytes:
    """32 random bytes XOR a hash that only the key's holder computes: uniform if either is, like the scalars."""
    hedge = hashlib.sha512(lp("jr2/rho/v1", prefix, sid)).digest()
    return bytes(left ^ right for left, right in zip(_draw(random, RHO_LENGTH), hedge, strict=False))


def _draw(random: Random, count: int) -> bytes:
    drawn = random(count)
    if len(drawn) != count:
        raise UsageError("the random source returned another number of bytes than was asked for")
    return drawn
