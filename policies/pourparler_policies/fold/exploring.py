"""Every act that any device, honest or not, could try in a state; and every state that they lead to.

1. What is explored is the real code: `apply` judges each act, and what it finds void leads nowhere.
2. Two states that differ only in counters, credentials, and in times that no rule can tell apart are one.
3. So are two that differ only in the parties' names. That is sound because no rule can tell parties apart, which
   `tests/policies/fold/test_equality.py` shows by itself.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import permutations

from pourparler_policies.errors import Void

from . import apply, events, standing, subject_digest
from .closing import settle
from .consent import seat_of
from .events import Added, Commit, Entry, Event, Ground
from .facts import IN_GROUP, Adjourn, Admit, Device, Phase, Recess, Replace, State, Subject
from .testing import NOTICE, card, leaf

Labelled = tuple[str, ...]  # a subject as words, such as ("admit", "a2")
Check = Callable[[State, Entry | None, State], None]  # before, what happened (None: time passed), after


@dataclass(slots=True)
class Play:
    """Who and what may appear: `cast` as word -> body, subjects by label, and which kinds of acts are tried."""

    start: State
    cast: dict[str, str]
    subjects: dict[Labelled, Subject]
    acts: frozenset[type] | None = None  # event types; None for all
    grounds: frozenset[Ground] = frozenset(Ground)
    wait: bool = True
    words: dict[bytes, str] = field(init=False)
    labels: dict[bytes, Labelled] = field(init=False)
    seats: dict[bytes, str] = field(init=False)

    def __post_init__(self) -> None:
        self.words = {card(word): word for word in self.cast}
        rules = self.start.rules
        self.labels = {subject_digest(rules, subject): label for label, subject in self.subjects.items()}
        # A seat is called by the card for which it was approved, also when another card has replaced it.
        self.seats = {
            subject_digest(rules, s): self.words[s.card] for s in self.subjects.values() if isinstance(s, Admit)
        }
        for seat in self.start.seats.values():
            self.seats.setdefault(seat.id, self.words[standing.devices_of(self.start, seat.id)[0].card])


def entries(play: Play, state: State) -> Iterator[Entry]:
    """Everything that any device in the group could post or commit."""
    for author in state.devices.values():
        if author.phase in IN_GROUP:
            for event in _events(play, state, author):
                if play.acts is None or type(event) in play.acts:
                    yield Entry(1, state.time, author.credential, event, author.counter + 1)
            for commit in _commits(play, state, author):
                yield Entry(1, state.time, author.credential, commit)


def _events(play: Play, state: State, author: Device) -> Iterator[Event]:
    yield events.Leaving()
    yield events.Complained()
    yield events.Acknowledged()
    yield events.Disclosed((bytes(32),))
    for device in state.devices.values():
        if device.credential and device.card != author.card:
            yield events.Attested(device.credential)
            yield events.Absent(device.credential)
        yield events.Discarded(device.card)
    for word in play.cast:
        yield events.Cancelled(card(word))
    for seat in state.seats:
        yield events.Held(seat)
    for subject in play.subjects.values():
        if not state.time >= _hour(subject) > 0:
            yield events.Proposed(subject)
    for digest in state.open:
        yield events.Approved(digest)
        yield events.Withdrawn(digest)
        yield events.Objected(digest)
        yield events.Yielded(digest)
        yield events.Dropped(digest)
        yield events.Enacted(digest)


def _hour(subject: Subject) -> int:
    """Until when it can be agreed on; 0: at any time."""
    match subject:
        case Recess():
            return subject.until
        case Adjourn():
            return subject.at
    return 0


def _commits(play: Play, state: State, author: Device) -> Iterator[Commit]:
    yield Commit(updated=(author.credential,))
    others = [d for d in state.devices.values() if d.credential and d.card != author.card]
    for device in others:
        yield Commit(("remove",), (), (device.credential,))
    for word in play.cast:
        fingerprint = card(word)
        held = state.devices.get(fingerprint)
        fresh = leaf(word, 1 if held is not None and held.credential == leaf(word) else 0)
        if held is not None and Ground.RETURN in play.grounds:
            gone = (held.credential,) if held.credential and held.card != author.card else ()
            names = ("add", "remove") if gone else ("add",)
            yield Commit(names, (Added(fresh, fingerprint, Ground.RETURN),), gone)
        if held is None and Ground.SECOND in play.grounds:
            yield Commit(("add",), (Added(fresh, fingerprint, Ground.SECOND),))
        for digest, open_subject in state.open.items():
            subject = open_subject.subject
            if isinstance(subject, Admit) and subject.card == fingerprint:
                for ground in (Ground.FOUNDING, Ground.ADMISSION):
                    yield Commit(("add",), (Added(fresh, fingerprint, ground, digest),))
            if isinstance(subject, Replace) and subject.new == fingerprint:
                old = state.devices.get(subject.old)
                gone = (old.credential,) if old is not None and old.credential and old.card != author.card else ()
                names = ("add", "remove") if gone else ("add",)
                yield Commit(names, (Added(fresh, fingerprint, Ground.REPLACEMENT, digest),), gone)


def key(play: Play, state: State) -> object:
    """What distinguishes states: equal keys mean equal futures up to the parties' names."""
    bodies = sorted(state.rules.parties)
    return min(_key(play, state, dict(zip(bodies, order, strict=True))) for order in permutations(bodies))


