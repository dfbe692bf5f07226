"""How a channel ends: acknowledged by all, keys disclosed, closed; and what no order of events can bring about."""

from dataclasses import replace

import pytest

from pourparler_policies.errors import Void
from pourparler_policies.fold import events as ev
from pourparler_policies.fold import step
from pourparler_policies.fold.closing import SHOWN_AFTER, Stage, late, settle, stage
from pourparler_policies.fold.events import Entry, Ground
from pourparler_policies.fold.exploring import Play, explore
from pourparler_policies.fold.facts import Close, Phase, State
from pourparler_policies.fold.honest import close
from pourparler_policies.fold.promises import INVARIANTS
from pourparler_policies.fold.testing import ABSENCE, NOTICE, History, card, founded

SEED = (bytes(32),)
ENDS = (ev.Acknowledged, ev.Disclosed, ev.Leaving)


def agreed(*words: str, parties: int = 2) -> History:
    history = founded(parties)
    history.enact(Close(), *words)
    return history


def test_everybody_acknowledges_then_everybody_discloses_and_with_the_last_it_is_closed() -> None:
    history = agreed("a1", "b1", "c1", parties=3)
    assert stage(history.state) is Stage.ACKNOWLEDGING
    assert not history.state.open
    assert history.state.erased
    for word in ("a1", "b1", "c1"):
        assert stage(history.state) is Stage.ACKNOWLEDGING
        history.post(word, ev.Acknowledged())
    for word in ("c1", "a1", "b1"):
        assert stage(history.state) is Stage.DISCLOSING
        history.post(word, ev.Disclosed(SEED))
    assert stage(history.state) is Stage.CLOSED


def test_who_does_not_come_back_is_dropped_when_it_is_out_by_its_own_finding_and_not_before() -> None:
    history = agreed("a1", "b1", "c1", parties=3)
    start = history.now
    history.post("a1", ev.Acknowledged())
    history.post("b1", ev.Acknowledged())
    history.now = start + ABSENCE + SHOWN_AFTER - 1
    with pytest.raises(Void, match="being ended"):
        history.post("a1", ev.Disclosed(SEED))
    history.now += 1
    history.post("a1", ev.Disclosed(SEED))
    assert [device.card for device in late(history.state)] == [card("c1")]
    for event in (ev.Acknowledged(), ev.Disclosed(SEED)):
        with pytest.raises(Void):
            history.post("c1", event)
    assert not history.state.closed
    history.post("b1", ev.Disclosed(SEED))
    assert history.state.closed


def test_who_acknowledged_and_never_discloses_holds_nobody_up_beyond_the_notice() -> None:
    history = agreed("a1", "b1")
    for word in ("a1", "b1"):
        history.post(word, ev.Acknowledged())
    history.post("a1", ev.Disclosed(SEED))
    history.now += NOTICE - 1
    assert not step(history.state, history.event("a1", ev.Disclosed(SEED))).state.closed
    history.now += 1
    assert step(history.state, history.event("a1", ev.Disclosed(SEED))).state.closed  # void, and yet time passed


def test_who_leaves_meanwhile_is_not_waited_for_and_makes_nobody_wait_anew() -> None:
    history = agreed("a1", "b1", "c1", parties=3)
    history.post("a1", ev.Acknowledged())
    history.post("b1", ev.Leaving())
    history.post("c1", ev.Acknowledged())
    assert stage(history.state) is Stage.DISCLOSING
    history.post("c1", ev.Leaving())
    assert stage(history.state) is Stage.DISCLOSING
    history.post("a1", ev.Disclosed(SEED))
    assert history.state.closed


def test_keys_of_a_live_channel_that_are_shown_change_nothing_but_the_counter() -> None:
    history = founded(2)
    before = history.state
    history.post("a1", ev.Disclosed(SEED))
    devices = {
        **before.devices,
        card("a1"): replace(before.devices[card("a1")], counter=history.device("a1").counter),
    }
    assert history.state == replace(before, devices=devices, time=history.state.time)


# Every state that three devices can reach from the moment of the end on, whatever they try.


def play() -> Play:
    history = agreed("a1", "b1", "c1", parties=3)
    cast = {"a1": "a", "b1": "b", "c1": "c"}
    return Play(history.state, cast, {("close",): Close()}, None, frozenset(Ground))


def nothing_counts_but_the_end(before: State, entry: Entry | None, after: State) -> None:
    assert entry is None or isinstance(entry.content, ENDS)
    assert (after.rules, after.open, after.recess) == (before.rules, {}, before.recess)


def no_last_key_is_shown_before_everybody_has_read_so_far_or_is_out(
    before: State, entry: Entry | None, after: State
) -> None:
    if entry is not None and isinstance(entry.content, ev.Disclosed):
        present = {c for c, d in before.devices.items() if d.phase is Phase.PRESENT}
        assert present <= before.acknowledged or before.time >= START_OF_END + ABSENCE + SHOWN_AFTER


def who_has_shown_its_keys_had_acknowledged(before: State, entry: Entry | None, after: State) -> None:
    assert after.disclosed <= after.acknowledged
    assert before.acknowledged <= after.acknowledged
    assert before.disclosed <= after.disclosed
    assert before.closing >= after.closing > 0


START_OF_END = play().start.time


def test_in_every_state_of_the_end_every_promise_is_kept_and_time_and_honest_people_close_it() -> None:
    checks = [
        *INVARIANTS,
        nothing_counts_but_the_end,
        no_last_key_is_shown_before_everybody_has_read_so_far_or_is_out,
        who_has_shown_its_keys_had_acknowledged,
    ]
    result = explore(play(), checks)
    assert result.complete
    assert {stage(state) for state in result.states} == {Stage.ACKNOWLEDGING, Stage.DISCLOSING, Stage.CLOSED}
    for state in result.states:
        late_in_time = settle(replace(state, time=state.closing + NOTICE))
        assert late_in_time.closed
        for silent in (frozenset[str](), frozenset("a"), frozenset("bc")):
            assert close(state, silent).closed


def test_an_early_disclosure_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search can fail."""
    start = play().start
    entry = Entry(1, start.time, start.devices[card("a1")].credential, ev.Disclosed(SEED), 99)
    with pytest.raises(AssertionError):
        no_last_key_is_shown_before_everybody_has_read_so_far_or_is_out(start, entry, start)
