"""The terms of a channel: what an invitee sees and accepts before anything else, and what every member holds to.

Their digest stands in the MLS group context, so that nobody can be told other terms than the rest. They are the
place where the charter comes: parties, consent and attestation are not decided here yet.
"""

import hashlib
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import Misuse, Void
from .limits import DAY, HOUR, KIB, MAX_LIFE, MIN_LIFE
from .payload import check_name

MAX_TERMS: Final = 16 * KIB  # bytes
DEFAULT_LIFE: Final = 7 * DAY  # seconds a message lives when nobody asked for less
DEFAULT_ABSENCE: Final = 30 * DAY  # seconds
DEFAULT_UPDATE: Final = 1 * DAY  # seconds between a device's own key updates: how soon a channel heals
# A token lives up to a day longer than the absence limit; what its device must fold on return lives longer still.
PROCEDURE_MARGIN: Final = 2 * DAY  # seconds
MIN_ABSENCE: Final = HOUR  # shorter, and a lunch break would end a device's token


class Terms(BaseModel):
    """Title and lives (seconds) of a channel."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    v: Literal[1] = 1
    title: str
    life: Annotated[int, Field(ge=MIN_LIFE, le=MAX_LIFE)] = DEFAULT_LIFE
    absence: Annotated[int, Field(ge=MIN_ABSENCE, le=MAX_LIFE - PROCEDURE_MARGIN)] = DEFAULT_ABSENCE
    update: Annotated[int, Field(ge=1, le=MAX_LIFE)] = DEFAULT_UPDATE

    def encode(self) -> bytes:
        """Canonical: the fields in this order, no white space, UTF-8."""
        return self.model_dump_json().encode()

    @classmethod
    def decode(cls, data: bytes) -> "Terms":
        """Raises Void unless `data` is exactly what `encode` makes of valid terms."""
        try:
            terms = cls.model_validate_json(data) if len(data) <= MAX_TERMS else None
            if terms is not None and terms.encode() == data and check_name(terms.title) == terms.title:
                return terms
        except (ValidationError, Misuse):
            pass
        raise Void("these are no terms of a channel")

    @property
    def procedure_life(self) -> int:
        """How long commits and the procedure's messages live, in seconds."""
        return self.absence + PROCEDURE_MARGIN

    @property
    def digest(self) -> bytes:
        """SHA-256 of the encoding, 32 bytes: goes into the MLS group context."""
        return hashlib.sha256(b"pourparler terms v1" + self.encode()).digest()
