"""Two sides that share no channel: what is carried, and every course that it can take.

With a larger POURPARLER_STATES the walks go further; with 200000 all but those with a false carrier come to their end.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pourparler_policies.errors import Misuse, Void
from pourparler_policies.fold.encoding import encode
from pourparler_policies.limits import DAY
from pourparler_policies.release import device, events, relayed
from pourparler_policies.release.decoding import decode_beside
from pourparler_policies.release.desk import Desk
from pourparler_policies.release.device import Cue, Duty, Stage
from pourparler_policies.release.facts import GRACE, Phase
from pourparler_policies.release.relayed import LEGS, MAX_PASSAGE, Arranged, Leg, Part, Passage, Side
from pourparler_policies.release.relaying import BAD, FAKE, REAL, Cast, World, explore, following, public
from pourparler_policies.release.rules import Signatories
from pourparler_policies.release.testing import PAPER, Talks, revision, talks

LIMIT = int(os.environ.get("POURPARLER_STATES", "3000"))
ID = b"i" * 16


def test_with_an_honest_carrier_that_is_late_crashes_and_repeats_every_course_keeps_the_promises() -> None:
    walked = explore(Cast(), limit=LIMIT)
    stages = {end.own.stage for world in walked.found for end in world.ends if end.own is not None}
    assert {Stage.COMMITTED, Stage.REVEALED, Stage.PREPARED, Stage.ASKED, Stage.SIGNED, Stage.BARRED} <= stages


def test_whatever_a_false_carrier_gives_the_two_sides_every_course_keeps_the_promises() -> None:
    walked = explore(Cast(hostile=True), limit=LIMIT)
    kinds = {kind for world in walked.found for end in world.ends for kind in end.posts.values()}
    assert kinds == {REAL, BAD, FAKE}


@pytest.mark.parametrize("reached", [Stage.COMMITTED, Stage.REVEALED, Stage.PREPARED, Stage.ASKED, Stage.SIGNED])
def test_a_carrier_that_turns_false_at_any_point_breaks_no_promise(reached: Stage) -> None:
    """From each point of an honest course, so that the walks come to what happens late."""
    cast = Cast(hostile=True)
    start = goes_on(cast, cast.start, lambda world: reached in stages(world), willing)
    explore(cast, limit=LIMIT // 2, start=start)


def test_a_carrier_that_begins_a_round_of_its_own_with_each_side_gets_both_asked_and_nothing_published() -> None:
    cast = Cast(hostile=True)

    def false(what: str) -> bool:
        return ("gives" in what and "fake" in what) or not any(
            w in what for w in ("carries", "gives", "withdraw", "time")
        )

    start = goes_on(cast, cast.start, lambda world: stages(world) == {Stage.SIGNED}, false)
    assert not start.one_round
    walked = explore(cast, limit=LIMIT, start=start)
    assert not any(public(world) for world in walked.found)


@pytest.mark.parametrize("trouble", ["edits", "losses"])
def test_a_text_edited_on_one_side_or_a_device_that_is_lost_breaks_no_promise(trouble: str) -> None:
    explore(Cast(**{trouble: True}), limit=LIMIT // 2)


def goes_on(cast: Cast, world: World, until: Callable[[World], bool], chosen: Callable[[str], bool]) -> World:
    """By whatever honest step there is, until that is so."""
    for _ in range(200):
        if until(world):
            return world
        steps = [(what, after) for what, after in following(cast, world) if chosen(what) and after != world]
        world = steps[0][1] if steps else world
    raise AssertionError([end.own.stage if end.own else None for end in world.ends])


def willing(what: str) -> bool:
    """Nothing that somebody does against it."""
    return not any(word in what for word in ("withdraw", "time", "person: no", "edited", "loses", "gives"))


def stages(world: World) -> set[Stage | None]:
    return {end.own.stage if end.own is not None else None for end in world.ends}


def published(cast: Cast) -> World:
    """Two honest sides whose persons both sign."""

    def done(world: World) -> bool:
        return all(Duty.DEPOSIT in end.sent for end in world.ends)

    world = goes_on(cast, cast.start, done, willing)
    at_desk = goes_on(cast, world, lambda w: w.desks[0].phase is Desk.FULL, willing)
    return goes_on(cast, at_desk, public, lambda what: what == "time")


def test_two_sides_that_both_say_yes_publish() -> None:
    world = published(Cast())
    assert public(world)
    assert all(end.will for end in world.ends)


def carries_what_is_there() -> list[tuple[int, int, relayed.Key]]:
    hello, mine = (Leg.HELLO, 0, None), (Leg.FIRST, 0, 1)
    false: relayed.Key = (Leg.FIRST, 1, 0)  # north says something in the name of south's line
    sides = [Side(frozenset({0}), frozenset({hello, mine, false})), Side(frozenset({1}), frozenset({hello}))]
    return relayed.carries(sides)


def test_what_is_carried_is_what_the_other_side_lacks_and_only_in_the_name_of_a_line_s_own_side() -> None:
    assert carries_what_is_there() == [(0, 1, (Leg.FIRST, 0, 1))]


def test_a_message_goes_only_where_it_has_a_reader() -> None:
    keys: frozenset[relayed.Key] = frozenset({(Leg.SECOND, 0, 1), (Leg.SECOND, 0, 2), (Leg.HELLO, 0, None)})
    sides = [Side(frozenset({0, 1}), keys), Side(frozenset({2}), frozenset()), Side(frozenset({3}), frozenset())]
    assert relayed.carries(sides) == [
        (0, 1, (Leg.HELLO, 0, None)),
        (0, 2, (Leg.HELLO, 0, None)),
        (0, 1, (Leg.SECOND, 0, 2)),
    ]


def test_a_round_comes_as_far_as_what_every_other_line_has_sent() -> None:
    got: list[tuple[Leg, int]] = []
    reached = []
    for leg in (Leg.HELLO, Leg.FIRST, Leg.SECOND, Leg.THIRD, Leg.SAME):
        for line in (0, 2):
            reached.append(relayed.phase(3, 1, got))
            got.append((leg, line))
    reached.append(relayed.phase(3, 1, got))
    order = [Phase.APPOINTED, Phase.COMMITTING, Phase.REVEALING, Phase.PREPARING, Phase.PREPARING, Phase.FROZEN]
    assert [phase for number, phase in enumerate(reached) if number % 2 == 0] == order


# What counts


def room(**options: Any) -> Talks:
    """One side's channel with a text of the intermediary's that both parties there have initialled."""
    made = talks(2, intermediary=True, **options)
    text = revision("We met.", 2, not_before=made.now + 3 * DAY)
    made.post("m1", events.Drafted(PAPER, text, 90 * DAY))
    made.initial("a1", "b1")
    return made


def proposal(log: Talks, **changed: Any) -> Arranged:
    stop = log.state.rules.stop_until
    made = Arranged(ID, PAPER, log.text.digest, (0,), log.now + DAY, log.now + 2 * DAY, stop)
    return replace(made, **changed)


def part_of(log: Talks) -> Part:
    return relayed.arranged(log.state, log.device("m1"), proposal(log), log.now)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"digest": b"d" * 32}, "not the revision"),
        ({"paper": b"q" * 16}, "not the revision"),
        ({"here": ()}, "lines that are signed here"),
        ({"here": (0, 0)}, "lines that are signed here"),
        ({"here": (0, 1)}, "some elsewhere"),
        ({"here": (2,)}, "some elsewhere"),
        ({"id": b"i" * 32}, "an id"),
        ({"sign_by": 0}, "ends later than now"),
        ({"sign_by": 2**40}, "ends later than now"),
        ({"deposit_by": 0}, "after the sign deadline"),
        ({"stop_before": None}, "who may stop"),
        ({"stop_before": 1}, "who may stop"),
    ],
)
def test_a_proposal_that_this_channel_cannot_keep_counts_for_nothing(changed: dict[str, Any], why: str) -> None:
    log = room()
    with pytest.raises(Void, match=why):
        relayed.arranged(log.state, log.device("m1"), proposal(log, **changed), log.now)


def test_the_text_s_hour_its_paper_and_the_charter_have_to_leave_room() -> None:
    log = room()
    with pytest.raises(Void, match="the text's hour"):
        paper = log.state.papers[PAPER]
        early = {PAPER: replace(paper, text=replace(paper.text, not_before=log.now + DAY))}
        relayed.arranged(replace(log.state, papers=early), log.device("m1"), proposal(log), log.now)
    brief = replace(log.state, papers={PAPER: replace(log.state.papers[PAPER], expires=log.now + 3 * DAY)})
    with pytest.raises(Void, match="would expire"):
        relayed.arranged(brief, log.device("m1"), proposal(log), log.now)
    silent = replace(log.state, rules=replace(log.state.rules, signatories=Signatories.NOBODY))
    with pytest.raises(Void, match="no joint text"):
        relayed.arranged(silent, log.device("m1"), proposal(log), log.now)


def test_nobody_but_an_intermediary_arranges_and_only_what_every_party_here_has_initialled() -> None:
    log = room()
    with pytest.raises(Void, match="intermediary"):
        relayed.arranged(log.state, log.device("a1"), proposal(log), log.now)
    log.post("b1", events.Retracted(PAPER))
    with pytest.raises(Void, match="initialled"):
        part_of(log)
    log.initial("b1")
    log.post("a1", events.Opposed(PAPER))
    with pytest.raises(Void, match="objects"):
        part_of(log)


def test_a_long_quiet_log_does_not_make_a_proposal_too_late() -> None:
    """Entries beside the procedure do not move the log's time: what counts is when this one was received."""
    log = room()
    later = log.now + DAY
    late = proposal(log, sign_by=later + DAY, deposit_by=later + DAY + 60)
    assert relayed.arranged(log.state, log.device("m1"), late, later).sign_by == later + DAY


