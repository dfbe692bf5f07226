"""How a message crosses from one room to another, once, whatever breaks: what the intermediary's device does next.

1. What is to be put to the other side waits in *that* room's compartment, as a parcel, before anything is claimed.
2. The claim is an entry in the author's room. Its place in that log decides between it, a recall and other claims.
3. A parcel leaves only when the log holds its claim and the claim counts; it leaves once.
4. It is dropped only on what the head of that log says: a device that saw less may have a claim that counts.

Parcel and claim know each other by digests under a secret of the author's room's compartment: a parcel alone, and
the author's room alone, say nothing of each other.
"""

from enum import StrEnum

from .carrying import check_carry
from .room import Item


class Parcel(StrEnum):
    """What of a crossing lies in the compartment of the receiving side."""

    NONE = "none"
    PREPARED = "prepared"  # not claimed, as far as this compartment knows
    LEAVING = "leaving"  # claimed: it goes when its delay is over


class Step(StrEnum):
    """What a device does next."""

    BEGIN = "prepare a parcel, then claim"
    LET_LEAVE = "let the parcel leave"
    DONE = "nothing: it is under way, or has left"


def next_step(item: Item, now: int, claim: bytes, parcel: Parcel) -> Step:
    """What to do about an item, as of the head of its room's log; `claim` is the id that this device's claim has.

    Raises Misuse when its terms forbid to carry it: then a parcel that was prepared is dropped.
    """
    if item.claim == claim:
        return Step.LET_LEAVE if parcel is Parcel.PREPARED else Step.DONE
    check_carry(item, now)
    return Step.BEGIN
