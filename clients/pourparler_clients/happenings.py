"""What happens in a channel, as a person is told it: from the fold's states before and after an entry.

Nothing is decided here, and nothing is shown that the fold has not counted.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pourparler_policies.admission import Member
from pourparler_policies.fold import events
from pourparler_policies.fold.facts import Phase, State, Subject

from .store import Message


@dataclass(frozen=True, slots=True)
class Happening:
    """Something for the person.

    `kind` is said, shortened (by its author; `message` as it was), seated, attested, leaving, held, stranded, left,
    removed, closed, erased, amended, alarm, halted, warned, refused (an own act that does not count) or the name of an
    event about a `subject` on the table.
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


def of_act(seq: int, author: Member | None, act: events.Event, before: State, after: State) -> Iterator[Happening]:
    """What one event that counted says."""
    if isinstance(act, _ABOUT_SUBJECTS):
        kind = type(act).__name__.lower()
        if isinstance(act, events.Proposed):
            digest = next((key for key in after.open if key not in before.open), b"")
            yield Happening(kind, seq, member=author, subject=act.subject, digest=digest)
        else:
            held = before.open.get(act.digest)
            subject = held.subject if held is not None else None
            yield Happening(kind, seq, member=author, subject=subject, digest=act.digest)
    if after.erased > before.erased:
        yield Happening("erased", seq, member=author)


def of_states(
    seq: int, before: State, after: State, old: Mapping[bytes, Member], new: Mapping[bytes, Member]
) -> Iterator[Happening]:
    """Who came, who went, who stands otherwise than before. `old` and `new` are the rosters."""
    for credential, member in old.items():
        if credential not in new:
            yield Happening("left", seq, member=member)
    for credential, member in new.items():
        if credential not in old:
            yield Happening("seated", seq, member=member)
    by_card = {member.fingerprint: member for member in (*old.values(), *new.values())}
    for card, device in after.devices.items():
        earlier = before.devices.get(card)
        if earlier is not None and earlier.phase is not device.phase and device.phase in _PHASES:
            kind = _PHASES[device.phase]
            if kind != "held" or earlier.phase is not Phase.HOLDING:
                yield Happening(kind, seq, member=by_card.get(card))
    if after.rules.charter != before.rules.charter:
        yield Happening("amended", seq)
