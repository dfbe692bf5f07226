"""Whatever anybody keeps of R1 to R3, anybody could have made: for all parties, with the identical distribution.

The argument is in `pourparler_crypto.jr2.forging`. Here it is checked three ways: forgeries made without any key
pass every check that the parties make; a genuine pre-signature is what the forger's formula gives for its R and ŝ;
and in toy groups every coin is enumerated *through the same formulas*, and the two distributions are equal.
"""

import ast
import hashlib
import inspect
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import pytest

from pourparler_crypto import jr2
from pourparler_crypto.errors import ProtocolError
from pourparler_crypto.jr2 import Kind, forging
from pourparler_crypto.jr2.checks import challenge_for
from pourparler_crypto.jr2.forging import Forged, forge, forge_ready, judge
from pourparler_crypto.jr2.formulas import balanced, made_up, presign
from pourparler_crypto.jr2.group import ED25519
from pourparler_crypto.jr2.signatures import parts
from pourparler_crypto.jr2.testing import TEXT, Party, a_round, parties, play, scalar, total, with_further
from pourparler_crypto.jr2.wire import HEADER, points_of, write
from pourparler_crypto.releasekey import ReleaseKey


def public_round(count: int, texts: tuple[bytes, ...] = (TEXT,)) -> jr2.Round:
    """What a forger starts from: a text and public keys whose secret halves are thrown away."""
    return a_round([ReleaseKey.generate() for _ in range(count)], texts)


# Anybody can make R1 to R3 of all parties


@pytest.mark.parametrize("count", [2, 3, 10])
def test_who_knows_only_public_keys_makes_pre_signatures_of_all_parties_that_pass_every_check(count: int) -> None:
    judge(forge(public_round(count, (TEXT, b"Second copy.\n"))).transcript)


def test_a_party_in_the_middle_of_strangers_that_do_not_exist_comes_to_ready() -> None:
    """The parties' own code accepts a round in which nobody but one party took part."""
    keys = [ReleaseKey.generate() for _ in range(3)]
    about = a_round(keys)
    alone = Party(about, keys[0])
    transcript = forge(about).transcript
    alone.begin()
    own = alone.receive(transcript.commitments[1:]) or b""
    alone.receive(transcript.openings[1:])
    y = total([own[HEADER : HEADER + 32], *(message[HEADER : HEADER + 32] for message in transcript.openings[1:])])
    for_y = [
        write(Kind.PRESIGNATURE, party, about.sid, forging.forge_presignature(about, party, [y]))
        for party in (2, 3)
    ]
    alone.receive(for_y)
    assert isinstance(alone.state, jr2.Ready)


def test_the_forger_uses_no_secret_key() -> None:
    tree = ast.parse(inspect.getsource(forging))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & {"expand", "ReleaseKey", "presign", "seed"}
    assert list(inspect.signature(forge).parameters) == ["about", "random", "further"]


def test_the_judge_refuses_what_is_not_in_order_so_that_its_acceptance_means_something() -> None:
    for genuine in (play(parties(2)), forge(public_round(2)).transcript):
        judge(genuine)
        for name in ("commitments", "openings", "presignatures"):
            messages = list(getattr(genuine, name))
            for position in range(HEADER, len(messages[1]), 7):
                altered = bytearray(messages[1])
                altered[position] ^= 4
                broken = {
                    "commitments": genuine.commitments,
                    "openings": genuine.openings,
                    "presignatures": genuine.presignatures,
                    name: (messages[0], bytes(altered)),
                }
                with pytest.raises(ProtocolError):
                    judge(forging.Transcript(genuine.round, **broken))


def test_a_genuine_pre_signature_is_what_the_forger_makes_of_its_r_and_response() -> None:
    everyone = parties(3)
    transcript = play(everyone)
    y = total([message[HEADER : HEADER + 32] for message in transcript.openings])
    for party, message in zip(everyone, transcript.presignatures, strict=True):
        nonce_point, mask_point, response = parts(message[HEADER:])[0]
        forged = made_up(
            ED25519,
            nonce_point=nonce_point,
            response=response,
            public=party.key.public,
            lock=y,
            challenge=challenge_for(party.key.public, TEXT),
        )
        assert forged == (nonce_point, mask_point, response)


def test_what_cannot_be_made_up_is_a_mask() -> None:
    about = public_round(2)
    made: Forged = forge(about)
    transcript = made.transcript
    bodies = [message[HEADER:] for message in transcript.presignatures]
    for guess in (scalar(), made.shares[0], parts(bodies[0])[0][2]):
        assert ED25519.base(guess) != parts(bodies[0])[0][1]


# And one party's vault


