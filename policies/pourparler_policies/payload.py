"""What members say to each other inside sealed entries.

1. An application entry holds one message, one file, one paper, one word on a carried message or one step of a sounding,
   or a few events of one other kind (procedure, attestation, shorter lives); a commit holds who is seated by it.
2. Every envelope says which procedure its author had seen (`chain.py`).
3. An unknown event type halts the reader; it is never skipped, or two versions would hold different states.

Encoded as compact JSON in UTF-8; procedure events inside it in the fold's canonical form (`fold/encoding.py`). The
service never sees any of it. DESIGN 4.1, 4.4.
"""

import unicodedata
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from .errors import Misuse, Unknown, Void
from .filenames import MAX_FILE_NAME
from .fold.encoding import encode as canonical
from .fold.events import Added, Ground
from .limits import KIB, MAX_LIFE, MAX_SEQ, MIN_LIFE
from .release.decoding import MAX_BESIDE, MAX_EVENT, decode_act, decode_beside
from .release.decoding import Act as ProcedureEvent
from .release.decoding import Beside as BesideEvent
from .shuttle import events as shuttle
from .sounding.events import MAX_EVENT as MAX_SOUNDING
from .sounding.events import Event as SoundingEvent
from .sounding.events import decode_event as decode_sounding
from .wire import AttachmentSize, Hash, Id, Seq

VERSION: Final = 2
MAX_TEXT: Final = 48 * KIB  # bytes of UTF-8 in one message: fits the 64 KiB bucket with its framing
MAX_NAME: Final = 64  # characters: fits one line of a small screen
MAX_EVENTS: Final = 16  # events in one entry
MAX_ENVELOPE: Final = 400 * KIB  # bytes
CARD_PUBLIC: Final = 1216  # bytes of a card's public key (ML-KEM-768 and X25519)
MAX_STEP: Final = 2 * KIB  # bytes: the largest step of an attestation has 1,186


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


class Attached(_Event):
    """A file, off the record: it lies sealed at the service, and this is the key to it. It lives as a message does.

    Who opens it compares what is sealed with what stands here. Every member has the key, and could seal another file
    under it: `digest` says which one is meant.
    """

    type: Literal["attached"] = "attached"
    id: Id  # as in `Said`
    life: Annotated[int, Field(ge=MIN_LIFE, le=MAX_LIFE)]  # seconds, as the entry's own
    attachment: Id
    token: Annotated[Hash, Field(repr=False)]  # bearer secret for its chunks, 32 bytes
    key: Annotated[Hash, Field(repr=False)]  # 32 bytes
    size: AttachmentSize  # bytes, sealed
    digest: Hash  # SHA-256 of all sealed chunks in their order
    name: Annotated[str, Field(min_length=1, max_length=MAX_FILE_NAME)]  # a stranger's word: `filenames.harmless`
    kind: Annotated[str, Field(max_length=MAX_FILE_NAME)] = ""  # media type, empty when unknown
    length: Annotated[int, Field(ge=0)]  # bytes of the file

    @model_validator(mode="after")
    def _it_fits(self) -> Self:
        if self.length > self.size:
            raise ValueError("a file is no longer than its attachment")
        return self


class Shortened(_Event):
    """The author gives one of their own messages or files a shorter life; it lives in the log as long as the procedure.

    Only the message's own author can: its sender is compared. A longer life than it has changes nothing.
    """

    type: Literal["shortened"] = "shortened"
    id: Id
    life: Annotated[int, Field(ge=0, le=MAX_LIFE)]  # seconds since the message was received; 0: it ends at once


class Act(_Event):
    """An event of the procedure, judged by the folds of consent and release. `content` is its canonical form."""

    type: Literal["act"] = "act"
    counter: Annotated[int, Field(ge=1, le=MAX_SEQ)]  # of the author's device: a copy does not count again
    content: Annotated[bytes, Field(max_length=MAX_EVENT)]

    @classmethod
    def of(cls, counter: int, event: ProcedureEvent) -> "Act":
        """The act that carries an event."""
        return cls(counter=counter, content=canonical(event))

    @property
    def event(self) -> ProcedureEvent:
        """The event. Raises Void or Unknown."""
        return decode_act(self.content)


class Beside(_Event):
    """What belongs to a release and must not outlive it: words of a text or a remark, masks, a lock.

    It travels beside the procedure, whose log outlives it; `content` is its canonical form.
    """

    type: Literal["beside"] = "beside"
    content: Annotated[bytes, Field(max_length=MAX_BESIDE)]

    @classmethod
    def of(cls, event: BesideEvent) -> "Beside":
        """The entry that carries it."""
        return cls(content=canonical(event))

    @property
    def event(self) -> BesideEvent:
        """What it is. Raises Void or Unknown."""
        return decode_beside(self.content)


