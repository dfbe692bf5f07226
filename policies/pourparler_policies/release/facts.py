"""The state of joint release in a channel, as plain frozen data, beside the state of consent.

1. Nothing here is known to one device alone, and nothing here is secret: what stands here follows from the log.
2. A text is named by a salted digest. The text and its salt travel as a paper and expire as one; what is left then
   says nothing about it.
3. A case that has ended leaves nothing: not its text, not who took part, not who did not. Only a release that its
   signers have seen published is remembered.

DESIGN 4.4, 6; finding 29 of the protocol review.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pourparler_policies import fold
from pourparler_policies.errors import Misuse
from pourparler_policies.ideas.facts import IdeaRules, Round
from pourparler_policies.limits import HOUR, KIB

from .rules import ReleaseRules

DIGEST_BYTES: Final = 32
PAPER_BYTES: Final = 16  # random, so guessing one is hopeless
NONCE_BYTES: Final = 32  # of a sid (JR2)
SALT_BYTES: Final = 32
MAX_MESSAGE: Final = 1 * KIB  # bytes of one R1, R2, R3 or lock: at most 96 are JR2's, the rest is framing
MAX_MASKS: Final = (
    10 * KIB
)  # bytes that open every mask: 32 a text of each signer, and framing; 8 copies, 32 signers
MAX_NOTE: Final = 64 * KIB  # bytes of one text in all its languages: fits the 256 KiB bucket
MAX_SIGNATORIES: Final = 32  # lines of signature under one text: a page
MAX_PAPERS: Final = 4  # papers that one body may have on the table: one side cannot bury it
MAX_RESTARTS: Final = 8  # rounds that one seat may begin in one appointment, so that it ends
GRACE: Final = 24 * HOUR  # seconds that what may yet complete a release is kept past its time (DESIGN 6.2)


class Phase(StrEnum):
    """Where a case stands in the log. `table.CASE` has the transitions; an ended case is in no phase."""

    APPOINTED = "appointed"  # no round has begun
    COMMITTING = "committing"  # R1: some signers have committed
    REVEALING = "revealing"  # R2: all have committed
    PREPARING = "preparing"  # R3: all have opened their commitments
    FROZEN = "frozen"  # all R3 are in: persons may sign, and only the desk's answer ends it


class Answer(StrEnum):
    """What the desk says of a case, the same to everybody; the last three are final."""

    OPEN = "open"
    COMPLETE = "complete"
    LAPSED = "lapsed"
    STOPPED = "stopped"
    PUBLISHED = "published"


class Mark(StrEnum):
    """What stands beside a published release. `table.BOARD` has the transitions."""

    PUBLISHED = "published"
    SUPERSEDED = "superseded"  # a later release corrects it
    WITHDRAWN = "withdrawn"  # a later release takes it back


@dataclass(frozen=True, slots=True)
class Text:
    """One revision: what its machine lines say, as its author claims, and the salted digest of its bytes.

    Members who lost the text cannot compare; so a false claim is not void. Each client compares before it shows,
    initials or commits to a text, and refuses one that says something else.
    """

    digest: bytes  # 32 bytes, `text_digest`
    signatories: int  # lines of signature
    not_before: int = 0  # Unix seconds; 0: as soon as it is complete
    corrects: bytes = b""  # digest of the release that this one follows
    withdraws: bool = False  # whether it takes that one back, rather than correct it


def text_digest(salt: bytes, text: bytes) -> bytes:
    """SHA-256 of a text's exact bytes under a salt of 32 random bytes: 32 bytes. Raises Misuse."""
    if len(salt) != SALT_BYTES:
        raise Misuse(f"a salt has {SALT_BYTES} bytes")
    return hashlib.sha256(b"pourparler text v1" + salt + text).digest()


@dataclass(frozen=True, slots=True)
class Paper:
    """A text with a life of its own. `initials`: seat -> False while home has yet to confirm."""

    id: bytes
    body: str  # who put it on the table
    text: Text
    expires: int  # received_at from which it is gone
    initials: Mapping[bytes, bool] = field(default_factory=dict)
    opposed: frozenset[bytes] = frozenset()  # seats; an objection outlives a revision


@dataclass(frozen=True, slots=True)
class Signer:
    """One seat's part in a round: opaque messages, checked by clients and never here.

    `line` is the text's line of signature whose key this device holds, None for a further mask of its party.
    """

    party: str
    line: int | None
    first: bytes
    second: bytes = b""
    third: bytes = b""
    complete: bool = False  # this device saw "complete"
    answer: Answer | None = None  # what the desk told it at last


@dataclass(frozen=True, slots=True)
class Case:
    """The one live case of the channel, from its appointment on. Times are Unix seconds."""

    paper: bytes
    text: Text
    charter: bytes  # hash of the one under which it was made
    opens: int
    sign_by: int
    deposit_by: int
    not_before: int
    stop_by: int  # 0: nobody may stop it
    phase: Phase = Phase.APPOINTED
    nonce: bytes = b""  # of the round that counts
    spent: frozenset[bytes] = frozenset()  # nonces of this appointment: one pre-signature a sid
    begun: Mapping[bytes, int] = field(default_factory=dict)  # seat -> rounds that it began
    signers: Mapping[bytes, Signer] = field(default_factory=dict)  # by seat

    @property
    def awaited(self) -> bool:
        """Whether somebody's y may be on its way, or at the desk: who saw every d, and heard of no other end since.

        A device that has not said so in the log has its y still (`device.owed`), and without it nothing is signed.
        """
        ended = {Answer.LAPSED, Answer.STOPPED}
        return any(signer.complete and signer.answer not in ended for signer in self.signers.values())

    @property
    def ends(self) -> int:
        """From when on the case is over, whatever the desk has said or not said."""
        return self.not_before + GRACE


@dataclass(frozen=True, slots=True)
class State:
    """Consent, release and ideas of one channel: all fold over the same log."""

    consent: fold.State
    rules: ReleaseRules
    papers: Mapping[bytes, Paper] = field(default_factory=dict)
    case: Case | None = None
    released: Mapping[bytes, Mark] = field(default_factory=dict)  # by the text's digest
    ideas: IdeaRules = field(default_factory=IdeaRules)
    round: Round | None = None  # of ideas without a name
