"""What the two sides of an invitation say to each other, step by step (DESIGN 4.3.3).

Leg one holds an `Address` only. The rest is sealed to one-time keys: `Answer` (the invitee's key, as bytes),
`Offer`, `Acceptance`, `Welcome`. Before acceptance people are named as far as the charter lets an invitee see.
"""

from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .admission import KEPT_KEYS
from .charter.rules import MAX_CHARTER
from .errors import Void
from .fold.decoding import MAX_COMMIT
from .limits import MAX_SEALED, MAX_SEQ
from .payload import CARD_PUBLIC, Seated
from .release.decoding import MAX_STATE
from .wire import Hash, Id, Secret, Seq

MAX_URL: Final = 512  # characters
MAX_MEMBERS: Final = 256  # devices in one channel
KEPT_EPOCHS: Final = 256  # epochs in which a complaint can still be read: months of a channel

ANSWER, OFFER, ACCEPTANCE, WELCOME = range(4)  # the box's slots


class _Step(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, ser_json_bytes="base64", val_json_bytes="base64"
    )

    v: Literal[2] = 2

    def encode(self) -> bytes:
        """Compact JSON, UTF-8."""
        return self.model_dump_json().encode()


Bytes = Annotated[bytes, Field(max_length=MAX_SEALED)]
CharterText = Annotated[bytes, Field(max_length=MAX_CHARTER)]


class Address(_Step):
    """Where to answer."""

    url: Annotated[str, Field(max_length=MAX_URL)]
    box: Id
    token: Secret


class Offer(_Step):
    """What the invitee would accept, and who asks.

    `charter` is the charter's encoding, as far as it may be seen before acceptance; `hash` is that of the whole.
    """

    charter: CharterText
    hash: Hash
    body: Annotated[str, Field(max_length=32)]  # the party or intermediary to which the invitee would belong
    inviter: Annotated[str, Field(max_length=256)]
    fingerprint: Hash


class Acceptance(_Step):
    """The invitee's device, ready to be added."""

    key_package: Bytes
    device: Id
    token_hash: Hash


class Seat(_Step):
    """One member, as the inviter's fold has it (`admission.Member`)."""

    credential: Id
    device: Id
    name: Annotated[str, Field(max_length=256)]
    public: Annotated[bytes, Field(min_length=CARD_PUBLIC, max_length=CARD_PUBLIC)]
    fingerprint: Hash
    keys: Annotated[list[Hash], Field(max_length=KEPT_KEYS)]
    heard: Annotated[int, Field(ge=0, le=MAX_SEQ)]


class Welcome(_Step):
    """The MLS Welcome, the folded state before the Add, and the Add itself, which the newcomer folds."""

    channel: Id
    welcome: Bytes
    tree: Bytes | None
    charter: CharterText
    seq: Seq
    chain: Hash
    state: Annotated[bytes, Field(max_length=MAX_STATE)]
    members: Annotated[list[Seat], Field(max_length=MAX_MEMBERS)]
    committer: Id
    commit: Annotated[bytes, Field(max_length=MAX_COMMIT)]
    seated: Seated
    complaints: Annotated[list[tuple[int, Hash]], Field(max_length=KEPT_EPOCHS)]  # epoch, complaint key


S = TypeVar("S", bound=_Step)


def decode(kind: type[S], data: bytes) -> S:
    """Parses one step. Raises Void when it is not of that kind."""
    try:
        return kind.model_validate_json(data)
    except ValidationError:
        raise Void("a step of the invitation is not what it should be") from None
