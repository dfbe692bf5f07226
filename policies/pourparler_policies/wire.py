"""What service and clients say to each other: the one home of the wire's schemas.

Three rules hold for everything here:

1. Every field has a limit, and an unknown field is refused (requests) or ignored (replies of a newer service).
2. Bytes travel as base64url in JSON. Times are whole Unix seconds, durations whole seconds.
3. Nothing here names a person, a party or a content: the service has no field for it.

The paths stand in `Route`; `docs/protocol.md` explains them. Source: DESIGN 4.1 (channel log), 4.3 (drop
boxes), 4.4 (key halves, attachments, rounds of ideas), 4.5 (tallies), 6.3 (desk, board). The board alone shows
names and content: what every party has published.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from .limits import (
    ATTACHMENT_SIZES,
    BOX_SLOTS,
    BUNDLES,
    HASH_BYTES,
    ID_BYTES,
    IDEA_PACKET,
    MAX_CASE,
    MAX_CHUNKS,
    MAX_DEPOSIT,
    MAX_HALVES,
    MAX_LIFE,
    MAX_NOTES,
    MAX_PACKAGES,
    MAX_PLACES,
    MAX_SEALED,
    MAX_SEQ,
    MAX_SIGNERS,
    MAX_TALLY,
    MAX_VALUES,
    MAX_WINDOW,
    MIN_LIFE,
    SHORT_STEP,
)

# A day before the year 9999 ends: a later one is in no calendar of some time zone, and a lying service could crash
# who shows it.
LAST_TIME: Final = 253_402_300_799 - 86_400  # Unix seconds

_B64: Final = {"ser_json_bytes": "base64", "val_json_bytes": "base64"}


class Request(BaseModel):
    """What a client sends."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, **_B64)  # type: ignore[typeddict-item]


class Reply(BaseModel):
    """What the service answers."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, **_B64)  # type: ignore[typeddict-item]


# pydantic's own schema gives the lengths of bytes for the string; these patterns say what base64url really is.
_ID_JSON: Final = {
    "type": "string",
    "pattern": "^[A-Za-z0-9_-]{21}[AQgw]==$",
    "description": "16 bytes, base64url",
}
_HASH_JSON: Final = {
    "type": "string",
    "pattern": "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]=$",
    "description": "32 bytes, base64url",
}
_SEALED_JSON: Final = {
    "type": "string",
    "pattern": "^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-][AQgw]==|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048]=)?$",
    "minLength": 4,
    "maxLength": (MAX_SEALED + 2) // 3 * 4,
    "description": "sealed bytes, base64url",
}


def _bytes_json(most: int) -> dict[str, object]:
    return {**_SEALED_JSON, "maxLength": (most + 2) // 3 * 4, "description": f"at most {most} bytes, base64url"}


Id = Annotated[bytes, Field(min_length=ID_BYTES, max_length=ID_BYTES), WithJsonSchema(_ID_JSON)]
Hash = Annotated[bytes, Field(min_length=HASH_BYTES, max_length=HASH_BYTES), WithJsonSchema(_HASH_JSON)]
Secret = Hash  # 32 random bytes whose SHA-256 was given earlier
Sealed = Annotated[bytes, Field(min_length=1, max_length=MAX_SEALED), WithJsonSchema(_SEALED_JSON)]
Seq = Annotated[int, Field(ge=0, le=MAX_SEQ)]
Life = Annotated[int, Field(ge=MIN_LIFE, le=MAX_LIFE)]
Time = Annotated[int, Field(ge=0, le=LAST_TIME)]


class Route(StrEnum):
    """Paths, below the service's root. Ids stand in paths as base64url without padding."""

    SERVICE = "/v1/service"
    READY = "/v1/ready"
    CHANNELS = "/v1/channels"
    CHANNEL = "/v1/channels/{channel}"
    ENTRIES = "/v1/channels/{channel}/entries"
    DELETION = "/v1/channels/{channel}/entries/{entry}/deletion"
    STREAM = "/v1/channels/{channel}/stream"
    OWN_DEVICE = "/v1/channels/{channel}/device"
    REVOCATION = "/v1/channels/{channel}/devices/{device}/revocation"
    BOXES = "/v1/channels/{channel}/boxes"
    BOX = "/v1/boxes/{box}"
    BOX_SLOT = "/v1/boxes/{box}/{slot}"
    HALVES = "/v1/channels/{channel}/halves"
    ATTACHMENTS = "/v1/channels/{channel}/attachments"
    ATTACHMENT = "/v1/attachments/{attachment}"
    ATTACHMENT_CHUNK = "/v1/attachments/{attachment}/chunks/{chunk}"
    ATTACHMENT_DELETION = "/v1/attachments/{attachment}/deletion"
    ROUNDS = "/v1/channels/{channel}/rounds"
    ROUND = "/v1/rounds/{round}"
    DESK = "/v1/desk"
    CASE = "/v1/desk/{handle}"
    CASE_DEPOSIT = "/v1/desk/{handle}/deposit"
    CASE_WITHDRAWAL = "/v1/desk/{handle}/withdrawal"
    CASE_STOP = "/v1/desk/{handle}/stop"
    TALLIES = "/v1/tallies"
    TALLY = "/v1/tallies/{handle}"
    TALLY_SLOT = "/v1/tallies/{handle}/slot"
    BOARD_LIST = "/v1/board"
    BOARD_ENTRY = "/v1/board/{digest}"
    BOARD = "/board"
    BOARD_FEED = "/board/feed.atom"
    BOARD_STYLE = "/board/board.css"
    BOARD_SCRIPT = "/board/verify.js"
    BOARD_PAGE = "/board/{digest}"
    BOARD_NOTE = "/board/{digest}/note"