def test_who_has_not_initialled_or_whose_rule_asks_for_two_is_not_ready() -> None:
    log = room()
    part = part_of(log)
    relayed.check_ready(log.state, part, log.seat("a1"), log.now)
    with pytest.raises(Misuse, match="not initialled"):
        relayed.check_ready(log.state, part, log.seat("m1"), log.now)
    with pytest.raises(Misuse, match="time to sign"):
        relayed.check_ready(log.state, part, log.seat("a1"), part.sign_by)
    log.post(
        "m1",
        events.Revised(PAPER, log.text.digest, revision("We met again.", 2, not_before=part.not_before)),
    )
    with pytest.raises(Misuse, match="edited"):
        relayed.check_ready(log.state, part, log.seat("a1"), log.now)
    two = talks(2, delegates=2, rule=2, intermediary=True)
    two.post("m1", events.Drafted(PAPER, revision("We met.", 2, not_before=two.now + 3 * DAY), 90 * DAY))
    two.initial("a1", "a2", "b1", "b2")
    with pytest.raises(Misuse, match="more than one person"):
        relayed.check_ready(two.state, part_of(two), two.seat("a1"), two.now)


@pytest.mark.parametrize(
    ("word", "leg", "line", "to", "good"),
    [
        ("a1", Leg.FIRST, 0, 1, True),
        ("m1", Leg.FIRST, 1, 0, True),
        ("m1", Leg.HELLO, 1, None, True),
        ("m1", Leg.FIRST, 0, 1, False),  # the carrier in this side's name
        ("b1", Leg.FIRST, 1, 0, False),  # this side in the other's name
        ("a1", Leg.FIRST, 0, 0, False),
        ("a1", Leg.FIRST, 0, None, False),
        ("a1", Leg.HELLO, 0, 1, False),
        ("m1", Leg.FIRST, 2, 0, False),
        ("a1", Leg.FIRST, 0, 2, False),
    ],
)
def test_a_message_counts_only_from_where_it_can_be(
    word: str, leg: Leg, line: int, to: int | None, good: bool
) -> None:
    log = room()
    event = Passage(ID, leg, line, to, b"sealed")
    assert relayed.counts(log.state, log.device(word), part_of(log), event) is good
    assert not relayed.counts(log.state, log.device(word), part_of(log), replace(event, id=b"j" * 16))
    assert not relayed.counts(
        log.state, log.device(word), part_of(log), replace(event, sealed=bytes(MAX_PASSAGE + 1))
    )


