"""The promises of DESIGN 2 as checks of a step (before, entry, after), and that honest people always get on.

They ask the states afresh, by other means than the code that made them; who breaks one gets an AssertionError.
An entry of None is time that passed.
"""
# ruff: noqa: S101, D103 -- a kit for tests: each of these is an assertion, and its name is its sentence

from pourparler_policies.charter.rules import DECIDING, Role

from . import events as ev
from . import standing
from .events import Commit, Entry, Ground
from .exploring import in_group
from .facts import IN_GROUP, Expel, Open, Phase, Recall, Replace, State
from .honest import close, go_on
from .soundness import check_sound


def present_parties(state: State) -> set[str]:
    return {standing.body_of(state, d) for d in in_group(state, Phase.PRESENT)} & set(state.rules.parties)


def bodies_for(state: State, subject: Open) -> set[str]:
    """Bodies of which somebody who decides, or an intermediary, has finally approved."""
    seats = [state.seats[seat] for seat, final in subject.approvals.items() if final]
    return {seat.body for seat in seats if seat.role in DECIDING | {Role.INTERMEDIARY}}


def parties_for(state: State, subject: Open) -> set[str]:
    """The parties among them."""
    return bodies_for(state, subject) & set(state.rules.parties)


def the_state_is_consistent(before: State, entry: Entry | None, after: State) -> None:
    credentials = [d.credential for d in after.devices.values() if d.credential]
    assert len(credentials) == len(set(credentials))
    for fingerprint, device in after.devices.items():
        assert device.card == fingerprint
        assert device.seat in after.seats
        assert bool(device.credential) == (device.phase in IN_GROUP)
        assert len(standing.devices_of(after, device.seat)) <= after.rules.devices
    assert set(after.seats) == {device.seat for device in after.devices.values()}
    for body in after.rules.parties:
        assert sum(seat.body == body for seat in after.seats.values()) <= after.rules.seats
    for held in after.open.values():
        assert set(held.approvals) | held.objections <= set(after.seats)
    if not after.closed and not after.closing:
        check_sound(after)  # else a newcomer would refuse a true state


def nobody_enters_without_every_party(before: State, entry: Entry | None, after: State) -> None:
    for fingerprint in after.devices.keys() - before.devices.keys():
        assert entry is not None
        assert isinstance(entry.content, Commit)
        (added,) = entry.content.added
        device = after.devices[fingerprint]
        replaced = added.ground is Ground.REPLACEMENT
        assert device.phase is (Phase.RETURNING if replaced else Phase.LOBBY)
        if added.ground is Ground.SECOND:
            author = standing.by_credential(before, entry.author)
            assert author is not None
            assert author.seat == device.seat
            continue
        approving = parties_for(before, before.open[added.digest])
        seat = after.seats[device.seat]
        if added.ground is Ground.ADMISSION:
            assert approving == set(before.rules.parties) == present_parties(before)
        elif added.ground is Ground.FOUNDING:
            assert any(n.card == fingerprint and n.body == seat.body for n in before.rules.founding)
            assert fingerprint not in before.spent
            assert {p for p in present_parties(before) if standing.deciders(before, p)} <= approving
        else:
            assert device.seat in before.seats  # the person was approved; only the card is new
            assert seat.body in bodies_for(before, before.open[added.digest])
            assert len({before.seats[s].body for s in before.open[added.digest].approvals}) > 1


def nobody_speaks_or_counts_before_attestation(before: State, entry: Entry | None, after: State) -> None:
    for fingerprint, device in after.devices.items():
        earlier = before.devices.get(fingerprint)
        if device.phase is Phase.PRESENT and (earlier is None or earlier.phase is not Phase.PRESENT):
            own = standing.body_of(after, device)
            others = present_parties(before) - {own}
            assert device.by
            assert device.met
            if earlier is not None and earlier.phase is Phase.LOBBY:
                assert others <= device.by
            elif others:
                assert others & device.by
        if device.phase in {Phase.LOBBY, Phase.RETURNING}:
            assert all(device in standing.waits_for(after, body) for body in after.rules.bodies)


