"""What the channel holds for joint release: `KINDS` are folded, `BESIDE` travels beside them and expires.

They travel, count and are refused as the events of consent do: a counter that rises, an author in the group. What
only cryptography can judge makes no event void, since a member who lost the text could not check it: it makes a
device refuse to go on (`device.py`).

An event lives as long as the log's procedure. So no text is in one, and nothing that could be evidence when a
release came to nothing: those have entries of their own, which live as long as the paper, or until the case ends.
"""

from dataclasses import dataclass
from typing import Any, Final

from pourparler_policies.fold.events import Entry
from pourparler_policies.fold.events import Event as Consent
from pourparler_policies.ideas.events import Event as Ideas

from .facts import Answer, Text


@dataclass(frozen=True, slots=True)
class Drafted:
    """A paper is put on the table for `life` seconds. Its text and salt travel as a paper, not here."""

    paper: bytes
    text: Text
    life: int


@dataclass(frozen=True, slots=True)
class Revised:
    """Any edit: `text` takes the place of the revision `digest`, and every initial under that is void."""

    paper: bytes
    digest: bytes
    text: Text


@dataclass(frozen=True, slots=True)
class Commented:
    """The author comments on this revision; the words travel as a paper."""

    paper: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Shelved:
    """The body that put a paper on the table takes it off."""

    paper: bytes


@dataclass(frozen=True, slots=True)
class Initialled:
    """The author's seat agrees to the wording of this revision; `confirm` says that home has yet to confirm."""

    paper: bytes
    digest: bytes
    confirm: bool = False


@dataclass(frozen=True, slots=True)
class Retracted:
    """The author's seat takes its initial back."""

    paper: bytes


@dataclass(frozen=True, slots=True)
class Opposed:
    """The author's seat blocks a paper's release, in every revision, until it relents."""

    paper: bytes


@dataclass(frozen=True, slots=True)
class Relented:
    """The author's seat takes its objection back."""

    paper: bytes


@dataclass(frozen=True, slots=True)
class Appointed:
    """A signing appointment for an initialled revision. Another one before the text is frozen takes its place.

    It opens at `opens`, or at its place in the log if that is later.
    """

    paper: bytes
    digest: bytes
    opens: int
    sign_by: int
    deposit_by: int


@dataclass(frozen=True, slots=True)
class First:
    """R1 of the author's seat. Under another nonce it begins the round anew, and the old sid is void."""

    nonce: bytes
    line: int | None
    message: bytes


@dataclass(frozen=True, slots=True)
class Second:
    """R2 of the author's seat."""

    nonce: bytes
    message: bytes


@dataclass(frozen=True, slots=True)
class Third:
    """R3 of the author's seat. The last one freezes the text."""

    nonce: bytes
    message: bytes


@dataclass(frozen=True, slots=True)
class Completed:
    """The author's device saw "complete" and has passed every d on; what it was told before counts no more."""

    nonce: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """The desk's final answer to the author's device. Once every signer was told the same, the case is over."""

    nonce: bytes
    answer: Answer


Event = (
    Drafted
    | Revised
    | Commented
    | Shelved
    | Initialled
    | Retracted
    | Opposed
    | Relented
    | Appointed
    | First
    | Second
    | Third
    | Completed
    | Told
)
KINDS: Final[tuple[type, ...]] = (
    Drafted,
    Revised,
    Commented,
    Shelved,
    Initialled,
    Retracted,
    Opposed,
    Relented,
    Appointed,
    First,
    Second,
    Third,
    Completed,
    Told,
)


@dataclass(frozen=True, slots=True)
class Words:
    """The exact bytes of a revision, and the salt (32 bytes) of its digest. Lives as long as the paper."""

    paper: bytes
    salt: bytes
    text: bytes  # at most MAX_NOTE bytes


@dataclass(frozen=True, slots=True)
class Remark:
    """The words of a comment on a revision. Lives as long as the paper, or shorter."""

    paper: bytes
    digest: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Masks:
    """Every d, from a device that saw "complete". Lives until the case ends."""

    nonce: bytes
    masks: bytes  # at most MAX_MASKS bytes


@dataclass(frozen=True, slots=True)
class Lock:
    """The author's y and rho: the hour has come and the desk is silent. Lives until the case ends."""

    nonce: bytes
    lock: bytes  # at most MAX_MESSAGE bytes


BESIDE: Final[tuple[type, ...]] = (Words, Remark, Masks, Lock)


def entry(seq: int, received_at: int, author: bytes, content: Event | Consent | Ideas, counter: int) -> Entry:
    """An entry of the channel's log that holds an event of release, of ideas, or of consent."""
    held: Any = content  # the log is one; consent does not know what release puts into it
    return Entry(seq, received_at, author, held, counter)
