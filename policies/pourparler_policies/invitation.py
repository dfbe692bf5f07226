"""What the two sides of an invitation say to each other, step by step (DESIGN 4.3.3).

Leg one holds an `Address` only. The rest is sealed to one-time keys: `Answer` (the invitee's key, as bytes),
`Offer`, `Acceptance`, `Welcome`. Before acceptance nobody is named but who invites.
"""

from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import Void
from .limits import MAX_SEALED
from .wire import Hash, Id, Secret, Seq

MAX_URL: Final = 512  # characters
MAX_MEMBERS: Final = 256  # devices in one channel

ANSWER, OFFER, ACCEPTANCE, WELCOME = range(4)  # the box's slots


class _Step(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, ser_json_bytes="base64", val_json_bytes="base64"
    )

    v: Literal[1] = 1

    def encode(self) -> bytes:
        """Compact JSON, UTF-8."""
        return self.model_dump_json().encode()


Bytes = Annotated[bytes, Field(max_length=MAX_SEALED)]


class Address(_Step):
    """Where to answer."""

    url: Annotated[str, Field(max_length=MAX_URL)]
    box: Id
    token: Secret


class Offer(_Step):
    """What the invitee would accept, and who asks."""

    terms: Bytes  # terms.Terms, encoded
    inviter: Annotated[str, Field(max_length=256)]
    fingerprint: Hash


class Acceptance(_Step):
    """The invitee's device, ready to be added."""

    key_package: Bytes
    device: Id
    token_hash: Hash


class Seat(_Step):
    """One member, as the inviter's fold has it."""

    credential: Id
    device: Id
    name: Annotated[str, Field(max_length=256)]
    fingerprint: Hash
    leaving: bool


class Welcome(_Step):
    """The MLS Welcome and the folded state before the Add."""

    channel: Id
    welcome: Bytes
    tree: Bytes | None
    seq: Seq
    chain: Hash
    members: Annotated[list[Seat], Field(max_length=MAX_MEMBERS)]


S = TypeVar("S", bound=_Step)


def decode(kind: type[S], data: bytes) -> S:
    """Parses one step. Raises Void when it is not of that kind."""
    try:
        return kind.model_validate_json(data)
    except ValidationError:
        raise Void("a step of the invitation is not what it should be") from None
