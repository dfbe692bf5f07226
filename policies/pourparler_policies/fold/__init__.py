"""The fold of consent: who is in a channel, by whose leave (DESIGN 3, 4.3).

1. Validity depends on the log alone: the same entries give every member the same state, whatever its clock says.
2. What a table does not have is void, for a reason that every member can check.
3. A void event still uses up its counter: no copy of it counts later.
4. A state is replaced after every check has passed, or not at all.

`found` opens a channel, `step` judges one entry, `fold` many. `digest` is what members confirm to a newcomer.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pourparler_policies.charter.rules import POLICY_VERSION, Named, Rules
from pourparler_policies.errors import Misuse, Unknown, Void

from .acts import EVENTS, act
from .closing import check_counts, settle
from .commits import CREDENTIAL_BYTES, commit
from .encoding import digest, subject_digest
from .events import Commit, Entry
from .facts import Admit, Device, Phase, Seat, State
from .standing import by_credential, dormant, waits_for

__all__ = [
    "Entry",
    "Outcome",
    "State",
    "apply",
    "digest",
    "dormant",
    "fold",
    "found",
    "step",
    "subject_digest",
    "waits_for",
]

_MAX_COUNTER = 2**53 - 1  # what JSON numbers carry exactly


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state after an entry. `void` says in a few words why the entry counts for nothing, empty when it
    counts.
    """

    state: State
    void: str = ""


def found(rules: Rules, opener: Named, credential: bytes, received_at: int) -> State:
    """The state in which a channel opens: one device, of a card that the charter names. Raises Misuse."""
    if rules.version != POLICY_VERSION:
        raise Misuse("the charter asks for rules that this version of Pourparler does not know")
    if opener not in rules.founding or len(credential) != CREDENTIAL_BYTES:
        raise Misuse("a channel is opened by a device whose card the charter names")
    seat = subject_digest(rules, Admit(opener.body, opener.role, opener.card))
    device = Device(opener.card, seat, Phase.PRESENT, credential)
    return State(
        rules,
        seats={seat: Seat(seat, opener.body, opener.role, arrived=True)},
        devices={opener.card: device},
        spent=frozenset({opener.card}),
        time=received_at,
    )


def apply(state: State, entry: Entry) -> State:
    """The state after one entry. Raises Void when it counts for nothing, Unknown for an event of another
    version.
    """
    if not isinstance(entry.content, Commit) and type(entry.content) not in EVENTS:
        raise Unknown("an event of a kind that this version of Pourparler does not know")
    if state.closed:
        raise Void("the channel is closed")
    author = by_credential(state, entry.author)
    if author is None:
        raise Void("nobody in the group wrote this")
    # Times that run backwards raise an alarm elsewhere; here they never make anything older than it was.
    entry = replace(entry, received_at=max(state.time, entry.received_at))
    return settle(_judge(replace(state, time=entry.received_at), author, entry))


def _judge(state: State, author: Device, entry: Entry) -> State:
    check_counts(state, entry.content)
    if isinstance(entry.content, Commit):
        return commit(state, author, entry, entry.content)
    if not author.counter < entry.counter <= _MAX_COUNTER:
        raise Void("the author's counter does not rise: this was said before")
    author = replace(author, counter=entry.counter)
    return act(replace(state, devices={**state.devices, author.card: author}), author, entry)


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


def _used_up(state: State, entry: Entry) -> State:
    author = by_credential(state, entry.author)
    if state.closed or author is None:
        return state
    state = settle(replace(state, time=max(state.time, entry.received_at)))
    if state.closed or isinstance(entry.content, Commit) or not author.counter < entry.counter <= _MAX_COUNTER:
        return state
    return replace(state, devices={**state.devices, author.card: replace(author, counter=entry.counter)})
