"""JR2 as equations over any group: what is computed in R3 to R5, and how anyone makes up the same.

    T_i = Y + D_i           the lock of party i: shared by all, and its own
    R_i = r_i·G + T_i       so that c_i belongs to the finished signature
    ŝ_i = r_i + c_i·x_i     opened by d_i + y it is the s of a plain signature
    ŝ_i·G + D_i + Y == R_i + c_i·X_i

`made_up` needs no secret: it draws R and ŝ and solves for D. As r and d are uniform, (R, ŝ) is uniform in a
genuine pre-signature as well, and D follows from them by the same equation: the two distributions are equal.
"""

from collections.abc import Callable
from typing import TypeVar

from pourparler_crypto.jr2.group import Group

S = TypeVar("S")
P = TypeVar("P")


def presign(
    group: Group[S, P], *, r: S, x: S, lock: P, mask_point: P, challenge: Callable[[P], S]
) -> tuple[P, P, S]:
    """(R, D, ŝ) from D = d·G. The only place where a secret key enters a joint release."""
    nonce_point = group.plus(group.plus(group.base(r), lock), mask_point)
    return nonce_point, mask_point, group.add(r, group.mul(challenge(nonce_point), x))


def balanced(
    group: Group[S, P], *, values: tuple[P, P, S], public: P, lock: P, challenge: Callable[[P], S]
) -> bool:
    """Whether ŝ·G + D + Y == R + c·X. An equation, not a check: who uses it raises."""
    nonce_point, mask_point, response = values
    left = group.plus(group.plus(group.base(response), mask_point), lock)
    return left == group.plus(nonce_point, group.times(challenge(nonce_point), public))


def made_up(
    group: Group[S, P], *, nonce_point: P, response: S, public: P, lock: P, challenge: Callable[[P], S]
) -> tuple[P, P, S]:
    """(R, D, ŝ) that balance, from R and ŝ as drawn and no secret at all; nobody knows d."""
    right = group.plus(nonce_point, group.times(challenge(nonce_point), public))
    return nonce_point, group.minus(group.minus(right, group.base(response)), lock), response


def finish(group: Group[S, P], *, response: S, mask: S, share: S) -> S:
    """S = ŝ + d + y: with R, a plain signature."""
    return group.add(group.add(response, mask), share)


def share_of(group: Group[S, P], *, response: S, mask: S, finished: S) -> S:
    """y, from one finished S: whoever publishes one signature gives away all the others."""
    return group.sub(group.sub(finished, response), mask)
