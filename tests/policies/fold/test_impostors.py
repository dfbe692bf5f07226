"""One hostile party brings absent people's cards back under leaves of its own: what it can and cannot reach.

Leaves of the second generation are impostors'. Honest people attest only who is genuine; the hostile party,
and the impostors, attest anybody and try everything. Every such state is explored.
"""

from collections import deque
from dataclasses import replace

import pytest

from pourparler_policies.errors import Void
from pourparler_policies.fold import apply, dormant, standing, waits_for
from pourparler_policies.fold import events as ev
from pourparler_policies.fold.events import Commit, Entry, Ground
from pourparler_policies.fold.exploring import Play, entries, in_group
from pourparler_policies.fold.facts import Device, Phase, Recess, Replace, State
from pourparler_policies.fold.testing import DAY, NOTICE, START, card, founded, leaf

LIMIT = 1500  # states
WORDS = ("a1", "b1", "c1")
IMPOSTORS = {leaf(word, 1): word for word in WORDS}


def genuine(device: Device) -> bool:
    return device.credential not in IMPOSTORS


def honest(state: State, entry: Entry) -> bool:
    """Whether this author would do this: parties b and c are honest while their leaf is genuine."""
    author = standing.by_credential(state, entry.author)
    assert author is not None
    if standing.body_of(state, author) == "a" or not genuine(author):
        return not isinstance(entry.content, Commit) or _credentials_fit(entry.content, hostile=True)
    if isinstance(entry.content, ev.Attested):
        return entry.content.credential not in IMPOSTORS
    if isinstance(entry.content, Commit):
        return _credentials_fit(entry.content, hostile=False)
    return isinstance(entry.content, ev.Complained | ev.Withdrawn | ev.Absent)


def _credentials_fit(commit: Commit, *, hostile: bool) -> bool:
    """Honest people seat the genuine; the hostile party seats an impostor for anybody but itself."""
    return all((added.credential in IMPOSTORS) == (hostile and added.card != card("a1")) for added in commit.added)


def both_leaves(entry: Entry) -> list[Entry]:
    """The same Add with a genuine leaf and with an impostor's."""
    if not isinstance(entry.content, Commit) or not entry.content.added:
        return [entry]
    (added,) = entry.content.added
    word = next(word for word in WORDS if card(word) == added.card)
    made = [replace(added, credential=leaf(word, generation)) for generation in (0, 1)]
    return [replace(entry, content=replace(entry.content, added=(one,))) for one in made]


def reached(start: State, play: Play) -> list[State]:
    seen, states, queue = {mark(start)}, [start], deque([start])
    while queue and len(states) < LIMIT:
        state = queue.popleft()
        following = (
            [replace(state, time=state.time + NOTICE)] if any(d.absent for d in state.devices.values()) else []
        )
        for entry in (other for one in entries(play, state) for other in both_leaves(one)):
            if honest(state, entry):
                try:
                    following.append(apply(state, entry))
                except Void:
                    continue
        for after in following:
            if mark(after) not in seen:
                seen.add(mark(after))
                states.append(after)
                queue.append(after)
    return states


def mark(state: State) -> object:
    devices = tuple(
        (
            c,
            d.phase,
            d.credential,
            d.by,
            d.met,
            tuple((p, at + NOTICE <= state.time) for p, at in sorted(d.absent.items())),
        )
        for c, d in sorted(state.devices.items())
    )
    table = tuple(
        (digest, tuple(sorted(held.approvals)), held.objections) for digest, held in sorted(state.open.items())
    )
    return devices, table, state.recess


def explored() -> list[State]:
    history = founded(3)
    subject = Recess(START + 100 * DAY)
    history.post("a1", ev.Proposed(subject), ev.Approved(history.digest(subject)))
    acts = frozenset({ev.Attested, ev.Absent, ev.Complained, ev.Approved, ev.Enacted, ev.Leaving})
    play = Play(history.state, {word: word[0] for word in WORDS}, {("recess",): subject}, acts)
    return reached(history.state, play)


def test_while_an_honest_person_of_another_party_is_there_no_impostor_counts_and_nothing_loosens() -> None:
    states = explored()
    impostors = 0
    for state in states:
        there = [d for d in in_group(state, Phase.PRESENT) if genuine(d) and standing.body_of(state, d) != "a"]
        for device in in_group(state, Phase.PRESENT):
            if not genuine(device):
                impostors += 1
                others = [d for d in there if d.seat != device.seat]
                assert not others or not standing.stands(state, device)
                for other in others:  # who is honest neither speaks nor reads while the impostor is in
                    assert device in standing.waits_for(state, standing.body_of(state, other))
        if there:
            assert state.recess == 0
            # Only a's own seat may end by a's doing; the places of the honest stay.
        assert {"b", "c"} <= {seat.body for seat in state.seats.values()} or not there
    assert impostors, "no impostor ever came in: nothing was tested"


def test_only_when_every_other_party_is_away_does_one_party_talk_with_itself() -> None:
    """What section 7 of docs/consent.md admits, and how it ends: with the first who returns."""
    history = founded(3)
    subject = Recess(START + 100 * DAY)
    for word in ("b1", "c1"):
        history.post(word, ev.Complained())
        history.commit("a1", history.removing(word))
    history.generations = {"b1": 0, "c1": 0}
    for word in ("b1", "c1"):
        history.commit("a1", history.adding(word, Ground.RETURN))
        assert not genuine(history.device(word))
    history.meet("b1", "a1")
    history.meet("c1", "a1", "b1")
    history.enact(subject, "a1", "b1", "c1")
    assert history.state.recess
    history.generations["b1"] = -1
    history.post("b1", ev.Complained())
    history.commit("a1", history.adding("b1", Ground.RETURN, removed=(history.device("b1").credential,)))
    assert genuine(history.device("b1"))
    history.meet("b1", "a1")
    assert dormant(history.state)  # b1 attests no impostor, so c1 counts for nothing


def test_who_got_a_new_card_is_not_kept_out_by_a_side_that_will_not_attest_it() -> None:
    history = founded(3, delegates=2)
    digest = history.agree(Replace(history.seat("a2"), card("a2"), card("a9")), "a1", "c1")
    history.commit("c1", history.adding("a9", Ground.REPLACEMENT, digest, (history.device("a2").credential,)))
    history.commit("b1", history.removing("a9"))
    with pytest.raises(Void, match="not arrived"):
        history.post("b1", ev.Cancelled(card("a9")))
    history.commit("c1", history.adding("a9", Ground.RETURN))
    history.meet("a9", "a1", "c1")
    with pytest.raises(Void, match="absent"):
        history.commit("b1", history.removing("a9"))
    assert not waits_for(history.state, "c")
    assert waits_for(history.state, "b")
