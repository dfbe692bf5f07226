"""Every course of a round: honest devices, a hostile member with the service at its side, and a group that changes.

With a larger POURPARLER_STATES the larger walk goes further.
"""

import os
from dataclasses import replace

import pytest

from pourparler_policies.ideas import acts, device, exploring
from pourparler_policies.ideas.device import Duty, Own, Stage
from pourparler_policies.ideas.exploring import Cast, World, ends_well, explore
from pourparler_policies.ideas.facts import Phase, Round
from pourparler_policies.ideas.table import Trigger
from pourparler_policies.release.exploring import Walked

LIMIT = int(os.environ.get("POURPARLER_STATES", "6000"))


def everything_happens(found: list[World]) -> None:
    """A walk in which no round ever opens, fails, or is lost half-way would prove nothing."""
    assert any(map(ends_well, found))
    assert {own.stage for world in found for own in world.owned} == set(Stage)
    assert {world.state.round.phase for world in found if world.state.round} == set(Phase)
    assert any(world.doubtful for world in found)


def test_three_honest_devices_and_a_service_that_drops_packets_keep_every_promise_in_every_state() -> None:
    result = explore(Cast(3))
    assert result.complete
    everything_happens(result.found)
    assert any(world.dropped for world in result.found)


def test_a_hostile_member_with_the_service_at_its_side_opens_nothing_from_which_somebody_was_left_out() -> None:
    result: Walked[World] = explore(Cast(2, hostile=True))
    assert result.complete
    everything_happens(result.found)


def test_three_honest_ones_beside_a_hostile_one() -> None:
    result = explore(Cast(3, hostile=True), limit=LIMIT)
    print(f"{len(result.found)} states, {'all' if result.complete else 'up to the limit'}")


def test_if_devices_did_not_look_for_their_own_packets_a_service_could_leave_somebody_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exploring, "finds", lambda _, seen: seen[1])
    with pytest.raises(AssertionError):
        explore(Cast(2, hostile=True), limit=LIMIT)


def test_if_the_log_did_not_compare_what_was_seen_two_lists_could_be_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def anything(held: Round, consent: object, author: object, event: object) -> Round | None:
        part = acts._part(held, author)  # type: ignore[arg-type]
        held = acts._put(held, author, replace(part, digest=event.digest))  # type: ignore[arg-type,attr-defined]
        return acts.shift(held, Trigger.SEEN) if all(p.digest for p in held.parts.values()) else held

    wanted = acts.EVENTS[acts.events.Seen][0]
    monkeypatch.setitem(acts.EVENTS, acts.events.Seen, (wanted, anything))  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        explore(Cast(2, hostile=True), limit=LIMIT)


def test_if_a_share_were_given_before_all_had_seen_the_list_somebody_could_read_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = device.due

    def hasty(own: Own, held: Round | None, now: int) -> Duty | None:
        if own.stage is Stage.SEEN and held is not None and held.phase is Phase.COLLECTING:
            return Duty.SHOW
        return real(own, held, now)

    monkeypatch.setattr(device, "due", hasty)
    with pytest.raises(AssertionError):
        explore(Cast(2, hostile=True), limit=LIMIT)


def test_what_a_device_does_is_the_same_whether_its_person_has_an_idea_or_not() -> None:
    """It is not asked: neither what is due nor what is posted takes anything but the round and the clock."""
    assert set(Own.__dataclass_fields__) == {
        "id", "seat", "credential", "ends", "stage", "room", "shown", "digest",
    }  # fmt: skip
    assert device.due.__annotations__.keys() == {"own", "held", "now", "return"}
    assert device.owes.__annotations__.keys() == {"own", "held", "return"}