class Caps(Reply):
    """The operator's limits; they bind the charter's."""

    largest_entry: int  # bytes
    longest_life: int  # seconds
    longest_absence: int  # seconds
    devices_a_channel: int
    longest_box_life: int  # seconds
    largest_attachment: int  # bytes
    attachments_a_channel: int  # bytes
    halves_a_device: int
    longest_case: int  # seconds from its opening to its not-before time


class Service(Reply):
    """Answer to GET `Route.SERVICE`."""

    software: str
    incarnation: Id  # changes when the service was restored from a backup
    caps: Caps


class CreateChannel(Request):
    """POST `Route.CHANNELS` with the operator's grant as bearer. Repeating it with the same bytes is harmless."""

    channel: Id
    device: Id
    token_hash: Hash  # SHA-256 of the founding device's bearer token
    absence_limit: Life  # seconds without any request after which a device's token ends


class Channel(Reply):
    """A channel as one device sees it: answer to CreateChannel and to GET `Route.CHANNEL`."""

    incarnation: Id
    head: Seq  # seq of the newest entry, 0 when there is none
    handshake_head: Seq  # seq of the newest handshake entry, 0 when there is none
    first_seq: Seq  # where this device's view begins: entries with seq >= first_seq
    count: Seq  # how many entries the service has accepted from this device
    absence_limit: int  # seconds


class Admit(Request):
    """Lets a new device in with the same append that carries its Add, and leaves its Welcome in a box."""

    device: Id
    token_hash: Hash
    box: Id
    welcome: Sealed


class Append(Request):
    """POST `Route.ENTRIES`. Checked in this order: token, form, entry id (a retry), count, head, budget, caps."""

    entry: Id
    handshake: bool
    sealed: Sealed  # its length is one of limits.BUCKETS
    life: Life  # of a handshake at least: it stays for the absence limit and two days
    delete_hash: Hash  # SHA-256 of a secret that only the author keeps
    handshake_head: Seq  # the newest handshake entry that the author has processed
    count: Annotated[int, Field(ge=1, le=MAX_SEQ)]  # the last accepted count of this device, plus one
    admit: Admit | None = None  # with a handshake only


class Receipt(Reply):
    """The entry is durable. A retry of the same append gets the same receipt."""

    seq: Seq
    received_at: Time  # never falls within a channel
    expires_at: Time


class Entry(Reply):
    """One sealed entry, in a page or as the data of a stream's event `entry`."""

    seq: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    entry: Id
    handshake: bool
    sealed: Sealed
    received_at: Time
    expires_at: Time


class Page(Reply):
    """Answer to GET `Route.ENTRIES`?after=SEQ&limit=N: rising seq, gaps where entries expired or were deleted."""

    incarnation: Id
    head: Seq
    entries: list[Entry]


class Deletion(Request):
    """POST `Route.DELETION`: the author ends an entry before its time, unless it is a handshake."""

    secret: Secret


class CreateBox(Request):
    """POST `Route.BOXES`: a one-time drop box, opened by a device of the channel."""

    box: Id
    token_hash: Hash  # SHA-256 of the bearer secret that the invitation carries
    life: Life


class Deposit(Request):
    """PUT `Route.BOX_SLOT`: each slot is written once. The same bytes again are harmless."""

    sealed: Sealed


class Deposited(Reply):
    """Answer to GET `Route.BOX_SLOT`."""

    sealed: Sealed
    expires_at: Time


Slot = Annotated[int, Field(ge=0, lt=BOX_SLOTS)]


class AskHalves(Request):
    """POST `Route.HALVES`: this device's key halves for `number` ends, from `first` on, `step` seconds apart.

    A half is made when it is first asked for. Asking for more than one needs, and always alike, tells less.
    """

    first: Annotated[int, Field(ge=0, le=LAST_TIME, multiple_of=SHORT_STEP)]
    step: Literal[10, 60, 3600]  # seconds: those of limits, one for each kind of life
    number: Annotated[int, Field(ge=1, le=MAX_HALVES)]


