"""The running hash tells two courses apart."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pourparler_policies.chain import KEPT, Chain, extend, genesis
from pourparler_policies.errors import Fork

ENTRY: dict[str, Any] = {
    "seq": 5,
    "entry": b"e" * 16,
    "received_at": 1000,
    "handshake": True,
    "sealed": b"bytes",
    "roster": b"r" * 32,
}


def test_the_running_hash_depends_on_every_field_and_on_what_came_before() -> None:
    start = genesis(b"c" * 16)
    others = [{"seq": 6}, {"entry": b"f" * 16}, {"received_at": 1001}, {"handshake": False}, {"sealed": b"other"}]
    others += [{"roster": b"s" * 32}]
    values = [extend(start, **ENTRY), *(extend(start, **{**ENTRY, **other}) for other in others)]
    values += [start, extend(genesis(b"d" * 16), **ENTRY), extend(values[0], **ENTRY)]
    assert len(set(values)) == len(values)
    assert {len(value) for value in values} == {32}


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=4)), min_size=2, max_size=6, unique=True))
def test_two_orders_of_the_same_entries_differ(entries: list[tuple[bool, bytes]]) -> None:
    def run(order: list[tuple[bool, bytes]]) -> bytes:
        value = genesis(b"c" * 16)
        for seq, (handshake, sealed) in enumerate(order):
            value = extend(value, **{**ENTRY, "seq": seq, "handshake": handshake, "sealed": sealed})
        return value

    assert run(entries) != run(entries[::-1])


def chain(*points: int) -> Chain:
    made = Chain()
    for point in points:
        made.append(point, bytes([point % 256]) * 32)
    return made


def test_a_point_that_agrees_passes_and_any_other_is_a_fork() -> None:
    mine = chain(0, 3, 9)
    for seq in (0, 3, 9):
        mine.compare(seq, bytes([seq]) * 32)
    for seq, value in ((3, bytes(32)), (4, bytes([4]) * 32), (10, bytes([10]) * 32), (9, bytes([3]) * 32)):
        with pytest.raises(Fork):
            mine.compare(seq, value)
    assert (mine.seq, mine.head) == (9, bytes([9]) * 32)


def test_a_point_older_than_what_is_kept_cannot_be_compared_and_passes() -> None:
    mine = chain(*range(KEPT + 10))
    assert len(mine.points) == KEPT
    mine.compare(9, bytes(32))
    with pytest.raises(Fork):
        mine.compare(10, bytes(32))
