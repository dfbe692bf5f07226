"""A channel's log for tests: it writes entries as the devices of a cast would, and folds them with the real code.

`History` keeps the entries, so that any test can fold them again, in parts, renamed, or with something put
between.
A card is named by a short word; `card("a1")` is its fingerprint. `post` and `commit` raise Void as the fold does;
nothing is written to the history then, except through `attempt`.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final

from pourparler_policies.charter.rules import Named, Role, Rules

from . import apply, found, step, subject_digest
from .events import (
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
)
from .facts import Admit, Close, Device, State, Subject
from .standing import able

DAY: Final = 24 * 60 * 60  # seconds
START: Final = 1_800_000_000  # Unix seconds
NOTICE: Final = 3 * DAY
ABSENCE: Final = 30 * DAY


def card(word: str) -> bytes:
    """A fingerprint, 32 bytes."""
    return hashlib.sha256(b"card " + word.encode()).digest()


def leaf(word: str, generation: int = 0) -> bytes:
    """A credential, 16 bytes, another for each generation."""
    return hashlib.sha256(b"leaf " + word.encode() + bytes([generation])).digest()[:16]


def rules(
    parties: dict[str, int],
    founding: dict[str, tuple[str, Role]],
    *,
    intermediaries: tuple[str, ...] = (),
    seats: int = 2,
    devices: int = 2,
    recall: bool = True,
    charter: bytes = b"c" * 32,
) -> Rules:
    """Rules with `founding` as word -> (body, role)."""
    return Rules(
        charter=charter,
        parties=parties,
        intermediaries=frozenset(intermediaries),
        founding=frozenset(Named(body, role, card(word)) for word, (body, role) in founding.items()),
        seats=seats,
        intermediary_seats=1,
        devices=devices,
        absence=ABSENCE,
        notice=NOTICE,
        longest_recess=180 * DAY,
        recall=recall,
    )


@dataclass(slots=True)
class History:
    """A log from its opening on. `now` is the service's time; `words` remembers each card's generation."""

    rules: Rules
    opener: str
    now: int = START
    entries: list[Entry] = field(default_factory=list)
    start: State = field(init=False)
    state: State = field(init=False)
    generations: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named = next(n for n in self.rules.founding if n.card == card(self.opener))
        self.start = self.state = found(self.rules, named, leaf(self.opener), self.now)

    def device(self, word: str) -> Device:
        """The card's device as it stands."""
        return self.state.devices[card(word)]

    def seat(self, word: str) -> bytes:
        """The id of the card's seat."""
        return self.device(word).seat

    def digest(self, subject: Subject) -> bytes:
        """The digest by which a subject is approved."""
        return subject_digest(self.state.rules, subject)

    def write(self, entry: Entry) -> None:
        """Folds an entry that has to count. Raises Void."""
        self.state = apply(self.state, entry)
        self.entries.append(entry)

    def attempt(self, entry: Entry) -> str:
        """Folds any entry, void ones too, and says why it was void."""
        outcome = step(self.state, entry)
        self.state = outcome.state
        self.entries.append(entry)
        return outcome.void

    def event(self, word: str, event: Event) -> Entry:
        """An entry by this device, with the next counter."""
        device = self.device(word)
        return Entry(len(self.entries) + 1, self.now, device.credential, event, device.counter + 1)

    def post(self, word: str, *events: Event) -> None:
        """This device posts events that have to count."""
        for event in events:
            self.write(self.event(word, event))

    def handshake(self, word: str, commit: Commit) -> Entry:
        """An entry with a commit by this device."""
        return Entry(len(self.entries) + 1, self.now, self.device(word).credential, commit)

    def commit(self, word: str, commit: Commit) -> None:
        """This device commits what has to count."""
        self.write(self.handshake(word, commit))

    def adding(self, word: str, ground: Ground, digest: bytes = b"", removed: tuple[bytes, ...] = ()) -> Commit:
        """A commit that seats a card under a credential of its own."""
        self.generations[word] = self.generations.get(word, -1) + 1
        added = Added(leaf(word, self.generations[word]), card(word), ground, digest)
        return Commit(("add", "remove") if removed else ("add",), (added,), removed)

    def removing(self, word: str) -> Commit:
        """A commit that removes a card's leaf."""
        return Commit(("remove",), (), (self.device(word).credential,))

    def updating(self, word: str) -> Commit:
        """A commit that renews the author's own leaf."""
        return Commit(updated=(self.device(word).credential,))

    def meet(self, newcomer: str, *others: str) -> None:
        """Mutual attestation, others first."""
        for other in others:
            self.post(other, Attested(self.device(newcomer).credential))
            self.post(newcomer, Attested(self.device(other).credential))

    def agree(self, subject: Subject, *approving: str) -> bytes:
        """Puts a subject on the table; these devices approve it. Returns its digest."""
        digest = self.digest(subject)
        self.post(approving[0], Proposed(subject))
        for word in approving:
            self.post(word, Approved(digest))
        return digest

    def enact(self, subject: Subject, *approving: str) -> None:
        """A subject is approved and takes effect."""
        self.post(approving[0], Enacted(self.agree(subject, *approving)))

    def end(self, *words: str) -> None:
        """Everybody who is here agrees to end the channel, acknowledges that, and discloses keys: it is closed."""
        self.enact(Close(), *words)
        for word in words:
            self.post(word, Acknowledged())
        for word in words:
            self.post(word, Disclosed((bytes(32),)))

    def seat_founder(self, word: str, *present: str) -> None:
        """A card that the charter names is seated with the approval of those present, and attested by them."""
        named = next(n for n in self.state.rules.founding if n.card == card(word))
        subject = Admit(named.body, named.role, named.card)
        voting = [w for w in present if self.state.seats[self.seat(w)].body in self.state.rules.parties]
        digest = self.digest(subject)
        self.post(present[0], Proposed(subject))
        for voter in voting:
            self.post(voter, Approved(digest))
        approved_by_all = self.state.founded and able(self.state, named.body)
        ground = Ground.ADMISSION if approved_by_all else Ground.FOUNDING
        self.commit(present[0], self.adding(word, ground, digest))
        self.meet(word, *present)


def founded(parties: int = 2, *, delegates: int = 1, intermediary: bool = False, rule: int = 1) -> History:
    """A founded channel: parties "a", "b", ... with devices a1, a2, ...; the intermediary "m" with m1 opens it."""
    bodies = "abcdefgh"[:parties]
    cast = {
        f"{body}{number}": (body, Role.HEAD if rule == 0 and number == 1 else Role.DELEGATE)
        for body in bodies
        for number in range(1, delegates + 1)
    }
    if intermediary:
        cast["m1"] = ("m", Role.INTERMEDIARY)
    made = rules(
        dict.fromkeys(bodies, rule), cast, intermediaries=("m",) if intermediary else (), seats=delegates + 1
    )
    history = History(made, "m1" if intermediary else "a1")
    present = [history.opener]
    for number in range(1, delegates + 1):
        for body in bodies:
            word = f"{body}{number}"
            if word not in present:
                history.seat_founder(word, *present)
                present.append(word)
    return history
