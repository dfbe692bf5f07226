"""What happens in a channel, as a person is told it: from the fold's states before and after an entry.

Nothing is decided here, and nothing is shown that the fold has not counted.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pourparler_policies import release
from pourparler_policies.admission import Member
from pourparler_policies.fold import events, standing
from pourparler_policies.fold.facts import Phase, State, Subject
from pourparler_policies.ideas import events as idea_events
from pourparler_policies.release import events as release_events
from pourparler_policies.release.decoding import Act
from pourparler_policies.release.facts import Phase as CasePhase

from .messages import Message


@dataclass(frozen=True, slots=True)
class Happening:
    """Something for the person.

    `kind` is said (a message or a file), shuttle (a word on a carried message), shortened (by its author; `message`
    as it was), seated, attested, back, leaving, held, stranded, left, removed, closing, closed, erased, amended,
    alarm, halted, drafted, revised, shelved, initialled, retracted, opposed, relented, appointed, arranged, unfit (a
    relayed round, `text` says why), text (its words are here), remarked, frozen, lapsed, released, release (this
    device's part in one), desk (it refuses a case), sounded, recalled, sounding (this device's part in one), counted
    (a sounding's result; `text` is the package's number, from 1), tally (the service refuses one), unsound (what came
    in the name of `text` does not fit), called (a round of ideas), failed (somebody's device gives it up), ideas,
    marks (one has opened here), broken (one has not), warned, refused (an own act that does not count) or the name of
    an event about a `subject` on the table.
    `member` is whom it concerns, or who did it; `digest` names the subject (32 bytes).
    """

    kind: str
    seq: int = 0
    message: Message | None = None
    member: Member | None = None
    text: str = ""
    subject: Subject | None = None
    digest: bytes = b""


_PHASES: Final[Mapping[Phase, str]] = {
    Phase.PRESENT: "attested",
    Phase.LEAVING: "leaving",
    Phase.HOLDING: "held",
    Phase.HELD: "held",
    Phase.STRANDED: "stranded",
}
_ABOUT_SUBJECTS: Final = (
    events.Proposed,
    events.Dropped,
    events.Approved,
    events.Withdrawn,
    events.Objected,
    events.Yielded,
    events.Enacted,
)


def of_act(
    seq: int, author: Member | None, act: Act, folded: release.State, later: release.State
) -> Iterator[Happening]:
    """What one event that counted says."""
    if isinstance(act, release_events.KINDS):
        yield from _of_release(seq, author, act, folded, later)
    if isinstance(act, idea_events.Called):
        yield Happening("called", seq, member=author, digest=act.id)
    if isinstance(act, idea_events.Failed):
        yield Happening("failed", seq, member=author, digest=act.id)
    before, after = folded.consent, later.consent
    if isinstance(act, _ABOUT_SUBJECTS):
        kind = type(act).__name__.lower()
        if isinstance(act, events.Proposed):
            digest = next((key for key in after.open if key not in before.open), b"")
            yield Happening(kind, seq, member=author, subject=act.subject, digest=digest)
        else:
            held = before.open.get(act.digest)
            subject = held.subject if held is not None else None
            yield Happening(kind, seq, member=author, subject=subject, digest=act.digest)
    if after.closing and not before.closing:
        yield Happening("closing", seq, member=author)
    elif after.erased > before.erased:
        yield Happening("erased", seq, member=author)


_TOLD: Final = frozenset(
    {"drafted", "revised", "shelved", "initialled", "retracted", "opposed", "relented", "appointed"}
)


def _of_release(
    seq: int, author: Member | None, act: Act, before: release.State, after: release.State
) -> Iterator[Happening]:
    """Words of people are told; the rounds of their devices are not, but for where the case stands."""
    kind = type(act).__name__.lower()
    if kind in _TOLD:
        yield Happening(kind, seq, member=author, digest=getattr(act, "paper", b""))
    phases = [state.case.phase if state.case is not None else None for state in (before, after)]
    if phases[0] is not phases[1] and phases[1] is CasePhase.FROZEN:
        yield Happening("frozen", seq)
    if before.case is not None and after.case is None:
        released = after.released.get(before.case.text.digest)
        yield Happening("released" if released else "lapsed", seq, digest=before.case.paper)


def of_states(
    seq: int, before: State, after: State, old: Mapping[bytes, Member], new: Mapping[bytes, Member], own: bytes
) -> Iterator[Happening]:
    """Who came, who went, who stands otherwise than before. `old` and `new` are the rosters, `own` the own card.

    Who has come back and is attested by others only is *back*; it is *attested* when the own side has done so too.
    """
    body = standing.body_of(after, after.devices[own]) if own in after.devices else ""
    here = own in before.devices and before.devices[own].phase is Phase.PRESENT
    for credential, member in old.items():
        if credential not in new:
            yield Happening("left", seq, member=member)
    for credential, member in new.items():
        if credential not in old:
            yield Happening("seated", seq, member=member)
    by_card = {member.fingerprint: member for member in (*old.values(), *new.values())}
    for card, device in after.devices.items():
        earlier = before.devices.get(card)
        if earlier is None:
            continue
        if earlier.phase is not device.phase and device.phase in _PHASES:
            kind = _PHASES[device.phase]
            met = body in device.by | {standing.body_of(after, device)}
            if earlier.phase is Phase.RETURNING and kind == "attested" and not met:
                kind = "back"
            if kind != "held" or earlier.phase is not Phase.HOLDING:
                yield Happening(kind, seq, member=by_card.get(card))
        elif here and earlier.phase is device.phase is Phase.PRESENT and body in device.by - earlier.by:
            yield Happening("attested", seq, member=by_card.get(card))
    if after.rules.charter != before.rules.charter:
        yield Happening("amended", seq)
