"""The acts on rounds of ideas: room is made with a device's token, everything after that goes with the round's own.

1. A round takes packets from its tick until its window is over, all of one size, as many as it has places.
2. Nothing of it is shown, not even how many there are, before that; then all at once, by the order of their hashes.
3. No row says who sent a packet, or when.

The round's number is a hash of all that was asked for, and of a token hash that only members can know: whoever asks
for another token, or other times, has made another round, and hinders nobody's.
"""

import hmac
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, insert, select

from pourparler_policies import limits, wire
from pourparler_policies.wire import Problem

from .acts import check_room, sha256
from .caps import Caps
from .problems import Refusal, unauthorized
from .state import ChannelState, DeviceState
from .tables import PACKET, ROUND
from .writer import Batch


@dataclass(frozen=True, slots=True)
class Asked:
    """Which round a request is about, and the token that it shows."""

    round: bytes
    token: bytes


def create_round(
    channel: ChannelState, device: DeviceState, request: wire.CreateRound, caps: Caps
) -> Callable[[Batch], None]:
    """Make room. The identical request again is harmless."""

    def act(batch: Batch) -> None:
        batch.require_living(channel, device)
        closes_at = request.opens_at + request.window
        asked = {
            "channel_key": channel.key,
            "token_hash": request.token_hash,
            "opens_at": request.opens_at,
            "closes_at": closes_at,
            "places": request.places,
            "expires_at": closes_at + request.life,
        }
        known = select(ROUND).where(ROUND.c.round == request.round)
        row = batch.connection.execute(known).mappings().one_or_none()
        if row is not None:
            if {name: row[name] for name in asked} != asked:
                raise Refusal(Problem.ID_REUSED)
            return
        if closes_at <= batch.now:
            raise Refusal(Problem.CLOSED, "This round's window is over.")
        if request.opens_at > batch.now + limits.MAX_AHEAD:
            raise Refusal(Problem.OVER_CAP, f"Room is made at most {limits.MAX_AHEAD} seconds ahead.")
        if request.life > caps.longest_life:
            raise Refusal(Problem.OVER_CAP, f"Nothing lives longer than {caps.longest_life} seconds here.")
        living = select(func.count()).where(ROUND.c.channel_key == channel.key, ROUND.c.expires_at > batch.now)
        if batch.connection.execute(living).scalar_one() >= caps.rounds_a_channel:
            raise Refusal(
                Problem.OVER_CAP, f"A channel has at most {caps.rounds_a_channel} rounds at a time here."
            )
        check_room(batch, channel.key, request.places * limits.IDEA_PACKET, caps)
        batch.changed().execute(insert(ROUND).values(round=request.round, **asked))

    return act


def send_packet(asked: Asked, sealed: bytes, caps: Caps) -> Callable[[Batch], None]:
    """Take a packet; the same bytes again are harmless, whenever they come."""
    digest = sha256(sealed)

    def act(batch: Batch) -> None:
        row = find_round(batch, asked)
        known = select(PACKET.c.digest).where(PACKET.c.round_key == row.key, PACKET.c.digest == digest)
        if batch.connection.execute(known).first() is not None:
            return
        if batch.now < row.opens_at:
            wait = str(max(1, math.ceil(row.opens_at - batch.now)))
            raise Refusal(Problem.BUDGET, "This round's tick has not come.", headers={"Retry-After": wait})
        if batch.now >= row.closes_at:
            raise Refusal(Problem.CLOSED, "This round's window is over.")
        count = select(func.count()).where(PACKET.c.round_key == row.key)
        if batch.connection.execute(count).scalar_one() >= row.places:
            raise Refusal(Problem.OVER_CAP, "Every place of this round is taken.")
        check_room(batch, row.channel_key, len(sealed), caps)
        batch.add_bytes(row.channel_key, len(sealed))
        batch.changed().execute(
            insert(PACKET).values(round_key=row.key, digest=digest, body_key=batch.places.place(sealed))
        )

    return act


def find_round(batch: Batch, asked: Asked) -> Row[Any]:
    """The living round that the request is about. Raises Refusal when there is none, or for another token."""
    row = batch.connection.execute(
        select(ROUND).where(ROUND.c.round == asked.round, ROUND.c.expires_at > batch.now)
    ).one_or_none()
    if row is None or not hmac.compare_digest(row.token_hash, sha256(asked.token)):
        raise unauthorized()
    return row