class Halves(Reply):
    """The halves that are not over, in the order of their ends; `first` is the first one's end."""

    incarnation: Id  # another one: the halves may be others than those that were given out before
    first: Time
    step: int  # seconds
    halves: Annotated[list[Hash], Field(max_length=MAX_HALVES)]  # 32 bytes each


def _one_of_the_sizes(size: int) -> int:
    if size not in ATTACHMENT_SIZES:
        raise ValueError("no size of an attachment")
    return size


AttachmentSize = Annotated[
    int, AfterValidator(_one_of_the_sizes), WithJsonSchema({"type": "integer", "enum": list(ATTACHMENT_SIZES)})
]


class CreateAttachment(Request):
    """POST `Route.ATTACHMENTS`: a device of the channel makes room. The same bytes again are harmless."""

    attachment: Id
    token_hash: Hash  # SHA-256 of the bearer secret for its chunks, which the message carries with the key
    size: AttachmentSize
    life: Life
    delete_hash: Hash  # SHA-256 of a secret that only the author keeps


Chunk = Annotated[int, Field(ge=0, lt=MAX_CHUNKS)]


class Attachment(Reply):
    """What the service has of an attachment: answer to GET `Route.ATTACHMENT`.

    PUT and GET `Route.ATTACHMENT_CHUNK` carry one sealed chunk of `limits.chunk_of(size)` bytes, as
    `application/octet-stream`. A chunk is written once; the same bytes again are harmless.
    """

    size: int  # bytes
    missing: Annotated[list[Chunk], Field(max_length=MAX_CHUNKS)]  # in rising order
    expires_at: Time


class CreateRound(Request):
    """POST `Route.ROUNDS`: a device of the channel has room made for a round. The same bytes again are harmless.

    `round` is a hash of the rest: every device of the round asks for the same, and a wrong wish is another round.
    """

    round: Id
    token_hash: Hash  # SHA-256 of the bearer secret for its packets, which every member has from the MLS epoch
    opens_at: Time  # the tick: packets are taken from then on ...
    window: Annotated[int, Field(ge=1, le=MAX_WINDOW)]  # ... for so many seconds, and shown after them
    places: Annotated[int, Field(ge=1, le=MAX_PLACES)]  # packets that it takes
    life: Life  # seconds after that


Packet = Annotated[
    bytes, Field(min_length=IDEA_PACKET, max_length=IDEA_PACKET), WithJsonSchema(_bytes_json(IDEA_PACKET))
]


class SendPacket(Request):
    """POST `Route.ROUND` with the round's token, on a connection of its own. The same bytes again are harmless."""

    sealed: Packet


class Round(Reply):
    """Answer to GET `Route.ROUND`, once its window is over: every packet, by the order of their SHA-256."""

    packets: Annotated[list[Packet], Field(max_length=MAX_PLACES)]
    expires_at: Time


class OpenCase(Request):
    """POST `Route.DESK`: a case, named by its handle, and its sealed bundle. No token; repeating it is harmless.

    Every signer's client sends it as soon as its own check of R3 has passed, and not when its person signs: so that
    a case is there says nothing about anybody.
    """

    case: Annotated[bytes, Field(min_length=1, max_length=MAX_CASE), WithJsonSchema(_bytes_json(MAX_CASE))]
    bundle: Annotated[
        bytes, Field(min_length=BUNDLES[0], max_length=BUNDLES[-1]), WithJsonSchema(_bytes_json(BUNDLES[-1]))
    ]


Message = Annotated[bytes, Field(min_length=1, max_length=MAX_DEPOSIT), WithJsonSchema(_bytes_json(MAX_DEPOSIT))]


class CaseMessage(Request):
    """POST `Route.CASE_DEPOSIT` (R4 or R5 of JR2), `Route.CASE_WITHDRAWAL` (R4), `Route.CASE_STOP` (R5). No token.

    Each is answered the same, whatever the desk holds: the sender reads the case.
    """

    message: Message


class CaseAnswer(StrEnum):
    """What the desk says of a case, the same to everybody; the last three are final."""

    OPEN = "open"  # not everybody has signed. Nothing else shows, and no count
    COMPLETE = "complete"  # all have signed: every d is shown at once
    LAPSED = "lapsed"  # a deadline passed, or the desk lost what it held; all was deleted
    STOPPED = "stopped"  # a party stopped it, as the charter allows; all was deleted
    PUBLISHED = "published"  # the not-before time has come: every y is shown at once