def test_both_events_are_read_back_from_their_canonical_form() -> None:
    for event in (proposal(room()), *(Passage(ID, leg, 0, None if leg is Leg.HELLO else 1, b"s") for leg in Leg)):
        assert decode_beside(encode(event)) == event


def test_a_seat_put_on_hold_after_its_word_makes_the_device_ask_again() -> None:
    log = room()
    part = part_of(log)
    case = relayed.case_of(part, log.seat("a1"), 0, b"n" * 32, Phase.FROZEN)
    own = replace(device.joined(case, log.seat("a1"), b"n" * 32), stage=Stage.SIGNED)
    settled = replace(log.state, case=case)
    assert device.watch(own, settled, sound=True, opened=True) is Cue.COMPLETE
    gone = {seat: party for seat, party in part.seats.items() if party == "a"}
    unsettled = replace(
        log.state, case=relayed.case_of(replace(part, seats=gone), log.seat("a1"), 0, b"n" * 32, Phase.FROZEN)
    )
    assert device.watch(own, unsettled, sound=True, opened=True) is Cue.COMPLETE_UNSETTLED
    assert part.ends == part.not_before + GRACE


# The promises notice


_PHASE = relayed.phase


def _without_same(lines: int, own: int, got: Any) -> Phase:
    here = set(got)
    return _PHASE(lines, own, here | {(Leg.SAME, line) for line in range(lines) if (Leg.THIRD, line) in here})


@pytest.mark.parametrize(
    ("place", "name", "mutant"),
    [
        ("phase", "the case is not compared", _without_same),
        ("stands_behind", "an edit is not looked at", lambda state, part: ""),
    ],
)
def test_a_rule_that_is_taken_away_is_missed(
    monkeypatch: pytest.MonkeyPatch, place: str, name: str, mutant: object
) -> None:
    cast = Cast(edits=True)
    before = goes_on(cast, cast.start, lambda world: stages(world) == {Stage.PREPARED}, willing)
    explore(cast, limit=2000, start=before)
    monkeypatch.setattr(relayed, place, mutant)
    cast = Cast(edits=True)  # which remembers nothing of the rule
    with pytest.raises(AssertionError):
        explore(cast, limit=20_000, start=before)


def test_every_leg_has_its_row() -> None:
    assert tuple(LEGS) == tuple(Leg)
