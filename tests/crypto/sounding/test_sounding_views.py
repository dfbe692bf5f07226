"""What anybody sees is distributed alike whoever declined: every coin enumerated in a toy group, through the formulas.

And the limits that the documents state are shown by the same means: there the distributions differ.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product

import pytest

from pourparler_crypto.sounding import formulas

Q, G, P = 5, 4, 11  # the subgroup of order 5 of the integers mod 11


class Toy:
    """That group, written additively."""

    def base(self, scalar: int) -> int:
        return pow(G, scalar, P)

    def times(self, scalar: int, point: int) -> int:
        return pow(point, scalar, P)

    def plus(self, left: int, right: int) -> int:
        return left * right % P

    def minus(self, left: int, right: int) -> int:
        return left * pow(right, -1, P) % P

    def add(self, left: int, right: int) -> int:
        return (left + right) % Q

    def sub(self, left: int, right: int) -> int:
        return (left - right) % Q

    def mul(self, left: int, right: int) -> int:
        return left * right % Q


GROUP = Toy()
Pairs = dict[tuple[int, int], int]
View = Callable[[Sequence[int], Pairs, Sequence[int], Sequence[int]], object]  # a, m_ij, v, A


def views(parties: int, accepts: Sequence[bool], view: View, *, masked: bool = True) -> Counter[object]:
    """The distribution of a view over every coin: a of all, the mask of each pair, and one z for each refusal."""
    found: Counter[object] = Counter()
    pairs = [(i, j) for i in range(1, parties + 1) for j in range(i + 1, parties + 1)]
    refusing = [n for n, word in enumerate(accepts) if not word]
    for secrets in product(range(Q), repeat=parties):
        points = [GROUP.base(one) for one in secrets]
        for coins in product(range(Q), repeat=len(pairs) if masked else 0):
            shared: Pairs = dict(zip(pairs, coins, strict=True)) if masked else dict.fromkeys(pairs, 0)
            values = [
                formulas.acceptance(
                    GROUP,
                    secret,
                    formulas.mask(
                        GROUP,
                        n,
                        {j if i == n else i: one for (i, j), one in shared.items() if n in (i, j)},
                        0,
                    ),
                )
                for n, secret in enumerate(secrets, 1)
            ]
            for fresh in product(range(Q), repeat=len(refusing)):
                handed = list(values)
                for place, one in zip(refusing, fresh, strict=True):
                    handed[place] = one
                found[view(secrets, shared, handed, points)] += 1
    return found


def service(_a: Sequence[int], _m: Pairs, handed: Sequence[int], points: Sequence[int]) -> object:
    """All that is handed in, and the registered sum: not the points."""
    return tuple(handed), formulas.target(GROUP, list(points))


def third(a: Sequence[int], m: Pairs, handed: Sequence[int], points: Sequence[int]) -> object:
    """Party 3: its secrets, everybody's points, and the sum that is published."""
    return a[2], m[1, 3], m[2, 3], tuple(points), formulas.total(GROUP, handed)


def third_with_service(a: Sequence[int], m: Pairs, handed: Sequence[int], points: Sequence[int]) -> object:
    """Both together."""
    return a[2], m[1, 3], m[2, 3], tuple(points), tuple(handed)


def second(a: Sequence[int], m: Pairs, handed: Sequence[int], points: Sequence[int]) -> object:
    """Party 2 of two."""
    return a[1], m[1, 2], tuple(points), formulas.total(GROUP, handed)


@pytest.mark.parametrize("view", [service, third, third_with_service])
def test_whoever_of_two_declined_a_third_the_service_and_both_together_see_the_same(view: View) -> None:
    one = views(3, (False, True, True), view)
    assert one == views(3, (True, False, True), view)
    assert one.total() == Q ** (3 + 3 + 1)


def test_that_both_declined_looks_the_same_too() -> None:
    def scaled(accepts: tuple[bool, ...], times: int) -> Counter[object]:
        return Counter({key: count * times for key, count in views(3, accepts, third_with_service).items()})

    assert scaled((False, True, True), Q) == views(3, (False, False, True), third_with_service)


def test_without_masks_the_service_and_one_party_would_see_who_declined() -> None:
    one = views(3, (False, True, True), third_with_service, masked=False)
    assert one != views(3, (True, False, True), third_with_service, masked=False)


def test_of_two_sides_who_accepts_learns_the_others_answer_and_who_declines_learns_nothing() -> None:
    assert views(2, (True, True), second) != views(2, (False, True), second)
    declined = views(2, (False, False), second)
    assert declined == Counter({key: count * Q for key, count in views(2, (True, False), second).items()})


def test_what_the_service_sees_shows_that_all_accept_and_nothing_more() -> None:
    everybody = views(3, (True, True, True), service)
    for handed, registered in everybody:  # type: ignore[misc]
        assert formulas.all_accept(GROUP, formulas.total(GROUP, handed), registered)
    assert len(set(everybody.values())) == 1  # else uniform


def test_who_took_part_can_make_up_the_whole_of_it() -> None:
    """No secret of anybody enters: a forger draws every coin, and the distribution is that of a genuine sounding."""

    def transcript(_a: Sequence[int], _m: Pairs, handed: Sequence[int], points: Sequence[int]) -> object:
        return tuple(points), formulas.total(GROUP, handed)

    genuine = views(2, (True, True), transcript)
    forged: Counter[object] = Counter()
    for secrets in product(range(Q), repeat=2):
        forged[tuple(map(GROUP.base, secrets)), formulas.total(GROUP, secrets)] += Q
    assert genuine == forged


def dealt_views(
    accepts: Sequence[bool], view: Callable[[Sequence[int], Sequence[int], int], object]
) -> Counter[object]:
    """XOR shares of two bits among three, over every coin."""
    found: Counter[object] = Counter()
    refusing = [n for n, word in enumerate(accepts) if not word]
    for shares in product(range(4), repeat=3):
        for fresh in product(range(4), repeat=len(refusing)):
            handed = list(shares)
            for place, one in zip(refusing, fresh, strict=True):
                handed[place] = one
            found[view(shares, handed, shares[0] ^ shares[1] ^ shares[2])] += 1
    return found


def test_dealt_the_service_and_each_party_see_the_same_whoever_declined_and_the_dealer_does_not() -> None:
    def seen(shares: Sequence[int], handed: Sequence[int], target: int) -> object:
        return shares[2], tuple(handed), target  # party 3 and the service together, and the target itself

    def dealer(shares: Sequence[int], handed: Sequence[int], target: int) -> object:
        return tuple(shares), tuple(handed), target

    assert dealt_views((False, True, True), seen) == dealt_views((True, False, True), seen)
    assert dealt_views((False, True, True), dealer) != dealt_views((True, False, True), dealer)
