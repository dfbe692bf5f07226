"""What honest people do next: for tests that no state is a dead end.

`go_on` lets every device act that somebody still has, except those of silent parties, until nobody has anything to
mend. People do only what their clients would: they attest each other, remove what has to go, lift holds, bring
back who is away, vote those absent who are silent, and seat a card that the charter keeps in reserve.
"""

from collections.abc import Iterator
from dataclasses import replace

from pourparler_policies.errors import Void

from . import apply, standing
from .closing import settle
from .encoding import subject_digest
from .events import (
    Absent,
    Acknowledged,
    Added,
    Approved,
    Attested,
    Commit,
    Disclosed,
    Enacted,
    Entry,
    Event,
    Ground,
    Proposed,
    Yielded,
)
from .facts import Admit, Close, Device, Lift, Phase, State, Subject
from .testing import NOTICE

MOST_STEPS = 200  # more than any cast here needs
_HAS_TO_GO = frozenset({Phase.LEAVING, Phase.HOLDING, Phase.STRANDED})
_UNATTESTED = frozenset({Phase.LOBBY, Phase.RETURNING})


def go_on(state: State, silent: frozenset[str] = frozenset()) -> State:
    """The state in which honest people have nothing left to mend. Raises AssertionError when that never comes."""
    for _ in range(MOST_STEPS):
        if state.closed or state.closing:
            return state
        following = next(_moves(state, silent), None)
        if following is None:
            return state
        state = following
    raise AssertionError("honest people go round in circles")


def close(state: State, silent: frozenset[str] = frozenset()) -> State:
    """Everybody who is there ends the channel; for who is not there they wait as long as they have to."""
    state = next(_agreed(state, Close(), silent), state)
    for _ in range(3):
        for event in (Acknowledged(), Disclosed((bytes(32),))):
            for device in _acting(state, silent):
                state = next(_try(state, device, event), state)
        if not state.closed and state.closing:
            state = settle(replace(state, time=max(state.closing, state.time + state.rules.notice)))
    return state


def _acting(state: State, silent: frozenset[str]) -> list[Device]:
    return [
        d
        for d in sorted(state.devices.values(), key=lambda device: device.card)
        if d.phase in {Phase.PRESENT, *_UNATTESTED} and standing.body_of(state, d) not in silent
    ]


def _moves(state: State, silent: frozenset[str]) -> Iterator[State]:
    acting = _acting(state, silent)
    yield from _attest(state, acting)
    yield from _remove(state, acting, silent)
    yield from _bring_back(state, acting, silent)
    for digest, held in state.open.items():
        for device in acting:
            if device.seat in held.objections:
                yield from _try(state, device, Yielded(digest))
    for device in state.devices.values():
        if device.phase is Phase.HELD and standing.body_of(state, device) not in silent:
            yield from _agreed(state, Lift(device.seat), silent)
    yield from _founding(state, silent)


def _attest(state: State, acting: list[Device]) -> Iterator[State]:
    for device in acting:
        for peer in acting:
            if device.card == peer.card:
                continue
            missing = standing.body_of(state, device) not in peer.by if device.phase is Phase.PRESENT else False
            if missing or peer.card not in device.met:
                yield from _try(state, device, Attested(peer.credential))


def _remove(state: State, acting: list[Device], silent: frozenset[str]) -> Iterator[State]:
    for device in state.devices.values():
        if device.phase in _HAS_TO_GO or (
            device.phase in _UNATTESTED and standing.body_of(state, device) in silent
        ):
            for author in acting:
                yield from _try(state, author, Commit(("remove",), (), (device.credential,)))
        if device.phase is Phase.PRESENT and standing.body_of(state, device) in silent:
            for author in acting:
                yield from _try(state, author, Absent(device.credential))
            waited = replace(state, time=state.time + NOTICE) if device.absent else state
            for author in acting:
                yield from _try(waited, author, Commit(("remove",), (), (device.credential,)))


def _bring_back(state: State, acting: list[Device], silent: frozenset[str]) -> Iterator[State]:
    for device in state.devices.values():
        if device.phase in {Phase.AWAY, Phase.EXPECTED} and standing.body_of(state, device) not in silent:
            for author in acting:
                added = Added(device.card[:16], device.card, Ground.RETURN)
                yield from _try(state, author, Commit(("add",), (added,)))


def _founding(state: State, silent: frozenset[str]) -> Iterator[State]:
    for named in sorted(state.rules.founding - {n for n in state.rules.founding if n.body in silent}):
        unable = named.body in state.rules.parties and not standing.able(state, named.body)
        if named.card not in state.spent | state.devices.keys() and (unable or not state.founded):
            yield from _agreed(state, Admit(named.body, named.role, named.card), silent)


def _agreed(state: State, subject: Subject, silent: frozenset[str]) -> Iterator[State]:
    """The subject is put on the table, approved by everybody who may, and takes effect: one state, or none."""
    digest = subject_digest(state.rules, subject)
    acting = _acting(state, silent)
    for device in acting:
        if digest not in state.open:
            state = next(_try(state, device, Proposed(subject)), state)
    for device in acting:
        if digest in state.open:
            state = next(_try(state, state.devices[device.card], Approved(digest)), state)
    for device in acting:
        if digest not in state.open:
            return
        if isinstance(subject, Admit):
            added = Added(subject.card[:16], subject.card, Ground.FOUNDING, digest)
            results = _try(state, state.devices[device.card], Commit(("add",), (added,)))
        else:
            results = _try(state, state.devices[device.card], Enacted(digest))
        for result in results:
            yield result
            return


def _try(state: State, author: Device, content: Event | Commit) -> Iterator[State]:
    try:
        yield apply(state, Entry(1, state.time, author.credential, content, author.counter + 1))
    except Void:
        return
