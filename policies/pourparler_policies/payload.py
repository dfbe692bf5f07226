"""What members say to each other inside sealed entries.

1. An application entry holds exactly one event; a commit holds the events that explain it.
2. Every envelope says which procedure its author had seen (`chain.py`).
3. An unknown event type halts the reader; it is never skipped, or two versions would hold different states.

Encoded as compact JSON in UTF-8 (DESIGN 4.1, 4.4). The service never sees any of it.
"""

import unicodedata
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from .errors import Misuse, Unknown, Void
from .limits import KIB, MAX_LIFE, MIN_LIFE
from .wire import Hash, Id, Seq

VERSION: Final = 1
MAX_TEXT: Final = 48 * KIB  # bytes of UTF-8 in one message: fits the 64 KiB bucket with its framing
MAX_NAME: Final = 64  # characters: fits one line of a small screen
MAX_EVENTS: Final = 16  # events in one commit
MAX_ENVELOPE: Final = 400 * KIB  # bytes


class _Event(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        ser_json_bytes="base64",
        val_json_bytes="base64",
    )


class Said(_Event):
    """A message, off the record."""

    type: Literal["said"] = "said"
    id: Id  # the same when the text is sealed anew: removes doubles
    text: Annotated[str, Field(min_length=1)]
    life: Annotated[int, Field(ge=MIN_LIFE, le=MAX_LIFE)]  # seconds, as the entry's own


class Seated(_Event):
    """Explains an Add: which card the new device has. Until it is attested, the name is the inviter's word."""

    type: Literal["seated"] = "seated"
    credential: Id
    device: Id
    name: str
    fingerprint: Hash


class Leaving(_Event):
    """The author leaves; whoever sends next commits the removal (DESIGN 5, finding 22)."""

    type: Literal["leaving"] = "leaving"


class Closed(_Event):
    """The channel ends: every device erases it and refuses it from then on."""

    type: Literal["closed"] = "closed"


Event = Said | Seated | Leaving | Closed
PROCEDURE: Final = (Seated, Leaving, Closed)
TYPES: Final = frozenset({"said", "seated", "leaving", "closed"})


class Envelope(BaseModel):
    """Events, with the point of the procedure (seq, running hash) that their author had seen."""

    model_config = _Event.model_config

    v: Literal[1] = VERSION
    seq: Seq
    chain: Hash
    events: Annotated[
        list[Annotated[Event, Field(discriminator="type")]],
        Field(max_length=MAX_EVENTS),
    ]

    @property
    def procedure(self) -> bool:
        """Whether the entry belongs to the procedure and so to the running hash."""
        return any(isinstance(event, PROCEDURE) for event in self.events)


_ADAPTER: Final[TypeAdapter[Envelope]] = TypeAdapter(Envelope)
_EVENT: Final[TypeAdapter[Event]] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


def encode(envelope: Envelope) -> bytes:
    """UTF-8 JSON of an envelope, at most MAX_ENVELOPE bytes."""
    return envelope.model_dump_json().encode()


def decode(data: bytes) -> Envelope:
    """Parses what `encode` made.

    Raises Unknown for an event type or version of another release (the reader halts), Void for anything else
    that is not an envelope.
    """
    if len(data) > MAX_ENVELOPE:
        raise Void("an entry is larger than any envelope may be")
    try:
        return _ADAPTER.validate_json(data)
    except ValidationError as error:
        if any(_is_news(problem) for problem in error.errors(include_url=False, include_context=False)):
            raise Unknown("an entry of a kind that this version of Pourparler does not know") from None
        raise Void("an entry is not an envelope") from None


def decode_application(data: bytes) -> Envelope:
    """An envelope with exactly one event that may stand in an application entry. Raises as `decode`."""
    envelope = decode(data)
    if len(envelope.events) != 1 or isinstance(envelope.events[0], Seated):
        raise Void("an application entry holds one event of its own kind")
    return envelope


def decode_event(data: bytes) -> Event:
    """One event as `model_dump_json` wrote it. Raises Void when it is none."""
    try:
        return _EVENT.validate_json(data)
    except ValidationError:
        raise Void("this is not an event") from None


def _is_news(problem: Any) -> bool:
    location = problem["loc"]
    return problem["type"] == "union_tag_invalid" or (
        location == ("v",) and problem["type"] == "literal_error" and isinstance(problem["input"], int)
    )


def check_text(text: str) -> str:
    """A message's text, if it can be sent; raises Misuse with the reason otherwise."""
    if not text.strip():
        raise Misuse("the message is empty")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Misuse("the message holds characters that are not text") from None
    if size > MAX_TEXT:
        raise Misuse(f"the message has {size} bytes; at most {MAX_TEXT} are possible: send it in parts")
    return text


def check_name(name: str) -> str:
    """A name on a card in NFC, if every reader sees it alike; raises Misuse with the reason otherwise.

    Refused: control characters, line breaks, direction overrides and other characters without a reading.
    Joiners (ZWJ, ZWNJ) stay allowed: names in Persian or Sinhala need them.
    """
    name = unicodedata.normalize("NFC", name.strip())
    if not name or len(name) > MAX_NAME:
        raise Misuse(f"a name has 1 to {MAX_NAME} characters")
    for char in name:
        if char not in "\u200c\u200d" and (unicodedata.category(char)[0] == "C" or char in "\u2028\u2029"):
            raise Misuse(f"the name holds the character U+{ord(char):04X}, which readers cannot see")
    return name