@pytest.mark.parametrize("victim", [1, 2, 3])
def test_the_vault_of_a_party_that_has_signed_can_be_made_up_without_its_key(victim: int) -> None:
    about = public_round(3, (TEXT, b"Second copy.\n"))
    made = forge_ready(about, victim)
    # It passes the code's own checks: back to R3, and again to Ready.
    before = jr2.Presigned(about, victim, made.y, made.locks, made.rhos, made.d, made.bodies[victim - 1])
    third = [write(Kind.PRESIGNATURE, party, about.sid, body) for party, body in enumerate(made.bodies, 1)]
    ready = jr2.check(jr2.load(before.encode()), third)  # type: ignore[arg-type]
    signed = jr2.sign(ready)
    assert jr2.check_mask(signed.case, signed.message).party == victim
    judge(forging.Transcript(about, *(tuple(write_all(signed, kind)) for kind in (1, 2, 3))))


def test_rounds_with_further_signers_can_be_made_up_too_and_so_can_the_vault_of_one() -> None:
    judge(play(with_further(2, 2, (TEXT, b"Second copy.\n"))))
    about = public_round(2, (TEXT, b"Second copy.\n"))
    made = forge(about, further=2)
    judge(made.transcript)
    # The state of a further signer who has signed: its y and d are drawn, all the rest is the forgery above.
    d = scalar() + scalar()
    third = [*made.transcript.presignatures[:3], write(Kind.PRESIGNATURE, 4, about.sid, b"".join(points_of(d)))]
    locks, rhos = zip(*((m[HEADER:-32], m[-32:]) for m in made.transcript.openings), strict=True)
    own = third[3][HEADER:]
    before = jr2.Presigned(about, 4, made.shares[3], b"".join(locks), b"".join(rhos), d, own)
    signed = jr2.sign(jr2.check(jr2.load(before.encode()), third))  # type: ignore[arg-type]
    assert jr2.check_mask(signed.case, signed.message).party == 4


def write_all(signed: jr2.Signed, kind: int) -> list[bytes]:
    about = signed.round
    rhos = [signed.rhos[32 * i : 32 * i + 32] for i in range(len(about.keys))]
    locks = list(signed.case.locks)
    made = forging.transcript_of(about, locks, rhos, signed.bodies)
    return list((made.commitments, made.openings, made.presignatures)[kind - 1])


# Toy groups: every coin


@dataclass(frozen=True)
class Toy:
    """The subgroup of order q of the integers mod p, written additively; G is `generator`."""

    p: int
    q: int
    generator: int

    def base(self, scalar: int) -> int:
        return pow(self.generator, scalar, self.p)

    def times(self, scalar: int, point: int) -> int:
        return pow(point, scalar, self.p)

    def plus(self, left: int, right: int) -> int:
        return left * right % self.p

    def minus(self, left: int, right: int) -> int:
        return left * pow(right, -1, self.p) % self.p

    def add(self, left: int, right: int) -> int:
        return (left + right) % self.q

    def sub(self, left: int, right: int) -> int:
        return (left - right) % self.q

    def mul(self, left: int, right: int) -> int:
        return left * right % self.q

    def hash(self, public: int) -> Callable[[int], int]:
        """Any fixed function will do for c; nothing is programmed."""
        return lambda point: hashlib.sha512(f"{public} {point}".encode()).digest()[0] % self.q


SEVEN = Toy(29, 7, 7)
FIVE = Toy(11, 5, 4)


def genuine_all(group: Toy, keys: tuple[int, ...], locks: bool) -> Counter[tuple[object, ...]]:
    """All outcomes of R2 and R3 over y, r and d of every party (y only if `locks`, else Y is fixed)."""
    n, found = len(keys), Counter[tuple[object, ...]]()
    scalars = range(group.q)
    for ys in product(scalars, repeat=n) if locks else [(1,) * n]:
        lock = group.base(sum(ys) % group.q)
        seen = tuple(group.base(y) for y in ys)
        one = [
            [
                presign(
                    group,
                    r=r,
                    x=x,
                    lock=lock,
                    mask_point=group.base(d),
                    challenge=group.hash(group.base(x)),
                )
                for r in scalars
                for d in scalars
            ]
            for x in keys
        ]
        for outcome in product(*one):
            found[seen, *outcome] += 1
    return found


def forged_all(group: Toy, publics: tuple[int, ...], locks: bool) -> Counter[tuple[object, ...]]:
    """All outcomes of the forger over y, R and ŝ; it is given the public keys only."""
    n, found = len(publics), Counter[tuple[object, ...]]()
    scalars = range(group.q)
    for ys in product(scalars, repeat=n) if locks else [(1,) * n]:
        lock = group.base(sum(ys) % group.q)
        seen = tuple(group.base(y) for y in ys)
        one = [
            [
                made_up(
                    group,
                    nonce_point=group.base(k),
                    response=response,
                    public=public,
                    lock=lock,
                    challenge=group.hash(public),
                )
                for k in scalars
                for response in scalars
            ]
            for public in publics
        ]
        for outcome in product(*one):
            found[seen, *outcome] += 1
    return found


