"""Every entry that any device could send in a state of release, and every state of the log that they lead to.

1. What is explored is the real code: `apply` judges each entry, and what it finds void leads nowhere.
2. Two states that differ in counters, in past deadlines, or in the names alone of parties that decide alike are one.
   The last is sound because no rule can tell parties apart (`tests/policies/release/test_equality.py`).
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import Any, Generic, TypeVar

from pourparler_policies.errors import Void
from pourparler_policies.fold import events as consent_events
from pourparler_policies.fold.events import Entry
from pourparler_policies.fold.events import Event as ConsentEvent
from pourparler_policies.fold.facts import Device
from pourparler_policies.fold.testing import DAY, card

from . import apply, events
from .changes import settle
from .decoding import Act
from .events import Event, entry
from .facts import Answer, Case, Paper, Phase, State, Text
from .testing import PAPER, nonce, revision

T = TypeVar("T")
Check = Callable[[State, Entry | None, State], None]  # before, what happened (None: time passed), after


@dataclass(slots=True)
class Play:
    """Who acts (`cast`: card words), on which two texts, and which kinds of events are tried."""

    start: State
    cast: tuple[str, ...]
    kinds: frozenset[type]
    rounds: int = 2  # of one appointment
    texts: tuple[Text, Text] = field(init=False)
    words: dict[bytes, str] = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.start.consent.rules.parties)
        self.texts = (revision("We met.", count), revision("We met again.", count))
        there = self.start.consent.devices
        words = [f"{body}{number}" for body in self.start.consent.rules.parties for number in (1, 2, 3)]
        self.words = {there[card(word)].seat: word for word in words if card(word) in there}


def entries(play: Play, state: State) -> Iterator[Entry]:
    """Everything that a device of the cast could post."""
    for word in play.cast:
        author = state.consent.devices[card(word)]
        if author.credential:
            for event in _events(play, state, author, word):
                if type(event) in play.kinds:
                    yield post_by(author, state.consent.time, event)


def post_by(author: Device, now: int, event: Act) -> Entry:
    """An entry of either kind with the author's next counter."""
    if isinstance(event, events.KINDS):
        return entry(1, now, author.credential, event, author.counter + 1)
    made: ConsentEvent = event  # type: ignore[assignment]
    return Entry(1, now, author.credential, made, author.counter + 1)


def uncounted(state: State) -> State:
    """The state with counters as at the start: they are not what is explored."""
    devices = {key: replace(d, counter=0) if d.counter else d for key, d in state.consent.devices.items()}
    return replace(state, consent=replace(state.consent, devices=devices))


def _events(play: Play, state: State, author: Device, word: str) -> Iterator[Act]:
    yield consent_events.Complained()
    paper = state.papers.get(PAPER)
    if paper is not None:
        yield from _on_paper(play, paper, state.consent.time)
    if state.case is not None:
        yield from _in_case(play, state.case, word)


def _on_paper(play: Play, paper: Paper, now: int) -> Iterator[Event]:
    current = paper.text.digest
    for text in play.texts:
        yield events.Revised(PAPER, current, text)
        yield events.Initialled(PAPER, text.digest)
    yield events.Retracted(PAPER)
    yield events.Opposed(PAPER)
    yield events.Relented(PAPER)
    for text in play.texts:
        yield events.Appointed(PAPER, text.digest, now, now + DAY, now + 2 * DAY)


def _in_case(play: Play, case: Case, word: str) -> Iterator[Event]:
    new = [nonce(len(case.spent))] if len(case.spent) < play.rounds else []
    for used in [*new, *sorted(case.spent)]:
        for line in (*range(case.text.signatories), None):
            yield events.First(used, line, b"u " + word.encode() + used)
        yield events.Second(used, b"Y " + word.encode())
        yield events.Third(used, b"s " + word.encode())
        yield events.Completed(used)
        for answer in Answer:
            yield events.Told(used, answer)