def _key(play: Play, state: State, names: dict[str, str]) -> tuple[object, ...]:
    def word(text: str) -> str:
        return names.get(text[0], text[0]) + text[1:]

    def bodies(held: frozenset[str]) -> tuple[str, ...]:
        return tuple(sorted(names.get(body, body) for body in held))

    devices = sorted(
        (
            word(play.words[device.card]),
            device.phase.value,
            word(play.seats[device.seat]),
            bodies(device.by),
            tuple(sorted(word(play.words[met]) for met in device.met)),
            tuple(sorted((names[p], at + state.rules.notice <= state.time) for p, at in device.absent.items())),
        )
        for device in state.devices.values()
    )
    table = sorted(
        (
            tuple(word(part) if part in play.cast else part for part in play.labels[digest]),
            names.get(held.body, held.body),
            tuple(sorted((word(play.seats[seat]), final) for seat, final in held.approvals.items())),
            tuple(sorted(word(play.seats[seat]) for seat in held.objections)),
        )
        for digest, held in state.open.items()
    )
    spent = tuple(sorted(word(play.words[spent]) for spent in state.spent if spent in play.words))
    ending = (
        *(
            tuple(sorted(word(play.words[one]) for one in cards))
            for cards in (state.acknowledged, state.disclosed)
        ),
        *(state.closing > 0, 0 < state.closing <= state.time, state.closed),
        state.closing > 0 and state.closing + state.rules.notice <= state.time,
    )
    rest = (
        state.founded,
        state.recess > state.time,
        state.adjourned > state.time,
        state.erased,
        ending,
        state.rules.charter,
    )
    return (tuple(devices), tuple(table), spent, rest)


@dataclass(slots=True)
class Explored:
    """What an exploration found. `complete` is False when it ended at a limit."""

    states: list[State]
    steps: int
    depth: int
    complete: bool


def explore(play: Play, checks: list[Check], *, depth: int = 1000, limit: int = 1_000_000) -> Explored:
    """Every state within `depth` steps of the start, breadth first; each step that counts passes every check."""
    seen = {key(play, play.start)}
    met: set[object] = set()  # the same without renaming: quicker to ask
    plain = {party: party for party in play.start.rules.parties}
    states = [play.start]
    queue = deque([(play.start, 0)])
    steps = deepest = 0
    complete = True
    while queue:
        state, reached = queue.popleft()
        deepest = max(deepest, reached)
        if reached >= depth or len(states) >= limit:
            complete = False
            continue
        for entry, after in successors(play, state):
            steps += 1
            for check in checks:
                check(state, entry, after)
            quick = _key(play, after, plain)
            if quick in met:
                continue
            met.add(quick)
            mark = key(play, after)
            if mark not in seen:
                seen.add(mark)
                states.append(after)
                queue.append((after, reached + 1))
    return Explored(states, steps, deepest, complete)


def successors(play: Play, state: State) -> Iterator[tuple[Entry | None, State]]:
    """The states one step further: after an entry that counts, or after the notice has passed."""
    if state.closed:
        return
    for entry in entries(play, state):
        try:
            yield entry, apply(state, entry)
        except Void:
            continue
    if play.wait and any(device.absent for device in state.devices.values()):
        yield None, replace(state, time=state.time + NOTICE)
    if play.wait and state.closing:
        yield None, settle(replace(state, time=max(state.time + NOTICE, state.closing)))


def about(state: State, seat: bytes) -> list[Subject]:
    """Subjects on the table that are about a seat."""
    return [held.subject for held in state.open.values() if seat_of(held.subject) == seat]


def in_group(state: State, phase: Phase | None = None) -> list[Device]:
    """Devices whose leaf is in the group, of one phase if given."""
    return [d for d in state.devices.values() if d.phase in IN_GROUP and (phase is None or d.phase is phase)]
