"""The rules as tables. What a table does not have is void.

`PHASES` is the life of a device, `PROPOSALS` which MLS proposal is valid when, `GROUNDS` and `REMOVALS` the
same for who enters and who goes, `CONSENT` whose approvals a subject needs. The code asks these tables;
`docs/consent.md` is made from them (`documents.py`).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from pourparler_policies.errors import Void

from .events import Ground
from .facts import Adjourn, Admit, Amend, Close, Erase, Expel, Lift, Phase, Recall, Recess, Replace


class Trigger(StrEnum):
    """What moves a device from phase to phase."""

    ADDED = "added"
    ATTESTED = "attested"
    REMOVED = "removed"
    STRANDED = "stranded"
    HELD = "put on hold"
    LIFTED = "taken off hold"
    ENDED = "ended"


GONE: Final = None

PHASES: Final[Mapping[Phase, Mapping[Trigger, Phase | None]]] = {
    Phase.EXPECTED: {Trigger.ADDED: Phase.LOBBY, Trigger.HELD: GONE, Trigger.ENDED: GONE},
    Phase.LOBBY: {
        Trigger.ATTESTED: Phase.PRESENT,
        Trigger.REMOVED: Phase.EXPECTED,
        Trigger.HELD: Phase.LEAVING,
        Trigger.ENDED: Phase.LEAVING,
    },
    Phase.PRESENT: {
        Trigger.REMOVED: Phase.AWAY,
        Trigger.STRANDED: Phase.STRANDED,
        Trigger.HELD: Phase.HOLDING,
        Trigger.ENDED: Phase.LEAVING,
    },
    Phase.AWAY: {Trigger.ADDED: Phase.RETURNING, Trigger.HELD: Phase.HELD, Trigger.ENDED: GONE},
    Phase.RETURNING: {
        Trigger.ATTESTED: Phase.PRESENT,
        Trigger.REMOVED: Phase.AWAY,
        Trigger.HELD: Phase.HOLDING,
        Trigger.ENDED: Phase.LEAVING,
    },
    Phase.STRANDED: {
        Trigger.REMOVED: Phase.AWAY,
        Trigger.HELD: Phase.HOLDING,
        Trigger.ENDED: Phase.LEAVING,
    },
    Phase.HOLDING: {Trigger.REMOVED: Phase.HELD, Trigger.ENDED: Phase.LEAVING},
    Phase.HELD: {Trigger.LIFTED: Phase.AWAY, Trigger.ENDED: GONE},
    Phase.LEAVING: {Trigger.REMOVED: GONE},
}


def move(phase: Phase, trigger: Trigger) -> Phase | None:
    """The phase after a trigger, None for gone. Raises Void when the table has no such step."""
    steps = PHASES[phase]
    if trigger not in steps:
        raise Void(f"a device that is {phase} cannot be {trigger}")
    return steps[trigger]


class Author(StrEnum):
    """What a committer has to be."""

    MEMBER = "any device in the group that is neither leaving nor on hold"  # attestation alone
    PRESENT = "any attested device"
    STANDING = "any device attested by every party that is present"
    SAME_SEAT = "an attested device of the same seat"


class Removal(StrEnum):
    """Why a leaf may be removed, by the phase of its device."""

    LEFT = "it leaves, or its seat has ended"
    HELD = "its own side, or the person, put it on hold"
    UNATTESTED = "it is not attested: anybody may, at any time; the approval stays usable"
    STRANDED = "it has complained; it comes back without approvals"
    ABSENT = "every other party that is present has voted it absent, and the notice has passed"


REMOVALS: Final[Mapping[Phase, tuple[Removal, Author]]] = {
    Phase.LEAVING: (Removal.LEFT, Author.PRESENT),
    Phase.HOLDING: (Removal.HELD, Author.PRESENT),
    Phase.LOBBY: (Removal.UNATTESTED, Author.STANDING),
    Phase.RETURNING: (Removal.UNATTESTED, Author.STANDING),
    Phase.STRANDED: (Removal.STRANDED, Author.STANDING),
    Phase.PRESENT: (Removal.ABSENT, Author.PRESENT),
}

GROUNDS: Final[Mapping[Ground, tuple[str, Author]]] = {
    Ground.FOUNDING: (
        "until every party has had an attested device, and later for a party that cannot act: a card that "
        "the charter"
        " names and that has never been seated; every party with somebody present approves",
        Author.STANDING,
    ),
    Ground.ADMISSION: ("every party approves; no party is dormant", Author.STANDING),
    Ground.SECOND: ("the seat has room for another device", Author.SAME_SEAT),
    Ground.REPLACEMENT: (
        "the own party approves by its decision rule, and another party or an intermediary vouches",
        Author.STANDING,
    ),
    Ground.RETURN: ("the card is expected, away or stranded; nobody need approve", Author.STANDING),
}

# RFC 9420, 12.1. A proposal type that is not here is void, whoever approved it.
PROPOSALS: Final[Mapping[str, tuple[str, Author]]] = {
    "add": ("one device, explained by its ground (below)", Author.PRESENT),
    "remove": ("every device removed has a reason (below)", Author.PRESENT),
    "update": ("the credential stays", Author.PRESENT),
    "group_context_extensions": (
        "the new charter's hash, and nothing else; every party approved that charter; no party is dormant",
        Author.STANDING,
    ),
}


class Consent(StrEnum):
    """Whose approvals a subject needs."""

    EVERY = "every party of the charter; no party is dormant; nobody objects"
    SEATED = "every party with somebody present; one that cannot act, by all of its deciders that are left"
    OWN = "the body itself, by its decision rule"
    OWN_LEFT = "the body itself; if nobody of it is present, another party or an intermediary"
    OWN_AND_ONE = "the body itself, by its decision rule, and another party or an intermediary"


CONSENT: Final[Mapping[type, tuple[Consent, str]]] = {
    Admit: (Consent.EVERY, "its Add (FOUNDING: of every party with somebody present)"),
    Replace: (Consent.OWN_AND_ONE, "its Add"),
    Expel: (Consent.EVERY, "`enacted`"),
    Recall: (Consent.OWN, "`enacted`"),
    Lift: (Consent.OWN_LEFT, "`enacted`"),
    Recess: (Consent.EVERY, "`enacted`"),
    Erase: (Consent.EVERY, "`enacted`"),
    Adjourn: (Consent.EVERY, "`enacted`"),
    Amend: (Consent.EVERY, "its GroupContextExtensions"),
    Close: (Consent.SEATED, "`enacted`"),
}