class Shuttle(_Event):
    """A word on a carried message (`shuttle/events.py`), kept as long as a message. `content`: its canonical form."""

    type: Literal["shuttle"] = "shuttle"
    id: Id  # the item's, if it is one; removes doubles
    life: Annotated[int, Field(ge=MIN_LIFE, le=MAX_LIFE)]  # seconds
    content: Annotated[bytes, Field(max_length=shuttle.MAX_EVENT)]

    @classmethod
    def of(cls, number: bytes, life: int, event: shuttle.Event) -> "Shuttle":
        """The entry that carries it. Raises Misuse when it cannot be."""
        shuttle.check(event)
        return cls(id=number, life=life, content=canonical(event))

    @property
    def event(self) -> shuttle.Event:
        """What it is. Raises Void or Unknown."""
        return shuttle.decode_event(self.content)


class Sounding(_Event):
    """An event of a sounding, judged by its own fold; it lives until the sounding is over.

    It is no procedure: what a device folds of it is bound by the tally's handle, which is a hash of all of it. So a
    service that shows some of the members another course of events gets tallies that nobody fills.
    """

    type: Literal["sounding"] = "sounding"
    content: Annotated[bytes, Field(max_length=MAX_SOUNDING)]

    @classmethod
    def of(cls, event: SoundingEvent) -> "Sounding":
        """The entry that carries it."""
        return cls(content=canonical(event))

    @property
    def event(self) -> SoundingEvent:
        """What it is. Raises Void or Unknown."""
        return decode_sounding(self.content)


class Attesting(_Event):
    """A step of a deniable pairwise attestation, for the device `peer`; nobody else reads anything out of it."""

    type: Literal["attesting"] = "attesting"
    peer: Id
    step: Annotated[bytes, Field(max_length=MAX_STEP)]


class Seated(_Event):
    """Explains an Add: whose card the new device has, and on which ground it is seated."""

    type: Literal["seated"] = "seated"
    credential: Id
    device: Id
    name: str
    public: Annotated[bytes, Field(min_length=CARD_PUBLIC, max_length=CARD_PUBLIC)]
    fingerprint: Hash  # of name and key; the reader compares
    ground: Ground
    digest: Annotated[bytes, Field(max_length=32)] = b""

    @property
    def added(self) -> Added:
        """As the fold judges it."""
        return Added(self.credential, self.fingerprint, self.ground, self.digest)


Event = Said | Attached | Shortened | Act | Beside | Shuttle | Sounding | Attesting | Seated
TYPES: Final = frozenset(
    {"said", "attached", "shortened", "act", "beside", "shuttle", "sounding", "attesting", "seated"}
)
_ALONE: Final[frozenset[type]] = frozenset({Said, Attached, Beside, Shuttle, Sounding})


class Envelope(BaseModel):
    """Events, with the point of the procedure (seq, running hash) that their author had seen.

    `key` is the number of the message key that seals the entry (RFC 9420, 9.1, generation): it is signed with the
    rest, so that what a member sealed anew under another's next key is known for a copy.
    """

    model_config = _Event.model_config

    v: Literal[2] = VERSION
    seq: Seq
    chain: Hash
    key: Annotated[int, Field(ge=0, lt=2**32)] = 0
    events: Annotated[
        list[Annotated[Event, Field(discriminator="type")]],
        Field(max_length=MAX_EVENTS),
    ]

    @property
    def procedure(self) -> bool:
        """Whether the entry belongs to the procedure and so to the running hash."""
        return any(isinstance(event, Act | Seated) for event in self.events)


_ADAPTER: Final[TypeAdapter[Envelope]] = TypeAdapter(Envelope)
_EVENTS: Final[TypeAdapter[list[Event]]] = TypeAdapter(list[Annotated[Event, Field(discriminator="type")]])


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
    """An envelope that may stand in an application entry: see rule 1. Raises as `decode`."""
    envelope = decode(data)
    kinds = {type(event) for event in envelope.events}
    if len(kinds) != 1 or Seated in kinds or (kinds & _ALONE and len(envelope.events) != 1):
        raise Void("an application entry holds one message, file, paper, word or step, or events of one kind")
    return envelope


def decode_commit(data: bytes) -> Envelope:
    """An envelope that may stand in a commit: whom it seats, and nothing else. Raises as `decode`."""
    envelope = decode(data)
    if any(not isinstance(event, Seated) for event in envelope.events):
        raise Void("a commit explains only whom it seats")
    return envelope


def encode_events(events: list[Event]) -> bytes:
    """Events as they wait in a vault."""
    return _EVENTS.dump_json(events)


def decode_events(data: bytes) -> list[Event]:
    """What `encode_events` wrote. Raises Void when it is nothing of the kind."""
    try:
        return _EVENTS.validate_json(data)
    except ValidationError:
        raise Void("these are no events") from None


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
