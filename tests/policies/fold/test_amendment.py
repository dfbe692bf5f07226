"""A charter changes only by every party, takes no place from anybody, and ends every approval given under the
old one.
"""

from dataclasses import replace

import pytest

from pourparler_policies.charter import parse
from pourparler_policies.charter.rules import Role
from pourparler_policies.charter.testing import text
from pourparler_policies.errors import Misuse, Unknown, Void
from pourparler_policies.fold import apply, dormant, found, step
from pourparler_policies.fold import events as ev
from pourparler_policies.fold.decoding import decode_state
from pourparler_policies.fold.encoding import encode
from pourparler_policies.fold.events import Commit, Ground
from pourparler_policies.fold.facts import Admit, Amend, Close, Recess
from pourparler_policies.fold.testing import DAY, START, History, card, leaf


def chartered() -> History:
    """Two parties under a charter that was written and read: a1, a2 and b1 are there."""
    history = History(parse(text()).rules, "a1")
    history.seat_founder("b1", "a1")
    history.seat_founder("a2", "a1", "b1")
    return history


def amend(new: str) -> Amend:
    return Amend(parse(new).encode())


def amending(new: str) -> Commit:
    return Commit(("group_context_extensions",), charter=parse(new).hash)


def test_unofficial_talks_become_official_by_every_party_and_no_earlier_approval_outlives_it() -> None:
    history = chartered()
    official = text().replace('capacity = "personal"', 'capacity = "mandated"')
    early = history.agree(Recess(START + DAY), "a1", "b1")
    digest = history.agree(amend(official), "a1")
    with pytest.raises(Void, match="not every party"):
        history.commit("a1", amending(official))
    history.post("b1", ev.Approved(digest))
    history.commit("b1", amending(official))
    assert history.state.rules == parse(official).rules
    assert decode_state(encode(history.state)) == history.state
    with pytest.raises(Void, match="no such subject"):
        history.post("a1", ev.Enacted(early))
    assert history.digest(Recess(START + DAY)) != early


def test_the_state_after_an_amendment_is_saved_and_read_like_any_other() -> None:
    history = chartered()
    official = text().replace('capacity = "personal"', 'capacity = "mandated"')
    history.agree(amend(official), "a1", "b1")
    history.commit("b1", amending(official))
    assert decode_state(encode(history.state)) == history.state
    assert history.state.spent >= {card("a1"), card("a2"), card("b1")}


def test_another_charter_than_the_approved_one_is_void() -> None:
    history = chartered()
    official = text().replace('capacity = "personal"', 'capacity = "mandated"')
    history.agree(amend(official), "a1", "b1")
    with pytest.raises(Void, match="no charter with this hash"):
        history.commit("a1", amending(text().replace('"7 days"', '"8 days"')))


def test_a_party_that_joins_by_amendment_makes_the_channel_dormant_until_it_is_there() -> None:
    history = chartered()
    history.agree(amend(text(parties=("a", "b", "c"))), "a1", "b1")
    history.commit("a1", amending(text(parties=("a", "b", "c"))))
    assert dormant(history.state)
    history.seat_founder("c1", "a1", "b1")
    assert dormant(history.state) is False


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("Lake talks", "Lake talks", "the charter in force"),
        ("devices = 2", "devices = 1", "more devices than this charter allows"),
        ("parties.b", "parties.z", "a body that this charter does not have"),
    ],
)
def test_an_amendment_takes_no_place_from_somebody_seated(old: str, new: str, reason: str) -> None:
    history = chartered()
    history.commit("a1", history.adding("a9", Ground.SECOND))
    history.meet("a9", "a1", "b1")
    with pytest.raises(Void, match=reason):
        history.post("a1", ev.Proposed(amend(text().replace(old, new))))


def test_an_amendment_leaves_room_for_everybody_seated() -> None:
    history = chartered()
    digest = history.agree(Admit("a", Role.DELEGATE, card("a4")), "a1", "b1")
    history.commit("a1", history.adding("a4", Ground.ADMISSION, digest))
    small = text().replace("party = 3", "party = 2").replace('role = "assistant"', 'role = "assistant" # gone')
    small = "\n".join(_without_assistants(small.split("\n")))
    with pytest.raises(Void, match="more seats than this charter allows"):
        history.post("a1", ev.Proposed(amend(small)))


def _without_assistants(rows: list[str]) -> list[str]:
    gone = {n + k for n, row in enumerate(rows) if "assistant" in row for k in (-2, -1, 0, 1)}
    return [row for n, row in enumerate(rows) if n not in gone]


def test_what_is_not_exactly_the_encoding_of_a_charter_is_void() -> None:
    history = chartered()
    good = parse(text()).encode().replace(b"Lake talks", b"Sea talks")
    assert not step(history.state, history.event("a1", ev.Proposed(Amend(good)))).void
    hostile = [
        b"",
        b"x",
        b"#" * 2**20,
        b"[" * 60_000,
        b"{}",
        b"\xff",
        b"null",
        good + b" ",
        good.replace(b'"v', b' "v', 1),
        good.replace(b'"charter":1', b'"charter":1,"charter":1'),
        good.replace(b'"charter":1', b'"charter":1.0'),
        good.replace(b"Sea talks", b"Sea\\u0020talks"),
        text().encode(),
        good.replace(b'"party":3', b'"party":2'),
    ]
    for data in hostile:
        if data != good:
            assert step(history.state, history.event("a1", ev.Proposed(Amend(data)))).void


def test_a_charter_for_other_rules_of_the_fold_opens_nothing_here() -> None:
    made = parse(text()).rules
    opener = next(named for named in made.founding if named.card == card("a1"))
    with pytest.raises(Misuse, match="does not know"):
        found(replace(made, version=2), opener, leaf("a1"), START)


def test_an_event_of_a_later_version_halts() -> None:
    history = chartered()
    entry = replace(history.event("a1", ev.Proposed(Close())), content=7)  # type: ignore[arg-type]
    with pytest.raises(Unknown):
        apply(history.state, entry)
