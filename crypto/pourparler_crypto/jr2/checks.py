"""What every party checks of R1 to R3, and all that anybody else could check.

A check raises, names the party, and says what it does not prove. Checks that are *not* made: a proof of possession
of Y, D or R, which would be evidence; that a value is "random", which cannot be seen. Who sends a D whose d it
does not know, or a Y whose y it does not know, wastes the round: it can never sign or deposit.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import reduce

from pourparler_crypto.errors import Malformed
from pourparler_crypto.jr2.errors import BadOpening, BadPresignature, Copied
from pourparler_crypto.jr2.formulas import balanced
from pourparler_crypto.jr2.group import ED25519, POINT_LENGTH, challenge, check_point, check_scalar
from pourparler_crypto.jr2.round import Round, pieces
from pourparler_crypto.jr2.signatures import parts
from pourparler_crypto.jr2.wire import RHO_LENGTH, commitment

Rows = Sequence[tuple[bytes, ...]]  # [party - 1][text]


def check_commitments(bodies: Sequence[bytes], own: int) -> None:
    """R1: all commitments are distinct. Raises Copied; `own` is this party's number, or 0."""
    _distinct(enumerate(bodies, 1), "commitment", own)


def check_openings(
    about: Round, commitments: Sequence[bytes], bodies: Sequence[bytes], own: int
) -> tuple[list[tuple[bytes, ...]], list[bytes]]:
    """R2: every opening is of its commitment, its Y valid points, all distinct. Gives Y ([party - 1][text])
    and rho.

    Raises BadOpening, Copied.
    """
    locks, rhos = [], []
    for party, body in enumerate(bodies, 1):
        row, rho = pieces(body[:-RHO_LENGTH], POINT_LENGTH), body[-RHO_LENGTH:]
        if commitment(about.sid, party if party in about.parties else 0, row, rho) != commitments[party - 1]:
            raise BadOpening(party, "what was opened is not what was committed to")
        for point in row:
            try:
                check_point(point)
            except Malformed:
                raise BadOpening(party, "Y is no point of the prime-order group") from None
        locks.append(row)
        rhos.append(rho)
    _distinct(((party, point) for party, row in enumerate(locks, 1) for point in row), "point", own)
    _distinct(enumerate(rhos, 1), "opening value", own)
    return locks, rhos


def sum_of(locks: Rows) -> list[bytes]:
    """Y of each text. Raises Malformed when it is no valid point (an honest Y in it is enough to prevent that)."""
    return [check_point(reduce(ED25519.plus, column)) for column in zip(*locks, strict=True)]


def check_presignatures(about: Round, locks: Rows, bodies: Sequence[bytes], own: int) -> None:
    """R3: all points valid and distinct, ŝ < L, ŝ·G + D + Y == R + c·X, for every party and text; of a further signer
    D is a valid point.

    Raises BadPresignature, Copied.
    """
    sums = sum_of(locks)
    count = len(about.keys)
    for party, body in enumerate(bodies[count:], count + 1):
        for point in pieces(body, POINT_LENGTH):
            try:
                check_point(point)
            except Malformed as error:
                raise BadPresignature(party, str(error)) from None
    for party, body in enumerate(bodies[:count], 1):
        public = about.keys[party - 1]
        for text, lock, values in zip(about.texts, sums, parts(body), strict=True):
            try:
                checked = check_point(values[0]), check_point(values[1]), check_scalar(values[2])
                holds = balanced(
                    ED25519, values=checked, public=public, lock=lock, challenge=challenge_for(public, text)
                )
            except Malformed as error:
                raise BadPresignature(party, str(error)) from None
            if not holds:
                raise BadPresignature(party, "the pre-signature does not hold under this key, text and Y")
    points = [(party, point) for party, row in enumerate(locks, 1) for point in row]
    for party, body in enumerate(bodies[:count], 1):
        points += [(party, point) for values in parts(body) for point in values[:2]]
    points += [(party, one) for party, body in enumerate(bodies[count:], count + 1) for one in pieces(body, 32)]
    _distinct(points, "point", own)


def challenge_for(public: bytes, text: bytes) -> Callable[[bytes], bytes]:
    """c as a function of R."""
    return lambda nonce_point: challenge(nonce_point, public, text)


def _distinct(values: Iterable[tuple[int, bytes]], what: str, own: int) -> None:
    """Raises Copied when two (party, value) are equal; when one of the two is this party, the other is named."""
    seen: dict[bytes, int] = {}
    for party, value in values:
        if value in seen:
            earlier = seen[value]
            raise Copied(*((earlier, party) if party == own else (party, earlier)), what)
        seen[value] = party
