"""A sounding without a dealer as equations over any group: what each party hands in, and what the sum shows.

    A_i = a_i·G            registered, after all have committed to theirs
    v_i = a_i + M_i        handed in by who accepts
    v_i = z_i              handed in by who declines, and put in the place of who hands in nothing: z_i is uniform
    M_i = Σ_{j>i} m_ij - Σ_{j<i} m_ij         so that ΣM_i = 0; m_ij is known to i and j alone
    (Σv_i)·G == ΣA_i       if all accept; else with a chance of 1 in the group's order

Over the coins of m (and z) the v_i are uniform, whoever declines; all that is not uniform is their sum. So who holds
every v_i sees whether all accept, and nothing else, unless it also knows every m_ij of one party: the others would
all have to tell it. Tests put a toy group here and enumerate every coin.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from pourparler_crypto.jr2.group import Group

S = TypeVar("S")
P = TypeVar("P")


def mask(group: Group[S, P], party: int, shared: Mapping[int, S], zero: S) -> S:
    """M_i of `party` from m_ij by the number of the other party j."""
    total = zero
    for other, one in shared.items():
        total = group.add(total, one) if party < other else group.sub(total, one)
    return total


def acceptance(group: Group[S, P], secret: S, masked: S) -> S:
    """What who accepts hands in."""
    return group.add(secret, masked)


def total(group: Group[S, P], values: Sequence[S]) -> S:
    """The sum of what was handed in."""
    first, *others = values
    for one in others:
        first = group.add(first, one)
    return first


def target(group: Group[S, P], points: Sequence[P]) -> P:
    """ΣA_i."""
    first, *others = points
    for one in others:
        first = group.plus(first, one)
    return first


def all_accept(group: Group[S, P], value: S, registered: P) -> bool:
    """Whether a sum is the registered one. An equation, not a check."""
    return group.base(value) == registered
