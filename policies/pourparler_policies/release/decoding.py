"""From canonical bytes back to events and state of release, and of consent with them: one log holds both."""

from typing import Any, Final

from pourparler_policies.charter.rules import MAX_CHARTER
from pourparler_policies.fold.decoding import MAX_STATE as MAX_CONSENT
from pourparler_policies.fold.decoding import decode
from pourparler_policies.fold.events import Event as Consent
from pourparler_policies.ideas.events import Event as Ideas
from pourparler_policies.limits import KIB

from .events import Event, Lock, Masks, Remark, Words
from .facts import State
from .relayed import Arranged, Passage

MAX_EVENT: Final = MAX_CHARTER + KIB  # bytes: an amendment is the largest event
MAX_BESIDE: Final = 260 * KIB  # bytes: a text of 256 KiB with its salt
MAX_STATE: Final = MAX_CONSENT + 64 * KIB  # bytes: 32 signers with their three messages take about 40 KiB

Act = Consent | Event | Ideas
Beside = Words | Remark | Masks | Lock | Arranged | Passage


def decode_act(data: bytes) -> Act:
    """A procedure event of consent, release or ideas, at most MAX_EVENT bytes. Raises Unknown or Void."""
    event: Act = decode(Act, data, MAX_EVENT)
    return event


def decode_beside(data: bytes) -> Beside:
    """What travels beside the procedure and ends with its time, at most MAX_BESIDE bytes. Raises Unknown or Void."""
    event: Any = decode(Beside, data, MAX_BESIDE)
    made: Beside = event
    return made


def decode_state(data: bytes, limit: int = MAX_STATE) -> State:
    """A folded state of consent and release, at most `limit` bytes. Raises Void, Unknown."""
    state: State = decode(State, data, limit)
    return state
