"""The fold of joint release, over the same log as consent: published only when every party has signed (DESIGN 6).

1. Validity depends on the log alone; `received_at` of the log is the only time.
2. What a table does not have is void, for a reason that every member can check, with or without the text.
3. Until the last R3 is in, anybody who takes part can undo it by a word. From then on the text is frozen, and only
   the desk's answer, or a day after the hour, ends the case. One case at a time.
4. A case that ended leaves nothing that names who.

`opened` begins, `step` judges one entry of either kind, `fold` many. `digest` covers consent and release.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from pourparler_policies import fold as consent
from pourparler_policies.charter import Charter, decode
from pourparler_policies.errors import Misuse, Void
from pourparler_policies.fold.acts import check_author
from pourparler_policies.fold.encoding import encode
from pourparler_policies.fold.events import Commit, Entry
from pourparler_policies.fold.facts import Amend, Device
from pourparler_policies.fold.standing import by_credential
from pourparler_policies.ideas import acts as ideas
from pourparler_policies.ideas import idea_rules
from pourparler_policies.limits import MAX_SEQ

from .acts import EVENTS
from .changes import amended, settle
from .facts import State
from .rules import release_rules

__all__ = ["Outcome", "State", "apply", "digest", "fold", "opened", "step"]

_STATE: Final = b"pourparler release v1"
_BESIDE_CONSENT: Final = frozenset({*EVENTS, *ideas.EVENTS})


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state after an entry. `void` says in a few words why the entry counts for nothing, empty when it
    counts.
    """

    state: State
    void: str = ""


def opened(state: consent.State, charter: Charter) -> State:
    """The state of release when a channel opens, or when its charter is first known. Raises Misuse."""
    if charter.hash != state.rules.charter:
        raise Misuse("this is not the charter in force")
    return State(state, release_rules(charter), ideas=idea_rules(charter))


def apply(state: State, entry: Entry) -> State:
    """The state after one entry of consent, release or ideas. Raises Void when it counts for nothing, Unknown for an
    event of another version.
    """
    if type(entry.content) not in _BESIDE_CONSENT:
        return _consent(state, entry)
    entry, state, author = _admit(state, entry)
    if type(entry.content) in ideas.EVENTS:
        return replace(state, round=ideas.apply(state.round, state.ideas, state.consent, author, entry))
    wanted, rule = EVENTS[type(entry.content)]
    check_author(state.consent, author, wanted)
    return rule(state, author, entry.content, entry)


def step(state: State, entry: Entry) -> Outcome:
    """As `apply`, for a log: a void entry changes nothing but the time and its author's counter. Raises
    Unknown.
    """
    try:
        return Outcome(apply(state, entry))
    except Void as error:
        return Outcome(_used_up(state, entry), str(error))


def fold(state: State, entries: Iterable[Entry]) -> State:
    """The state after many entries, in the log's order. Raises Unknown: the reader halts, it never skips."""
    for entry in entries:
        state = step(state, entry).state
    return state


def digest(state: State) -> bytes:
    """SHA-256 of consent and release together, 32 bytes."""
    return hashlib.sha256(_STATE + encode(state)).digest()


def _consent(state: State, entry: Entry) -> State:
    before = state.consent
    state = replace(state, consent=consent.apply(before, entry))
    if state.consent.rules.charter != before.rules.charter:
        charter = _new_charter(before, state.consent.rules.charter)
        state = amended(replace(state, rules=release_rules(charter), ideas=idea_rules(charter)))
    return settle(state)


def _new_charter(before: consent.State, charter: bytes) -> Charter:
    held = [decode(o.subject.charter) for o in before.open.values() if isinstance(o.subject, Amend)]
    return next(one for one in held if one.hash == charter)


def _admit(state: State, entry: Entry) -> tuple[Entry, State, Device]:
    """What every event is asked before its own rule, as `fold.apply` asks it: author, time, counter."""
    if state.consent.closed:
        raise Void("the channel is closed")
    author = by_credential(state.consent, entry.author)
    if author is None:
        raise Void("nobody in the group wrote this")
    at = max(state.consent.time, entry.received_at)
    if not author.counter < entry.counter <= MAX_SEQ:
        raise Void("the author's counter does not rise: this was said before")
    author = replace(author, counter=entry.counter)
    devices = {**state.consent.devices, author.card: author}
    state = settle(replace(state, consent=replace(state.consent, time=at, devices=devices)))
    return replace(entry, received_at=at), state, author


def _used_up(state: State, entry: Entry) -> State:
    if isinstance(entry.content, Commit) or type(entry.content) not in _BESIDE_CONSENT:
        return settle(replace(state, consent=consent.step(state.consent, entry).state))
    try:
        _, state, _ = _admit(state, entry)
    except Void:
        if state.consent.closed or by_credential(state.consent, entry.author) is None:
            return state
        at = max(state.consent.time, entry.received_at)
        return settle(replace(state, consent=replace(state.consent, time=at)))
    return state
