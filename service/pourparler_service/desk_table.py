"""A case at the desk as a table: what moves it, what it keeps, what it says. Pure; the service holds the values.

1. Nothing is shown, and no count, until every mask is there; then every mask at once.
2. A withdrawal erases every mask at once and shows as nothing: the case lapses at its deadline like any other.
3. One answer for all, a final one for ever. What `KEEPS` does not name is deleted before the answer is told.
4. Deposits are idempotent. One that comes late changes nothing, and its sender reads the answer.

Parties are numbered from 1, times are whole Unix seconds by the service's clock. DESIGN 6.2, 6.3; finding 29 of the
protocol review.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from pourparler_crypto.jr2 import Terms
from pourparler_policies.wire import CaseAnswer


class Phase(StrEnum):
    """Where a case stands at the desk."""

    OPEN = "open"
    SPOILT = "spoilt"  # somebody withdrew: nothing is kept, and nothing of it shows
    COMPLETE = "complete"  # every mask is shown
    FULL = "full"  # every share is there, none is shown
    PUBLISHED = "published"
    LAPSED = "lapsed"
    STOPPED = "stopped"


class Deed(StrEnum):
    """What moves a case."""

    LAST_MASK = "the last d"
    WITHDRAWAL = "a withdrawal, under its d"
    LAST_SHARE = "the last y and rho"
    STOP = "a stop, under its y, while the charter allows it"
    SIGN_BY = "the sign deadline"
    DEPOSIT_BY = "the deposit deadline"
    HOUR = "the not-before time"


TABLE: Final[Mapping[Phase, Mapping[Deed, Phase]]] = {
    Phase.OPEN: {Deed.LAST_MASK: Phase.COMPLETE, Deed.WITHDRAWAL: Phase.SPOILT, Deed.SIGN_BY: Phase.LAPSED},
    Phase.SPOILT: {Deed.SIGN_BY: Phase.LAPSED},
    Phase.COMPLETE: {Deed.LAST_SHARE: Phase.FULL, Deed.STOP: Phase.STOPPED, Deed.DEPOSIT_BY: Phase.LAPSED},
    Phase.FULL: {Deed.HOUR: Phase.PUBLISHED, Deed.STOP: Phase.STOPPED},
    Phase.PUBLISHED: {},
    Phase.LAPSED: {},
    Phase.STOPPED: {},
}
FINAL: Final = frozenset(phase for phase, steps in TABLE.items() if not steps)


class Kept(StrEnum):
    """What the desk keeps of a case besides its lists and its answer."""

    MASKS = "every d that came"
    SHARES = "every y and rho that came"
    BUNDLE = "the sealed bundle"
    NOTE = "the note, on the board; and d and y, which everybody can compute from it and R3"


_ALL: Final = frozenset({Kept.MASKS, Kept.SHARES, Kept.BUNDLE})
KEEPS: Final[Mapping[Phase, frozenset[Kept]]] = {
    Phase.OPEN: frozenset({Kept.MASKS, Kept.BUNDLE}),
    Phase.SPOILT: frozenset(),
    Phase.COMPLETE: _ALL,
    Phase.FULL: _ALL,
    Phase.PUBLISHED: frozenset({Kept.NOTE}),
    Phase.LAPSED: frozenset(),
    Phase.STOPPED: frozenset(),
}
ANSWERS: Final[Mapping[Phase, CaseAnswer]] = {
    Phase.OPEN: CaseAnswer.OPEN,
    Phase.SPOILT: CaseAnswer.OPEN,
    Phase.COMPLETE: CaseAnswer.COMPLETE,
    Phase.FULL: CaseAnswer.COMPLETE,
    Phase.PUBLISHED: CaseAnswer.PUBLISHED,
    Phase.LAPSED: CaseAnswer.LAPSED,
    Phase.STOPPED: CaseAnswer.STOPPED,
}
_DEADLINES: Final[Mapping[Phase, Deed]] = {
    Phase.OPEN: Deed.SIGN_BY,
    Phase.SPOILT: Deed.SIGN_BY,
    Phase.COMPLETE: Deed.DEPOSIT_BY,
    Phase.FULL: Deed.HOUR,
}


@dataclass(frozen=True, slots=True)
class Held:
    """A living or ended case: who has deposited what, and nothing of the values."""

    parties: int
    terms: Terms
    phase: Phase = Phase.OPEN
    masks: frozenset[int] = frozenset()
    shares: frozenset[int] = frozenset()

    @property
    def answer(self) -> CaseAnswer:
        """What everybody who asks is told; nothing that is told depends on anything else that the desk knows."""
        return ANSWERS[self.phase]

    @property
    def due_at(self) -> int | None:
        """When time alone moves the case, Unix seconds; None when it is final."""
        deed = _DEADLINES.get(self.phase)
        times = {
            Deed.SIGN_BY: self.terms.sign_by,
            Deed.DEPOSIT_BY: self.terms.deposit_by,
            Deed.HOUR: self.terms.not_before,
        }
        return times.get(deed) if deed else None


def tick(held: Held, now: int) -> Held:
    """The case at a time. To be called before anything else is done with it, and before it is shown."""
    while held.due_at is not None and now >= held.due_at:
        held = move(held, _DEADLINES[held.phase])
    return held


def sign(held: Held, party: int, now: int) -> Held:
    """A mask came, and fits its D."""
    held = tick(held, now)
    if held.phase is not Phase.OPEN:
        return held
    held = replace(held, masks=held.masks | {party})
    return move(held, Deed.LAST_MASK) if len(held.masks) == held.parties else held


def withdraw(held: Held, now: int) -> Held:
    """A withdrawal came, under a mask that fits. Once the case is complete it comes too late."""
    held = tick(held, now)
    return move(held, Deed.WITHDRAWAL) if held.phase is Phase.OPEN else held


def deposit(held: Held, party: int, now: int) -> Held:
    """A share came, and fits its Y and SHA512(rho)."""
    held = tick(held, now)
    if held.phase is not Phase.COMPLETE:
        return held
    held = replace(held, shares=held.shares | {party})
    return move(held, Deed.LAST_SHARE) if len(held.shares) == held.parties else held


def stop(held: Held, now: int) -> Held:
    """A stop came, under a y that fits."""
    held = tick(held, now)
    if held.phase not in {Phase.COMPLETE, Phase.FULL} or not held.terms.may_stop(now):
        return held
    return move(held, Deed.STOP)


def move(held: Held, deed: Deed) -> Held:
    """One step of the table, and what it deletes."""
    phase = TABLE[held.phase][deed]
    kept = KEEPS[phase]
    return replace(
        held,
        phase=phase,
        masks=held.masks if Kept.MASKS in kept else frozenset(),
        shares=held.shares if Kept.SHARES in kept else frozenset(),
    )
