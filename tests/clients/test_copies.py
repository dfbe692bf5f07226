"""Parallel copies: each side first in its own, no more of them and no larger than a round holds."""

import pytest

from pourparler_clients.errors import UserError
from pourparler_clients.papers import MAX_COPIES, compose
from pourparler_clients.releasing import Releases
from pourparler_crypto.note import Communique, PressKey, ReleaseKey, parallel
from pourparler_crypto.note.refusals import Refused

HOUR = 2_000_000_000


def text(sides: int, words: str = "We agree.") -> Communique:
    keys = [(f"Side {n}", PressKey(f"{n}.example", ReleaseKey.generate().public)) for n in range(1, sides + 1)]
    return compose([("en", words)], keys, HOUR, in_copies=True)


def test_each_side_comes_first_in_its_own_copy_and_nothing_else_differs() -> None:
    copies = parallel(text(3))
    assert [[s.name[-1] for s in one.foot.signatories] for one in copies] == [
        ["1", "2", "3"],
        ["2", "1", "3"],
        ["3", "1", "2"],
    ]
    assert {one.words for one in copies} == {copies[0].words}
    assert len({frozenset(one.keys) for one in copies}) == 1
    with pytest.raises(Refused):
        parallel(copies[1])


def test_a_revision_keeps_its_copies_and_its_readers() -> None:
    first = text(2)
    keys = [(party.name, party.key) for party in first.foot.signatories]
    assert compose([("en", "We agree on more.")], keys, HOUR, earlier=first).foot == first.foot


async def test_more_sides_or_longer_words_than_a_round_holds_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(UserError, match=f"at most {MAX_COPIES} sides"):
        text(MAX_COPIES + 1)
    long = text(MAX_COPIES, "\n".join(["A line of words."] * 3500))
    with pytest.raises(UserError, match="all copies of a text together"):
        await Releases(None).table(long, 1)  # type: ignore[arg-type]
