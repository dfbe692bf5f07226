"""The table of admission: what a commit may do, and every reason for which it is void."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pourparler_policies.admission import TABLE, Commit, Member, judge
from pourparler_policies.errors import Void
from pourparler_policies.payload import Closed, Leaving, Said, Seated

ADA = Member(b"a" * 16, b"A" * 16, "Ada", b"1" * 32)
BEN = Member(b"b" * 16, b"B" * 16, "Ben", b"2" * 32, leaving=True)
CLEO = Member(b"c" * 16, b"C" * 16, "Cleo", b"3" * 32)
ROSTER = {member.credential: member for member in (ADA, BEN, CLEO)}
NEW = b"d" * 16


def seated(**changes: Any) -> Seated:
    return Seated(**{"credential": NEW, "device": b"D" * 16, "name": "Dan", "fingerprint": b"4" * 32, **changes})


def commit(**changes: Any) -> Commit:
    return Commit(**{"committer": ADA.credential, "proposals": (), **changes})


def adding(**changes: Any) -> Commit:
    return commit(**{"proposals": ("add",), "added": (NEW,), "events": [seated()], **changes})


def test_add_of_one_named_device_seats_it() -> None:
    after = judge(adding(), ROSTER)
    assert after == {**ROSTER, NEW: Member(NEW, b"D" * 16, "Dan", b"4" * 32)}


def test_removal_of_who_said_leaving_counts() -> None:
    after = judge(commit(proposals=("remove",), removed=(BEN.credential,)), ROSTER)
    assert after == {ADA.credential: ADA, CLEO.credential: CLEO}


def test_update_and_empty_commit_change_nobody() -> None:
    for one in (commit(), commit(proposals=("update",), updated=((CLEO.credential, CLEO.credential),))):
        assert judge(one, ROSTER) == ROSTER


def test_add_and_removal_in_one_commit_count_together() -> None:
    after = judge(adding(proposals=("add", "remove"), removed=(BEN.credential,)), ROSTER)
    assert set(after) == {ADA.credential, CLEO.credential, NEW}


VOID = {
    "two devices at once": adding(added=(NEW, b"e" * 16), events=[seated(), seated(credential=b"e" * 16)]),
    "an add that adds nobody": adding(added=(), events=[]),
    "a credential of another size": adding(added=(b"short",)),
    "a credential that has a seat": adding(added=(CLEO.credential,), events=[seated(credential=CLEO.credential)]),
    "nobody named": adding(events=[]),
    "another named": adding(events=[seated(credential=b"e" * 16)]),
    "one more named": adding(events=[seated(), seated(credential=b"e" * 16)]),
    "a name that is not canonical": adding(events=[seated(name=" Dan")]),
    "a decomposed name": adding(events=[seated(name="De\u0301")]),
    "a name with an override": adding(events=[seated(name="Dan\u202e")]),
    "no name": adding(events=[seated(name="")]),
    "a name that is too long": adding(events=[seated(name="x" * 65)]),
    "a device number that is taken": adding(events=[seated(device=CLEO.device)]),
    "the number of a device that leaves": adding(events=[seated(device=BEN.device)]),
    "removal of who has not asked": commit(proposals=("remove",), removed=(CLEO.credential,)),
    "removal of a stranger": commit(proposals=("remove",), removed=(NEW,)),
    "removal of one who asked and one who did not": commit(
        proposals=("remove",), removed=(BEN.credential, CLEO.credential)
    ),
    "a credential that changes": commit(proposals=("update",), updated=((CLEO.credential, NEW),)),
    "the credential of another": commit(updated=((CLEO.credential, ADA.credential),)),
    "a credential that changes by the commit's own path": commit(updated=((CLEO.credential, NEW),)),
    "somebody named who is not added": commit(events=[seated()]),
    "a message in a commit": adding(events=[seated(), Said(id=b"i" * 16, text="hello", life=60)]),
    "a leaving in a commit": commit(events=[Leaving()]),
    "a closing in a commit": commit(events=[Closed()]),
}


@pytest.mark.parametrize("name", VOID)
def test_void_by_the_table(name: str) -> None:
    with pytest.raises(Void):
        judge(VOID[name], ROSTER)


@pytest.mark.parametrize(
    "proposal", ["psk", "reinit", "external_init", "group_context_extensions", "ADD", "", "add ", "custom"]
)
def test_every_other_proposal_is_void(proposal: str) -> None:
    assert set(TABLE) == {"add", "remove", "update"}
    with pytest.raises(Void):
        judge(commit(proposals=(proposal,)), ROSTER)
    with pytest.raises(Void):
        judge(adding(proposals=("add", proposal)), ROSTER)


IDS = st.sampled_from([ADA.credential, BEN.credential, CLEO.credential, NEW, b"e" * 16])


@given(
    st.builds(
        Commit,
        committer=IDS,
        proposals=st.lists(st.sampled_from(["add", "remove", "update", "psk"]), max_size=4).map(tuple),
        added=st.lists(IDS, max_size=2).map(tuple),
        removed=st.lists(IDS, max_size=2).map(tuple),
        updated=st.lists(st.tuples(IDS, IDS), max_size=2).map(tuple),
        events=st.lists(st.builds(seated, credential=IDS), max_size=2),
    )
)
def test_whatever_a_commit_says_nobody_is_put_out_who_stays_and_nobody_new_comes_unnamed(one: Commit) -> None:
    before = dict(ROSTER)
    try:
        after = judge(one, ROSTER)
    except Void:
        return
    finally:
        assert before == ROSTER
    if "remove" in one.proposals:
        assert set(ROSTER) - set(after) <= {BEN.credential}
    assert set(after) - set(ROSTER) <= {event.credential for event in one.events if isinstance(event, Seated)}
    assert len(set(after) - set(ROSTER)) <= 1
    for credential in set(after) & set(ROSTER):
        assert after[credential] == ROSTER[credential]
