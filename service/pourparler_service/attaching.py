"""The acts on attachments' rows: a device makes room for one, its author ends it. What is sealed lies in a file.

A device of the channel makes the room, so that quota and expiry have a place. Everything after that, sending and
fetching, goes with a token of the attachment's own, on a connection of its own: so nothing that is stored or said
joins an attachment to the device that fetches it.
"""

import hmac
from collections.abc import Callable

from sqlalchemy import func, insert, select

from pourparler_policies import wire
from pourparler_policies.wire import Problem

from .acts import erase_attachments, sha256
from .caps import Caps
from .problems import Refusal, unauthorized
from .state import ChannelState, DeviceState
from .tables import ATTACHMENT
from .writer import Batch


def create_attachment(
    channel: ChannelState, device: DeviceState, request: wire.CreateAttachment, caps: Caps
) -> Callable[[Batch], None]:
    """Make room. The identical request again is harmless. Raises Refusal, and KeyNeeded."""

    def act(batch: Batch) -> None:
        batch.require_living(channel, device)
        asked = {
            "channel_key": channel.key,
            "token_hash": request.token_hash,
            "size": request.size,
            "life": request.life,
            "delete_hash": request.delete_hash,
        }
        known = select(ATTACHMENT).where(ATTACHMENT.c.attachment == request.attachment)
        row = batch.connection.execute(known).mappings().one_or_none()
        if row is not None:
            if {name: row[name] for name in asked} != asked:
                raise Refusal(Problem.ID_REUSED)
            return
        if request.size > caps.largest_attachment:
            raise Refusal(Problem.OVER_CAP, f"An attachment has at most {caps.largest_attachment} bytes here.")
        if request.life > caps.longest_life:
            raise Refusal(Problem.OVER_CAP, f"Attachments live at most {caps.longest_life} seconds here.")
        held = select(func.coalesce(func.sum(ATTACHMENT.c.size), 0)).where(ATTACHMENT.c.channel_key == channel.key)
        if batch.connection.execute(held).scalar_one() + request.size > caps.attachments_a_channel:
            told = f"The attachments of a channel have at most {caps.attachments_a_channel} bytes here."
            raise Refusal(Problem.OVER_CAP, told)
        expires_at = int(batch.now) + request.life
        key_end = batch.outside.keys.end(expires_at, request.life)
        batch.outside.keys.require(key_end)
        batch.changed().execute(
            insert(ATTACHMENT).values(
                attachment=request.attachment, expires_at=expires_at, key_end=key_end, **asked
            )
        )

    return act


def delete_attachment(attachment: bytes, token: bytes, secret: bytes) -> Callable[[Batch], None]:
    """End an attachment before its time. Its token is everybody's in the channel; the secret is its author's."""

    def act(batch: Batch) -> None:
        row = batch.connection.execute(
            select(ATTACHMENT.c.key, ATTACHMENT.c.token_hash, ATTACHMENT.c.delete_hash).where(
                ATTACHMENT.c.attachment == attachment, ATTACHMENT.c.expires_at > batch.now
            )
        ).one_or_none()
        if row is None or not hmac.compare_digest(row.token_hash, sha256(token)):
            raise unauthorized()
        if not hmac.compare_digest(row.delete_hash, sha256(secret)):
            raise Refusal(Problem.NOT_FOUND, "There is no attachment of this id that this secret deletes.")
        erase_attachments(batch, ATTACHMENT.c.key == row.key)

    return act
