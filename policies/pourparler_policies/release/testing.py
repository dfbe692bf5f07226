"""A channel with papers for tests: founded by the fold's own kit, then written to as devices would.

`post` raises Void as the fold does; `attempt` keeps void entries too and says why they were. Round messages are
opaque here, as they are to the fold.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pourparler_policies.fold.events import Entry
from pourparler_policies.fold.events import Event as ConsentEvent
from pourparler_policies.fold.facts import Device
from pourparler_policies.fold.testing import DAY, History, card, founded

from . import apply, events, step
from .decoding import Act
from .events import entry
from .facts import Answer, Case, State, Text, text_digest
from .rules import ReleaseRules, Signatories

HOUR: Final = 60 * 60  # seconds
PAPER: Final = b"p" * 16

RULES: Final = ReleaseRules(
    signatories=Signatories.PARTIES,
    sign_within=2 * DAY,
    deposit_within=DAY,
    stop=True,
    stop_until=HOUR,
    papers=180 * DAY,
    absence=30 * DAY,
)


def revision(words: str, signatories: int, *, not_before: int = 0, corrects: bytes = b"") -> Text:
    """A revision with these words."""
    return Text(text_digest(b"s" * 32, words.encode()), signatories, not_before, corrects)


def nonce(number: int) -> bytes:
    """A round's nonce, 32 bytes."""
    return hashlib.sha256(b"nonce %d" % number).digest()


@dataclass(slots=True)
class Talks:
    """A log from a founded channel on. `now` is the service's time."""

    history: History
    state: State
    now: int
    log: list[Entry] = field(default_factory=list)

    def device(self, word: str) -> Device:
        """The card's device as it stands."""
        return self.state.consent.devices[card(word)]

    def seat(self, word: str) -> bytes:
        """The id of the card's seat."""
        return self.device(word).seat

    @property
    def case(self) -> Case:
        """The live case. Raises AssertionError when there is none."""
        assert self.state.case is not None  # noqa: S101 -- a kit for tests
        return self.state.case

    @property
    def text(self) -> Text:
        """The revision of `PAPER` that is on the table."""
        return self.state.papers[PAPER].text

    def event(self, word: str, event: Act) -> Entry:
        """An entry by this device, with the next counter."""
        device = self.device(word)
        if isinstance(event, events.KINDS):
            return entry(len(self.log) + 1, self.now, device.credential, event, device.counter + 1)
        made: ConsentEvent = event  # type: ignore[assignment]
        return Entry(len(self.log) + 1, self.now, device.credential, made, device.counter + 1)

    def write(self, made: Entry) -> None:
        """Folds an entry that has to count. Raises Void."""
        self.state = apply(self.state, made)
        self.log.append(made)

    def post(self, word: str, *posted: Act) -> None:
        """This device posts events that have to count."""
        for event in posted:
            self.write(self.event(word, event))

    def attempt(self, made: Entry) -> str:
        """Folds any entry, void ones too, and says why it was void."""
        outcome = step(self.state, made)
        self.state = outcome.state
        self.log.append(made)
        return outcome.void

    def draft(self, word: str = "a1", *, words: str = "We met.", not_before: int = 0) -> None:
        """This device puts `PAPER` on the table."""
        parties = len(self.state.consent.rules.parties)
        text = revision(words, parties, not_before=not_before)
        self.post(word, events.Drafted(PAPER, text, 90 * DAY))

    def initial(self, *words: str) -> None:
        """These devices initial the revision on the table."""
        for word in words:
            self.post(word, events.Initialled(PAPER, self.text.digest))

    def appointment(self, **changed: int) -> events.Appointed:
        """An appointment that opens now, for a day, then a day to complete."""
        made = events.Appointed(PAPER, self.text.digest, self.now, self.now + DAY, self.now + 2 * DAY)
        return replace(made, **changed)  # type: ignore[arg-type]

    def appoint(self, *words: str) -> None:
        """`words[0]` drafts, all of them initial, and an appointment is made."""
        if PAPER not in self.state.papers:
            self.draft(words[0])
        self.initial(*words)
        self.post(words[0], self.appointment())

    def commit(self, *words: str, number: int = 1) -> None:
        """R1 of these devices: a line each where persons sign, else one for each party and none for others of it."""
        persons = self.state.rules.signatories is Signatories.PERSONS
        for line, word in zip(range(len(words)) if persons else lines_of(words), words, strict=True):
            self.post(word, events.First(nonce(number), line, b"u " + word.encode()))

    def reveal(self, *words: str, number: int = 1) -> None:
        """R2 of these devices."""
        for word in words:
            self.post(word, events.Second(nonce(number), b"Y " + word.encode()))

    def prepare(self, *words: str, number: int = 1) -> None:
        """R3 of these devices."""
        for word in words:
            self.post(word, events.Third(nonce(number), b"s " + word.encode()))

    def freeze(self, *words: str) -> None:
        """From nothing to a frozen text, with these devices as signers."""
        self.appoint(*words)
        self.commit(*words)
        self.reveal(*words)
        self.prepare(*words)

    def completed(self, *words: str) -> None:
        """These devices have seen every d."""
        for word in words:
            self.post(word, events.Completed(self.case.nonce))

    def told(self, answer: Answer, *words: str) -> None:
        """These devices pass on the desk's answer."""
        for word in words:
            self.post(word, events.Told(self.case.nonce, answer))


def lines_of(words: Sequence[str]) -> list[int | None]:
    """Which line of the text each of these devices signs: the first of each party has its key, the others have none."""
    bodies = list(dict.fromkeys(word[0] for word in words))
    firsts = {next(word for word in words if word[0] == body) for body in bodies}
    return [bodies.index(word[0]) if word in firsts else None for word in words]


def between(words: Sequence[str], rules: ReleaseRules = RULES) -> Talks:
    """A founded channel of these devices' parties, of which each asks as many people as are named of it."""
    asked = Counter(word[0] for word in words)
    made = talks(len(asked), delegates=max(asked.values()), rule=1, rules=rules)
    consent = made.state.consent
    consent = replace(consent, rules=replace(consent.rules, parties=dict(asked)))
    made.state = replace(made.state, consent=consent)
    return made


def talks(
    parties: int = 2,
    *,
    delegates: int = 1,
    rule: int = 1,
    intermediary: bool = False,
    rules: ReleaseRules = RULES,
    history: History | None = None,
) -> Talks:
    """A founded channel (`fold.testing.founded`) in which nothing is on the table yet."""
    made = history or founded(parties, delegates=delegates, rule=rule, intermediary=intermediary)
    return Talks(made, State(made.state, rules), made.now)
