"""A case at the desk, which knows a number of signers, their D, Y and SHA512(rho) and no names (DESIGN 6.3).

1. Nothing is shown, and no count, until every mask is there; then every mask at once.
2. A withdrawal erases every mask at once, and shows as nothing: the case lapses at its deadline like any other.
3. One answer for all; a final one for ever. What `KEEPS` does not name is deleted in the transaction that answers.
4. Deposits are idempotent. One that comes late changes nothing, and its sender reads the answer.

The service holds the values and checks each against its list before it calls these functions; they hold only whose
is there. A signer is a number from 0; times are Unix seconds, by the service's clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from pourparler_policies.errors import Misuse

from .facts import Answer


class Desk(StrEnum):
    """Where a case stands at the desk."""

    OPEN = "open"
    SPOILT = "spoilt"  # somebody withdrew: nothing is kept, and nothing of it shows
    COMPLETE = "complete"  # every mask is shown
    FULL = "full"  # every lock is there, none is shown
    PUBLISHED = "published"
    LAPSED = "lapsed"
    STOPPED = "stopped"


class Deed(StrEnum):
    """What moves a case at the desk."""

    LAST_MASK = "the last d"
    WITHDRAWAL = "a withdrawal, under its d"
    LAST_LOCK = "the last y and rho"
    STOP = "a stop, under its y, while the charter allows it"
    SIGN_BY = "the sign deadline"
    DEPOSIT_BY = "the deposit deadline"
    HOUR = "the not-before time"


DESK: Final[Mapping[Desk, Mapping[Deed, Desk]]] = {
    Desk.OPEN: {Deed.LAST_MASK: Desk.COMPLETE, Deed.WITHDRAWAL: Desk.SPOILT, Deed.SIGN_BY: Desk.LAPSED},
    Desk.SPOILT: {Deed.SIGN_BY: Desk.LAPSED},
    Desk.COMPLETE: {Deed.LAST_LOCK: Desk.FULL, Deed.STOP: Desk.STOPPED, Deed.DEPOSIT_BY: Desk.LAPSED},
    Desk.FULL: {Deed.HOUR: Desk.PUBLISHED, Deed.STOP: Desk.STOPPED},
    Desk.PUBLISHED: {},
    Desk.LAPSED: {},
    Desk.STOPPED: {},
}


class Kept(StrEnum):
    """What the desk keeps of a case besides its handle and its answer."""

    MASKS = "every d that came"
    LOCKS = "every y and rho that came"
    BUNDLE = "the sealed bundle"
    NOTE = "the note, on the board"


KEEPS: Final[Mapping[Desk, frozenset[Kept]]] = {
    Desk.OPEN: frozenset({Kept.MASKS, Kept.BUNDLE}),
    Desk.SPOILT: frozenset(),
    Desk.COMPLETE: frozenset({Kept.MASKS, Kept.LOCKS, Kept.BUNDLE}),
    Desk.FULL: frozenset({Kept.MASKS, Kept.LOCKS, Kept.BUNDLE}),
    Desk.PUBLISHED: frozenset({Kept.NOTE}),
    Desk.LAPSED: frozenset(),
    Desk.STOPPED: frozenset(),
}

ANSWERS: Final[Mapping[Desk, Answer]] = {
    Desk.OPEN: Answer.OPEN,
    Desk.SPOILT: Answer.OPEN,
    Desk.COMPLETE: Answer.COMPLETE,
    Desk.FULL: Answer.COMPLETE,
    Desk.PUBLISHED: Answer.PUBLISHED,
    Desk.LAPSED: Answer.LAPSED,
    Desk.STOPPED: Answer.STOPPED,
}
_DEADLINES: Final[Mapping[Desk, tuple[Deed, str]]] = {
    Desk.OPEN: (Deed.SIGN_BY, "sign_by"),
    Desk.SPOILT: (Deed.SIGN_BY, "sign_by"),
    Desk.COMPLETE: (Deed.DEPOSIT_BY, "deposit_by"),
    Desk.FULL: (Deed.HOUR, "not_before"),
}


@dataclass(frozen=True, slots=True)
class Held:
    """A case at the desk. `stop_by` 0: nobody may stop it."""

    signers: int
    sign_by: int
    deposit_by: int
    not_before: int
    stop_by: int
    phase: Desk = Desk.OPEN
    masks: frozenset[int] = frozenset()
    locks: frozenset[int] = frozenset()

    @property
    def answer(self) -> Answer:
        """What everybody who asks is told: nothing else may depend on anything else that the desk knows."""
        return ANSWERS[self.phase]

    @property
    def keeps(self) -> frozenset[Kept]:
        """What is not deleted."""
        return KEEPS[self.phase]


def opened(signers: int, sign_by: int, deposit_by: int, not_before: int, stop_by: int, now: int) -> Held:
    """A new case. Raises Misuse when its deadlines are in no order, or over."""
    if signers < 1 or not now < sign_by < deposit_by <= not_before or not 0 <= stop_by <= not_before:
        raise Misuse("a case needs signers, and sign, deposit and publication times in this order, yet to come")
    return Held(signers, sign_by, deposit_by, not_before, stop_by)


def tick(held: Held, now: int) -> Held:
    """The case at a time. To be called before anything else is done with it, and before it is shown."""
    while held.phase in _DEADLINES:
        deed, deadline = _DEADLINES[held.phase]
        if now < getattr(held, deadline):
            break
        held = _move(held, deed)
    return held


def sign(held: Held, signer: int, now: int) -> Held:
    """A mask came, and fits its D."""
    held = _for(held, signer, now)
    if held.phase is not Desk.OPEN:
        return held
    held = replace(held, masks=held.masks | {signer})
    return _move(held, Deed.LAST_MASK) if len(held.masks) == held.signers else held


def withdraw(held: Held, signer: int, now: int) -> Held:
    """A withdrawal came, under the mask that fits the signer's D. Once complete it comes too late."""
    held = _for(held, signer, now)
    return _move(held, Deed.WITHDRAWAL) if held.phase is Desk.OPEN else held


def deposit(held: Held, signer: int, now: int) -> Held:
    """A lock came, and fits its Y and SHA512(rho)."""
    held = _for(held, signer, now)
    if held.phase is not Desk.COMPLETE:
        return held
    held = replace(held, locks=held.locks | {signer})
    return _move(held, Deed.LAST_LOCK) if len(held.locks) == held.signers else held


def stop(held: Held, signer: int, now: int) -> Held:
    """A stop came, under the y that fits the signer's Y."""
    held = _for(held, signer, now)
    return _move(held, Deed.STOP) if held.phase in {Desk.COMPLETE, Desk.FULL} and now < held.stop_by else held


def _for(held: Held, signer: int, now: int) -> Held:
    if not 0 <= signer < held.signers:
        raise Misuse("the case has no such signer")
    return tick(held, now)


def _move(held: Held, deed: Deed) -> Held:
    phase = DESK[held.phase][deed]
    kept = KEEPS[phase]
    return replace(
        held,
        phase=phase,
        masks=held.masks if Kept.MASKS in kept else frozenset(),
        locks=held.locks if Kept.LOCKS in kept else frozenset(),
    )
