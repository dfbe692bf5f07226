"""The running hash tells two courses apart; terms have one encoding and one digest."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pourparler_policies.terms import MAX_TERMS, Terms
from pydantic import ValidationError

from pourparler_policies.chain import KEPT, Chain, extend, genesis
from pourparler_policies.errors import Fork, Void
from pourparler_policies.limits import HOUR, MAX_LIFE

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


def test_terms_come_back_alike_and_have_one_digest() -> None:
    terms = Terms(title="Two wells", life=60)
    assert Terms.decode(terms.encode()) == terms
    assert len(terms.digest) == 32
    assert len({terms.digest, Terms(title="Two wells", life=61).digest, Terms(title="Two well").digest}) == 3


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"\xff",
        b"[" * 20_000,
        b'{"v":1,"title":"A","life":60,"absence":3600,"update":60} ',
        b'{"title":"A","v":1,"life":60,"absence":3600,"update":60}',
        b'{"v":1,"title":"A","life":60,"absence":3600}',
        b'{"v":1,"title":"A","life":60,"absence":3600,"update":60,"more":1}',
        b'{"v":2,"title":"A","life":60,"absence":3600,"update":60}',
        b'{"v":1,"title":" A","life":60,"absence":3600,"update":60}',
        b'{"v":1,"title":"","life":60,"absence":3600,"update":60}',
        b'{"v":1,"title":"A\\u202e","life":60,"absence":3600,"update":60}',
        b'{"v":1,"title":"A","life":0,"absence":3600,"update":60}',
        b'{"v":1,"title":"A","life":60.0,"absence":3600,"update":60}',
        b'{"v":1,"title":"A","life":60,"absence":60,"update":60}',
        b'{"v":1,"title":"A","life":99999999,"absence":3600,"update":60}',
        b'{"v":1,"title":"' + b"A" * MAX_TERMS + b'","life":60,"absence":3600,"update":60}',
    ],
)
def test_what_is_not_the_one_encoding_of_valid_terms_is_void(data: bytes) -> None:
    with pytest.raises(Void):
        Terms.decode(data)


@given(st.integers(-5, MAX_LIFE + 5), st.integers(HOUR - 5, MAX_LIFE + 5), st.text(min_size=1, max_size=70))
def test_terms_either_are_refused_or_come_back_alike(life: int, absence: int, title: str) -> None:
    try:
        terms = Terms(title=title, life=life, absence=absence)
        decoded = Terms.decode(terms.encode())
    except (ValidationError, Void, UnicodeEncodeError):
        return
    assert decoded == terms
    assert 1 <= terms.life <= MAX_LIFE
    assert HOUR <= terms.absence <= MAX_LIFE
