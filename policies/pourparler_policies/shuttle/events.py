"""What people say about carried messages, inside sealed entries; each in the room of one side, and of no other.

1. Words of a side go to the intermediary. They cross only as a `Put`, which the intermediary writes in the other room.
2. Nothing here names another room, or anything in it: `answers` and `regards` are ids of the same room.

DESIGN 4.5. An item's id (16 bytes, random) is its entry's inner id.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pourparler_policies.errors import Misuse, Void
from pourparler_policies.fold.decoding import decode
from pourparler_policies.limits import ID_BYTES, KIB

MAX_TEXT: Final = 32 * KIB  # bytes of UTF-8: with base64 and framing it fits the 64 KiB bucket
MAX_CONDITION: Final = 400  # characters: a few lines on a screen
MAX_EVENT: Final = MAX_TEXT + 4 * KIB  # bytes
NOTHING: Final = b""  # in place of an id: this regards nothing earlier


class Source(StrEnum):
    """As whose word the other side is to hear it."""

    PARTY = "from the party"
    IDEA = "the intermediary's own idea"
    HYPOTHETICAL = "hypothetical"


class Fidelity(StrEnum):
    """How close to the words the intermediary stays."""

    VERBATIM = "verbatim"
    GIST = "gist"


class Judge(StrEnum):
    """Who says that a condition is met."""

    AUTHOR = "the party that hands it over"
    INTERMEDIARY = "the intermediary"


class Answer(StrEnum):
    """What an answer is."""

    ACCEPT = "accept"
    DECLINE = "decline"
    COUNTER = "counter"
    QUESTION = "question"


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms the intermediary has it. Times are Unix seconds."""

    source: Source
    fidelity: Fidelity
    condition: str  # in words; empty: free to be carried
    judge: Judge  # of the condition
    not_before: int  # 0: at once
    expires: int  # then it is neither carried nor answered any more


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A side hands a message to the intermediary, on terms; or answers one that was put to it (`answers`: its id)."""

    text: str
    terms: Terms
    answers: bytes = NOTHING
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Freed:
    """The condition under which an item is held is met: it may be carried."""

    item: bytes


@dataclass(frozen=True, slots=True)
class Recalled:
    """The party that handed an item over takes it back: it is not carried."""

    item: bytes


@dataclass(frozen=True, slots=True)
class Carried:
    """The intermediary carries an item. Where to is not said here."""

    item: bytes


@dataclass(frozen=True, slots=True)
class Put:
    """The intermediary puts something to this side; or passes on what came of one of its items (`regards`: its id).

    `expires` (Unix seconds) is until when it may be answered. A text whose source is not the party says nothing of
    one, nor of how it was worded.
    """

    text: str
    source: Source
    fidelity: Fidelity | None  # None unless it is from the party
    expires: int
    regards: bytes = NOTHING
    answer: Answer | None = None


Event = HandedOver | Freed | Recalled | Carried | Put
KINDS: Final = (HandedOver, Freed, Recalled, Carried, Put)


def decode_event(data: bytes) -> Event:
    """An event, from at most MAX_EVENT bytes of its canonical form. Raises Unknown for one of another version, or
    Void.
    """
    event: Any = decode(Event, data, MAX_EVENT)
    made: Event = event
    try:
        check(made)
    except Misuse as error:
        raise Void(str(error)) from None
    return made


def check(event: Event) -> None:
    """Raises Misuse, with the reason, for an event that cannot be."""
    if not isinstance(event, HandedOver | Put):
        if len(event.item) != ID_BYTES:
            raise Misuse("this is about no message")
        return
    about = event.answers if isinstance(event, HandedOver) else event.regards
    if len(about) not in (0, ID_BYTES):
        raise Misuse("this answers no message")
    if event.answer is not None and not about:
        raise Misuse("an answer says what it answers")
    if isinstance(event, HandedOver):
        if about and event.answer is None:
            raise Misuse("an answer says whether it accepts, declines, counters or asks")
        if len(event.terms.condition) > MAX_CONDITION:
            raise Misuse(f"a condition has at most {MAX_CONDITION} characters")
    elif (event.fidelity is None) is (event.source is Source.PARTY):
        raise Misuse("only what is from the party is verbatim or a gist")
    size = _size(event.text)
    if size > MAX_TEXT:
        raise Misuse(f"a message that is carried has at most {MAX_TEXT} bytes, and this one has {size}")
    if not event.text.strip() and event.answer not in (Answer.ACCEPT, Answer.DECLINE):
        raise Misuse("the message is empty")


def _size(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise Misuse("the message holds characters that are not text") from None