class Case(Reply):
    """Answer to GET `Route.CASE`: the same bytes for everybody, and for every `open` or `lapsed` case."""

    answer: CaseAnswer
    masks: Annotated[list[Message], Field(max_length=MAX_SIGNERS)] | None = None  # R4 of all; complete, published
    shares: Annotated[list[Message], Field(max_length=MAX_SIGNERS)] | None = None  # R5 of all; published
    board: Annotated[list[Hash], Field(max_length=MAX_NOTES)] | None = None  # published: what the board has of it


class OpenTally(Request):
    """POST `Route.TALLIES`: a sounding's tally, named by its handle. No token; repeating it is harmless.

    Every device that was asked sends it, whatever its person says and whether they say anything.
    """

    tally: Annotated[bytes, Field(min_length=1, max_length=MAX_TALLY), WithJsonSchema(_bytes_json(MAX_TALLY))]


class HandIn(Request):
    """POST `Route.TALLY_SLOT`: one value for each package. Answered the same, first or again; the first one stays.

    An acceptance and a refusal have the same size, and nobody can tell one from the other.
    """

    slot: Secret  # whose hash the tally lists
    values: Annotated[bytes, Field(min_length=32, max_length=MAX_VALUES), WithJsonSchema(_bytes_json(MAX_VALUES))]


class TallyAnswer(StrEnum):
    """What the service says of a tally, the same to everybody; the last two are final."""

    OPEN = "open"  # before its close. Nothing else shows: no count, and not who has come
    COUNTED = "counted"  # one total is shown, and all else is erased
    LOST = "lost"  # the service lost what it held before it was counted


class Tally(Reply):
    """Answer to GET `Route.TALLY`: the same bytes for everybody, and for every open tally."""

    answer: TallyAnswer
    package: Annotated[int, Field(ge=0, lt=MAX_PACKAGES)] | None = None  # counted: which one is shown
    value: Hash | None = None  # counted: its total


class Sequel(StrEnum):
    """What a later communiqué, signed by everybody who had signed the earlier one, says of that."""

    CORRECTED = "corrected"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"


class BoardMark(Reply):
    """A later communiqué, and what it did to this one."""

    sequel: Sequel
    digest: Hash  # of the later one's text


class BoardRelation(Reply):
    """What a communiqué says at its foot that it does to an earlier one."""

    sequel: Sequel  # the earlier one would be that
    release: Id  # of the earlier one
    digest: Hash  # of the earlier one's text
    marked: bool  # the earlier one bears the mark: it is here, and all who signed it have signed this one


class Posted(Reply):
    """A communiqué on the board. Names are as its text gives them: the board vouches for nobody."""

    number: Seq  # rises in the order of publication
    digest: Hash  # SHA-256 of its text, which is its place
    release: Id
    copy_number: int  # of the copies that were completed together
    copies: int
    title: str  # the first line of its words
    languages: list[str]
    signatories: list[str]
    published_at: Time
    marks: list[BoardMark]  # the newest last
    relation: BoardRelation | None = None


class Board(Reply):
    """Answer to GET `Route.BOARD_LIST`?before=NUMBER: the newest first, `limits.BOARD_PAGE` at most."""

    posted: list[Posted]
    more: bool


class PostedNote(Posted):
    """Answer to GET `Route.BOARD_ENTRY`."""

    note: str  # the signed note, exactly


class Problem(StrEnum):
    """The closed list of refusals: the last part of a problem document's `type` (RFC 9457)."""

    MALFORMED = "malformed"  # 422: not of the schema, or a size that is no bucket
    MEDIA_TYPE = "media-type"  # 415: a body of another media type than the route's
    TOO_LARGE = "too-large"  # 413
    UNAUTHORIZED = "unauthorized"  # 401: no such channel, device, box or grant, or the token is wrong or ended
    NOT_FOUND = "not-found"  # 404: no such path, slot still empty, entry gone
    METHOD = "method-not-allowed"  # 405
    STALE = "stale"  # 409: a newer handshake entry exists; member `handshake_head`
    WRONG_COUNT = "wrong-count"  # 409: this device is an old copy; member `count`, the last accepted
    ID_REUSED = "id-reused"  # 409: the id exists with other content
    OVER_CAP = "over-cap"  # 403: the operator does not allow it
    BUDGET = "budget"  # 429: too many handshakes or requests; header Retry-After
    GRANT_USED = "grant-used"  # 403
    CLOSED = "closed"  # 410: the channel was closed, or the round takes no more packets
    UNAVAILABLE = "unavailable"  # 503: try again; nothing was stored


PROBLEM_URN: Final = "urn:pourparler:problem:"


class ProblemDocument(Reply):
    """RFC 9457, media type application/problem+json."""

    type: str
    title: str
    status: int
    detail: str
    handshake_head: Seq | None = None
    count: Seq | None = None