def moments(case: Case | None) -> list[int]:
    """The times at which something about a case changes."""
    return [] if case is None else [case.sign_by, case.deposit_by, case.not_before, case.ends]


def passes(state: State) -> State | None:
    """The state when the next deadline of the case has passed, None without a case."""
    coming = [at for at in moments(state.case) if at > state.consent.time]
    return settle(replace(state, consent=replace(state.consent, time=coming[0]))) if coming else None


def key(play: Play, state: State) -> object:
    """What distinguishes states: equal keys mean equal futures up to the parties' names."""
    rules = state.consent.rules.parties
    bodies = sorted(rules)
    alike = [o for o in permutations(bodies) if all(rules[a] == rules[b] for a, b in zip(bodies, o, strict=True))]
    return min(_key(play, state, dict(zip(bodies, order, strict=True))) for order in alike)


def _key(play: Play, state: State, names: dict[str, str]) -> tuple[object, ...]:
    def seat(held: bytes) -> str:
        word = play.words[held]
        return names.get(word[0], word[0]) + word[1:]

    phases = sorted((seat(d.seat), d.phase.value) for d in state.consent.devices.values())
    paper = state.papers.get(PAPER)
    case = state.case
    table: tuple[object, ...] = ()
    if paper is not None:
        table = (
            paper.text.digest,
            tuple(sorted(map(seat, paper.initials))),
            tuple(sorted(map(seat, paper.opposed))),
        )
    live: tuple[object, ...] = ()
    if case is not None:
        signers = sorted(
            (
                seat(held),
                -1 if s.line is None else s.line,
                bool(s.second),
                bool(s.third),
                s.complete,
                s.answer or "",
            )
            for held, s in case.signers.items()
        )
        order = sorted(nonce(number) for number in range(len(case.spent)))
        now = sum(at <= state.consent.time for at in moments(case))
        begun = tuple(sorted((seat(held), count) for held, count in case.begun.items()))
        live = (case.text.digest, case.phase.value, order == sorted(case.spent), begun, now, tuple(signers))
    released = tuple(sorted((digest, mark.value) for digest, mark in state.released.items()))
    return (tuple(phases), table, live, released)


@dataclass(slots=True)
class Walked(Generic[T]):
    """What was found. `complete` is False when the walk ended at its limit."""

    found: list[T]
    steps: int
    complete: bool


def walk(
    start: T,
    following: Callable[[T], Iterator[tuple[object, T]]],
    key: Callable[[T], object],
    checks: Sequence[Callable[[T, Any, T], None]],
    limit: int,
) -> Walked[T]:
    """Everything that follows from `start`, breadth first, equal keys once. Each step passes every check (before,
    what happened, after), or that raises AssertionError.
    """
    seen, found, queue = {key(start)}, [start], deque([start])
    steps = 0
    while queue and len(found) < limit:
        before = queue.popleft()
        for what, after in following(before):
            steps += 1
            for check in checks:
                try:
                    check(before, what, after)
                except AssertionError as error:
                    error.add_note(f"after {what}")
                    raise
            mark = key(after)
            if mark not in seen:
                seen.add(mark)
                found.append(after)
                queue.append(after)
    return Walked(found, steps, not queue)


def explore(play: Play, checks: Sequence[Check], *, limit: int = 1_000_000) -> Walked[State]:
    """Every state of the log that the play can reach."""
    return walk(play.start, lambda state: successors(play, state), lambda state: key(play, state), checks, limit)


def successors(play: Play, state: State) -> Iterator[tuple[Entry | None, State]]:
    """The states one step further: after an entry that counts, or at the next deadline."""
    for made in entries(play, state):
        try:
            yield made, apply(state, made)
        except Void:
            continue
    later = passes(state)
    if later is not None:
        yield None, later


def frozen(state: State) -> bool:
    """Whether a signature may be at the desk."""
    return state.case is not None and state.case.phase is Phase.FROZEN