@pytest.mark.parametrize(
    ("group", "keys", "locks"), [(SEVEN, (2, 5), True), (SEVEN, (0, 3), True), (FIVE, (1, 2, 4), False)]
)
def test_over_every_coin_genuine_and_forged_rounds_of_all_parties_have_one_distribution(
    group: Toy, keys: tuple[int, ...], locks: bool
) -> None:
    publics = tuple(group.base(x) for x in keys)
    genuine, forged = genuine_all(group, keys, locks), forged_all(group, publics, locks)
    assert genuine == forged
    coins = group.q ** (len(keys) * (3 if locks else 2))
    assert genuine.total() == coins
    assert len(genuine) == coins


def test_so_it_is_whatever_the_keys_are_and_the_transcript_says_nothing_about_them() -> None:
    """The forger's distribution depends on public keys only; so then does the genuine one."""
    for keys in product(range(5), repeat=2):
        publics = tuple(FIVE.base(x) for x in keys)
        assert genuine_all(FIVE, keys, True) == forged_all(FIVE, publics, True)


def test_every_outcome_balances_in_the_toy_group_too() -> None:
    publics = tuple(FIVE.base(x) for x in (1, 3))
    for seen, *outcome in forged_all(FIVE, publics, True):
        lock = FIVE.plus(*seen)  # type: ignore[misc]
        for public, values in zip(publics, outcome, strict=True):
            assert balanced(FIVE, values=values, public=public, lock=lock, challenge=FIVE.hash(public))  # type: ignore[arg-type]


def test_without_masks_the_distributions_of_two_parties_differ() -> None:
    """Naive, one Y and no D: a genuine pair always has S_1 = S_2 = Y; of the forger's pairs one in seven has."""
    group, keys = SEVEN, (2, 5)
    publics = tuple(group.base(x) for x in keys)

    def locked(values: tuple[int, int], public: int) -> int:
        nonce_point, response = values
        c = group.hash(public)(nonce_point)
        return group.minus(group.plus(nonce_point, group.times(c, public)), group.base(response))

    genuine, forged = Counter[bool](), Counter[bool]()
    for y, r1, r2 in product(range(7), repeat=3):
        pair = []
        for x, r, public in zip(keys, (r1, r2), publics, strict=True):
            nonce_point = group.plus(group.base(r), group.base(y))
            pair.append((nonce_point, group.add(r, group.mul(group.hash(public)(nonce_point), x))))
        genuine[locked(pair[0], publics[0]) == locked(pair[1], publics[1])] += 1
    for k1, s1, k2, s2 in product(range(7), repeat=4):
        values = ((group.base(k1), s1), (group.base(k2), s2))
        forged[locked(values[0], publics[0]) == locked(values[1], publics[1])] += 1
    assert genuine == {True: 343}
    assert forged == {True: 343, False: 2058}


def test_over_every_coin_one_partys_vault_has_the_same_distribution_when_it_is_made_up() -> None:
    """Party 1's y and d are known to who seized it, party 2's y is not; Y_2 is solved for in the forgery."""
    group, (x1, x2) = FIVE, (2, 4)
    public1, public2 = group.base(x1), group.base(x2)
    scalars = range(group.q)
    genuine, forged = Counter[tuple[object, ...]](), Counter[tuple[object, ...]]()
    for y1, y2, r1, d1, r2, d2 in product(scalars, repeat=6):
        lock = group.base(group.add(y1, y2))
        one = presign(group, r=r1, x=x1, lock=lock, mask_point=group.base(d1), challenge=group.hash(public1))
        two = presign(group, r=r2, x=x2, lock=lock, mask_point=group.base(d2), challenge=group.hash(public2))
        genuine[y1, d1, group.base(y2), one, two] += 1
    for y1, d1, k1, s1, k2, s2 in product(scalars, repeat=6):
        nonce_point = group.base(k1)
        c = group.hash(public1)(nonce_point)
        lock = group.minus(group.plus(nonce_point, group.times(c, public1)), group.base(group.add(s1, d1)))
        one = (nonce_point, group.base(d1), s1)
        two = made_up(
            group,
            nonce_point=group.base(k2),
            response=s2,
            public=public2,
            lock=lock,
            challenge=group.hash(public2),
        )
        forged[y1, d1, group.minus(lock, group.base(y1)), one, two] += 1
    assert genuine == forged


def test_with_both_masks_open_only_one_forgery_in_q_has_one_y_behind_it() -> None:
    """The limit: after R4, what two parties have opened is made up by luck only (in a real group: never)."""
    group = FIVE
    publics = tuple(group.base(x) for x in (2, 4))
    one_y = Counter[bool]()
    for k1, s1, d1, k2, s2, d2 in product(range(group.q), repeat=6):
        behind = set()
        for public, k, s, d in zip(publics, (k1, k2), (s1, s2), (d1, d2), strict=True):
            nonce_point = group.base(k)
            right = group.plus(nonce_point, group.times(group.hash(public)(nonce_point), public))
            behind.add(group.minus(right, group.base(group.add(s, d))))
        one_y[len(behind) == 1] += 1
    assert one_y[True] * group.q == one_y.total()