def nothing_loosens_without_every_party(before: State, entry: Entry | None, after: State) -> None:
    loosened = after.rules != before.rules or after.recess != before.recess or after.adjourned != before.adjourned
    expelled = (
        entry is not None
        and isinstance(entry.content, ev.Enacted)
        and isinstance(before.open[entry.content.digest].subject, Expel)
    )
    if loosened or expelled:
        assert present_parties(before) == set(before.rules.parties)
        gone = [held for digest, held in before.open.items() if digest not in after.open]
        assert any(parties_for(before, held) == set(before.rules.parties) for held in gone)
        assert all(not held.objections or expelled for held in gone)


def nobody_is_put_out_by_the_other_side(before: State, entry: Entry | None, after: State) -> None:
    for fingerprint, device in before.devices.items():
        later = after.devices.get(fingerprint)
        body = standing.body_of(before, device)
        if device.phase in {Phase.EXPECTED, Phase.LOBBY, Phase.LEAVING}:
            continue  # has not arrived; or was marked already, which was judged then
        ended = later is None or later.phase in {Phase.LEAVING, Phase.HOLDING, Phase.HELD}
        if ended and device.phase not in {Phase.HOLDING, Phase.HELD}:
            author = standing.by_credential(before, entry.author) if entry is not None else None
            assert author is not None
            replaced = isinstance(entry.content, Commit) if entry is not None else False
            enacted = entry is not None and isinstance(entry.content, ev.Enacted)
            if replaced or enacted:
                gone = next(held for digest, held in before.open.items() if digest not in after.open)
                assert isinstance(gone.subject, Expel | Recall | Replace)
                assert body in bodies_for(before, gone)
            else:
                assert standing.body_of(before, author) == body
        if device.phase is Phase.PRESENT and later is not None and later.phase is Phase.AWAY:
            ripe = {p for p, at in device.absent.items() if at + before.rules.notice <= before.time}
            assert ripe
            assert body not in ripe


def nobody_who_arrived_loses_the_seat_to_another_side(before: State, entry: Entry | None, after: State) -> None:
    for seat in before.seats.values():
        if not seat.arrived or seat.id in after.seats:
            continue
        assert entry is not None
        author = standing.by_credential(before, entry.author)
        assert author is not None
        if isinstance(entry.content, Commit):  # its leaf goes: somebody had the right to end it before
            assert all(d.phase is Phase.LEAVING for d in standing.devices_of(before, seat.id))
        elif isinstance(entry.content, ev.Enacted):
            assert seat.body in bodies_for(before, before.open[entry.content.digest])
        else:
            assert standing.body_of(before, author) == seat.body


def everybody_attested_has_left(state: State) -> bool:
    return not in_group(state, Phase.PRESENT)


def somebody_attested_is_left_unless_they_left(before: State, entry: Entry | None, after: State) -> None:
    if everybody_attested_has_left(after) and not everybody_attested_has_left(before):
        gone = [d for d in after.devices.values() if before.devices[d.card].phase is Phase.PRESENT]
        assert all(d.phase is Phase.LEAVING for d in gone)


def honest_people_get_on(state: State, silent: frozenset[str] = frozenset()) -> None:
    """Whoever is left can talk, or end the channel and open another; all together bring everybody back."""
    ended = go_on(state, silent)
    inside = [d for d in in_group(ended) if standing.body_of(ended, d) not in silent]
    if ended.closed or ended.closing or not inside:
        return
    if everybody_attested_has_left(state):
        return  # who is not attested yet opens another channel
    able_to_start = [d for d in inside if d.phase is Phase.PRESENT]
    if not silent:
        assert able_to_start, "somebody is inside and nobody is attested"
        assert all(d.phase is Phase.PRESENT for d in ended.devices.values()), "somebody cannot come back"
        has_seats = {seat.body for seat in ended.seats.values()} >= set(ended.rules.parties)
        assert not has_seats or not standing.dormant(ended), "everybody is there and nothing can be decided"
    if able_to_start:
        for device in able_to_start:
            assert not standing.waits_for(ended, standing.body_of(ended, device)), "the lobby never empties"
        if standing.dormant(ended):
            assert close(ended, silent).closed, "who is left cannot even end the channel"


INVARIANTS = [
    the_state_is_consistent,
    nobody_enters_without_every_party,
    nobody_speaks_or_counts_before_attestation,
    nothing_loosens_without_every_party,
    nobody_is_put_out_by_the_other_side,
    nobody_who_arrived_loses_the_seat_to_another_side,
    somebody_attested_is_left_unless_they_left,
]
