"""A commit says exactly what it does, or it is void; the roster follows it, and stands in the running hash."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pourparler_policies.admission import (
    KEPT_KEYS,
    Change,
    Member,
    procedure_digest,
    read_commit,
    roster_after,
)
from pourparler_policies.errors import Void
from pourparler_policies.fold.events import Added, Commit, Ground
from pourparler_policies.fold.testing import founded
from pourparler_policies.payload import CARD_PUBLIC, Seated

CHARTER = 0xF0C0
PUBLIC = bytes(CARD_PUBLIC)
ADA = Member(b"a" * 16, b"A" * 16, "Ada", PUBLIC, b"1" * 32, (b"k" * 32,), 7)
BEN = Member(b"b" * 16, b"B" * 16, "Ben", PUBLIC, b"2" * 32, (b"l" * 32,), 8)
CLEO = Member(b"c" * 16, b"C" * 16, "Cleo", PUBLIC, b"3" * 32, (b"m" * 32,), 9)
ROSTER = {member.credential: member for member in (ADA, BEN, CLEO)}
NEW = b"d" * 16


def seated(**changes: Any) -> Seated:
    return Seated(
        **{
            "credential": NEW,
            "device": b"D" * 16,
            "name": "Dan",
            "public": PUBLIC,
            "fingerprint": b"4" * 32,
            "ground": Ground.ADMISSION,
            "digest": b"s" * 32,
            **changes,
        }
    )


def read(change: Change, *events: Seated) -> Commit:
    return read_commit(change, events, ROSTER, CHARTER)


def adding(**changes: Any) -> Change:
    return Change(**{"proposals": ("add",), "added": (NEW,), **changes})


def test_an_add_of_one_named_device_is_read_with_its_ground_and_seats_it() -> None:
    commit = read(adding(), seated())
    assert commit == Commit(("add",), (Added(NEW, b"4" * 32, Ground.ADMISSION, b"s" * 32),))
    after = roster_after(commit, [seated()], ROSTER)
    assert after == {**ROSTER, NEW: Member(NEW, b"D" * 16, "Dan", PUBLIC, b"4" * 32)}


def test_removals_updates_and_another_charter_are_read_as_they_are() -> None:
    change = Change(
        proposals=("remove", "update", "remove", "group_context_extensions"),
        removed=(BEN.credential, CLEO.credential),
        updated=((ADA.credential, ADA.credential),),
        extensions=((CHARTER, b"h" * 32),),
    )
    commit = read(change)
    assert commit == Commit(
        ("remove", "update", "group_context_extensions"),
        (),
        (BEN.credential, CLEO.credential),
        (ADA.credential,),
        b"h" * 32,
    )
    assert roster_after(commit, [], ROSTER) == {ADA.credential: ADA}


def test_a_proposal_that_the_product_does_not_have_is_handed_on_for_the_fold_to_refuse() -> None:
    assert read(Change(("psk", "reinit"))).proposals == ("psk", "reinit")


VOID: dict[str, tuple[Change, list[Seated]]] = {
    "nobody named": (adding(), []),
    "another named": (adding(), [seated(credential=b"e" * 16)]),
    "one more named": (adding(), [seated(), seated(credential=b"e" * 16)]),
    "the same named twice": (adding(), [seated(), seated()]),
    "somebody named who is not added": (Change(()), [seated()]),
    "a credential that has a place": (adding(added=(CLEO.credential,)), [seated(credential=CLEO.credential)]),
    "a name that is not canonical": (adding(), [seated(name=" Dan")]),
    "a decomposed name": (adding(), [seated(name="De\u0301")]),
    "a name with an override": (adding(), [seated(name="Dan\u202e")]),
    "no name": (adding(), [seated(name="")]),
    "a name that is too long": (adding(), [seated(name="x" * 65)]),
    "a device number that is taken": (adding(), [seated(device=CLEO.device)]),
    "the number of a device that goes": (
        adding(proposals=("add", "remove"), removed=(BEN.credential,)),
        [seated(device=BEN.device)],
    ),
    "a credential that changes": (Change(("update",), updated=((CLEO.credential, NEW),)), []),
    "the credential of another": (Change((), updated=((CLEO.credential, ADA.credential),)), []),
    "an update of a stranger": (Change((), updated=((NEW, NEW),)), []),
    "no extensions at all": (Change(("group_context_extensions",), extensions=()), []),
    "another extension": (Change(("group_context_extensions",), extensions=((7, b"x"),)), []),
    "one extension more": (
        Change(("group_context_extensions",), extensions=((CHARTER, b"h" * 32), (7, b"x"))),
        [],
    ),
    "the charter twice": (
        Change(("group_context_extensions",), extensions=((CHARTER, b"h" * 32), (CHARTER, b"i" * 32))),
        [],
    ),
}


@pytest.mark.parametrize("name", VOID)
def test_a_commit_that_does_not_say_exactly_what_it_does_is_void(name: str) -> None:
    change, events = VOID[name]
    with pytest.raises(Void):
        read(change, *events)


IDS = st.sampled_from([ADA.credential, BEN.credential, CLEO.credential, NEW, b"e" * 16])


@given(
    st.builds(
        Change,
        proposals=st.lists(st.sampled_from(["add", "remove", "update", "psk"]), max_size=4).map(tuple),
        added=st.lists(IDS, max_size=2).map(tuple),
        removed=st.lists(IDS, max_size=2).map(tuple),
        updated=st.lists(st.tuples(IDS, IDS), max_size=2).map(tuple),
    ),
    st.lists(st.builds(seated, credential=IDS), max_size=2),
)
def test_whatever_a_commit_says_nobody_comes_unnamed_and_who_stays_stays_as_they_are(
    change: Change, events: list[Seated]
) -> None:
    before = dict(ROSTER)
    try:
        commit = read_commit(change, events, ROSTER, CHARTER)
    except Void:
        return
    after = roster_after(commit, events, ROSTER)
    assert before == ROSTER
    assert set(ROSTER) - set(after) == set(ROSTER) & set(change.removed)
    assert (
        set(after) - set(ROSTER) == {event.credential for event in events} == {a.credential for a in commit.added}
    )
    for credential in set(after) & set(ROSTER):
        assert after[credential] == ROSTER[credential]


def test_the_newest_keys_of_a_leaf_are_kept_once_each_and_it_was_never_heard_earlier() -> None:
    member = ADA
    for number in range(100):
        member = member.renewed(bytes([number]) * 32, 1000 + number)
        member = member.renewed(bytes([number]) * 32, 500)
    assert member.keys == tuple(bytes([number]) * 32 for number in range(100 - KEPT_KEYS, 100))
    assert member.heard == 1099


def test_the_digest_of_the_procedure_tells_any_other_state_and_any_other_roster_apart() -> None:
    state = founded(2).state
    rosters = [
        [ADA, BEN],
        [ADA, CLEO],
        [ADA],
        *(
            [replace(ADA, **change), BEN]
            for change in (
                {"device": b"x" * 16},
                {"name": "Eve"},
                {"public": b"\x01" * CARD_PUBLIC},
                {"fingerprint": b"9" * 32},
                {"heard": 8},
                {"keys": (b"k" * 32, b"l" * 32)},
                {"keys": ()},
                {"credential": b"z" * 16},
            )
        ),
    ]
    digests = [procedure_digest(state, roster, {7: bytes(32)}) for roster in rosters]
    digests.append(procedure_digest(replace(state, erased=1), rosters[0], {7: bytes(32)}))
    digests += [procedure_digest(state, rosters[0], keys) for keys in ({}, {8: bytes(32)}, {7: b"k" * 32})]
    assert len(set(digests)) == len(digests)
    assert {len(digest) for digest in digests} == {32}
    assert (
        procedure_digest(state, [BEN, ADA], {7: bytes(32)}) == digests[0]
    )  # in whatever order somebody learnt it
