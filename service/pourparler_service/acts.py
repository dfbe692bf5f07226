"""Everything else that changes the database: channels, tokens, deletions, boxes, grants.

Each function is one act of the writer: `act(batch)` checks, then writes, all inside the batch's transaction.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Table, case, delete, func, insert, select, update

from pourparler_policies import limits, wire
from pourparler_policies.charter.document import PROCEDURE_MARGIN
from pourparler_policies.wire import Problem

from .caps import Caps
from .halves import owner
from .problems import Refusal, unauthorized
from .state import ChannelState, DeviceState, Registry
from .storagekeys import OVERHEAD
from .tables import (
    ATTACHMENT,
    BODY,
    BOX,
    CHANNEL,
    CLOSED,
    DEVICE,
    ENTRY,
    GRANT,
    PACKET,
    ROUND,
    SLOT,
    UNUSED,
    VOTE,
    closed_name,
    new_key,
)
from .writer import Batch

PURGE_ROWS: Final = 1000  # rows deleted in one batch, so that nobody waits long behind a purge
PURGING, SWEEPING = 1, 2  # kinds of work that one process at a time does
LOST_ROWS: Final = 20_000  # the same before anything is served


def sha256(data: bytes) -> bytes:
    """SHA-256, 32 bytes."""
    return hashlib.sha256(data).digest()


def create_channel(grant: bytes, request: wire.CreateChannel, caps: Caps) -> Callable[[Batch], None]:
    """Use a grant once; the identical request again is harmless."""
    mark = sha256(
        grant + request.channel + request.device + request.token_hash + request.absence_limit.to_bytes(8, "big")
    )

    def act(batch: Batch) -> None:
        connection = batch.connection
        held = select(GRANT).where(GRANT.c.grant_hash == sha256(grant)).with_for_update()
        row = connection.execute(held).one_or_none()
        if row is None:
            raise unauthorized()
        if row.used_mark is not None:
            exists = connection.execute(select(CHANNEL.c.key).where(CHANNEL.c.channel == request.channel)).first()
            if not hmac.compare_digest(row.used_mark, mark) or exists is None:
                raise Refusal(Problem.GRANT_USED)
            return
        if row.expires_at is not None and row.expires_at <= batch.now:
            raise unauthorized()
        if request.absence_limit > caps.longest_absence:
            raise Refusal(Problem.OVER_CAP, f"The absence limit is at most {caps.longest_absence} seconds here.")
        if connection.execute(select(CHANNEL.c.key).where(CHANNEL.c.channel == request.channel)).first():
            raise Refusal(Problem.ID_REUSED)
        if connection.execute(select(CLOSED).where(CLOSED.c.name == closed_name(request.channel))).first():
            raise Refusal(Problem.CLOSED)
        connection = batch.changed()
        connection.execute(update(GRANT).where(GRANT.c.grant_hash == row.grant_hash).values(used_mark=mark))
        inserted = connection.execute(
            insert(CHANNEL).values(
                channel=request.channel,
                absence_limit=request.absence_limit,
                head=0,
                handshake_head=0,
                received_at=0,
                stored=0,
            )
        )
        connection.execute(
            insert(DEVICE).values(
                channel_key=new_key(inserted),
                device=request.device,
                token_hash=request.token_hash,
                first_seq=1,
                last_day=int(batch.now) // limits.DAY,
                **UNUSED,
            )
        )

    return act


def touch(device: DeviceState, day: int) -> Callable[[Batch], None]:
    """Remember the day of a device's last use."""

    def act(batch: Batch) -> None:
        this = (DEVICE.c.key == device.key) & (DEVICE.c.last_day < day)  # another process may know of a later one
        batch.changed().execute(update(DEVICE).where(this).values(last_day=day))

    return act


def end_device(registry: Registry, channel: ChannelState, device: DeviceState) -> Callable[[Batch], None]:
    """End a token at its own wish. The last one to go takes the channel with it."""

    def act(batch: Batch) -> None:
        batch.require_living(channel, device)
        _end(batch, registry, channel.key, [device.key])

    return act


def revoke(
    registry: Registry, channel: ChannelState, voter: DeviceState, target_id: bytes
) -> Callable[[Batch], bool]:
    """Record that `voter` wants a token ended. True when it ended: more than half of the others have asked (#27).

    Every living token but the target's is one of the others and has one voice, whenever it was admitted; the voice
    of an ended token is gone. So one member alone ends a token only where the two are alone.

    What this does not prevent: the service cannot tell a device of a member from one that a member seated with a
    junk handshake. Who seats as many devices as there are others can end the others' tokens, and can keep its own
    from being ended; its handshake budget and `devices_a_channel` slow it and bound it. It gains no more than
    posting the end of the channel would give it: the others found a new one. Voices by seniority were weighed and
    left: if only older tokens vote, nobody ends the founder's and the founder alone ends everybody's, one after
    the other; if all may vote where no older token is left, junk ends the oldest first and so all; and a veto of
    the oldest keeps the tokens of devices alive that were seized together. Remembering who admitted whom would
    leave the web of invitations on the disk.
    """

    def act(batch: Batch) -> bool:
        batch.require_living(channel, voter)
        connection = batch.connection
        living = {
            row.device: row.key
            for row in connection.execute(
                select(DEVICE.c.key, DEVICE.c.device).where(DEVICE.c.channel_key == channel.key)
            )
        }
        target = living.get(target_id)
        if target is None:
            raise Refusal(Problem.NOT_FOUND)
        if target == voter.key:
            raise Refusal(Problem.MALFORMED, "A device ends its own token at its own place, not by a vote.")
        voted = set(connection.execute(select(VOTE.c.voter_key).where(VOTE.c.target_key == target)).scalars())
        if voter.key not in voted:
            batch.changed().execute(insert(VOTE).values(target_key=target, voter_key=voter.key))
        others = len(living) - 1
        if 2 * len(voted | {voter.key}) <= others:
            return False
        _end(batch, registry, channel.key, [target])
        return True

    return act


def _end(batch: Batch, registry: Registry, channel_key: int, device_keys: list[int]) -> None:
    """Delete tokens; a channel that nobody can reach any more is erased."""
    batch.hold(channel_key)
    connection = batch.changed(scrub=True)
    batch.ended.update(device_keys)
    batch.turned.add(channel_key)
    tokens = select(CHANNEL.c.channel, DEVICE.c.token_hash).join(DEVICE, DEVICE.c.channel_key == CHANNEL.c.key)
    owners = [owner(*row) for row in connection.execute(tokens.where(DEVICE.c.key.in_(device_keys)))]
    batch.effects.append(lambda: batch.outside.halves.forget(owners))
    connection.execute(delete(DEVICE).where(DEVICE.c.key.in_(device_keys)))
    left = connection.execute(select(func.count()).where(DEVICE.c.channel_key == channel_key)).scalar_one()
    if not left:
        _erase_entries(batch, ENTRY.c.channel_key == channel_key)
        _erase_boxes(batch, BOX.c.channel_key == channel_key)
        erase_attachments(batch, ATTACHMENT.c.channel_key == channel_key)
        _erase_rounds(batch, ROUND.c.channel_key == channel_key)
        _close(batch, channel_key)

    def publish() -> None:
        state = registry.peek(channel_key)
        if state is None:
            return
        if not left:
            registry.forget(state)
            return
        for device in [one for one in state.by_id.values() if one.key in device_keys]:
            state.end_device(device)

    batch.effects.append(publish)


def _close(batch: Batch, channel_key: int) -> None:
    """Of a channel whose last token ended nothing is left but that its id is refused, and that expires too.

    No single member can bring that about while others have tokens: each ends its own, or is voted out as `revoke` says.
    """
    connection = batch.changed(scrub=True)
    row = connection.execute(select(CHANNEL).where(CHANNEL.c.key == channel_key)).one()
    connection.execute(delete(CHANNEL).where(CHANNEL.c.key == channel_key))
    # By then every device that has not come by is out by its own finding, as its place is.
    forget_at = (int(batch.now) + row.absence_limit + PROCEDURE_MARGIN) // limits.DAY * limits.DAY + limits.DAY
    connection.execute(insert(CLOSED).values(name=closed_name(row.channel), forget_at=forget_at))


def delete_entry(channel: ChannelState, entry: bytes, secret: bytes) -> Callable[[Batch], None]:
    """End an entry before its time. Only the delete secret counts, not who brings it (#14).

    A handshake ends for nobody before its time: who was away would hold another state than the rest.
    """

    def act(batch: Batch) -> None:
        batch.hold(channel.key, channel)
        batch.flush()
        row = batch.connection.execute(
            select(ENTRY.c.key, ENTRY.c.seq, ENTRY.c.delete_hash, ENTRY.c.handshake).where(
                ENTRY.c.entry == entry, ENTRY.c.channel_key == channel.key
            )
        ).one_or_none()
        if row is None or row.handshake or not hmac.compare_digest(row.delete_hash, sha256(secret)):
            raise Refusal(Problem.NOT_FOUND, "There is no entry of this id that this secret deletes.")
        _erase_entries(batch, ENTRY.c.key == row.key)
        batch.effects.append(lambda: channel.drop(row.seq))
        batch.turned.add(channel.key)

    return act


def create_box(
    channel: ChannelState, device: DeviceState, request: wire.CreateBox, caps: Caps
) -> Callable[[Batch], None]:
    """Open a drop box. The identical request again is harmless."""

    def act(batch: Batch) -> None:
        batch.require_living(channel, device)
        connection = batch.connection
        row = connection.execute(select(BOX).where(BOX.c.box == request.box)).one_or_none()
        if row is not None:
            same = (row.channel_key, row.token_hash, row.life) == (channel.key, request.token_hash, request.life)
            if not same:
                raise Refusal(Problem.ID_REUSED)
            return
        if request.life > caps.longest_box_life:
            raise Refusal(Problem.OVER_CAP, f"Boxes live at most {caps.longest_box_life} seconds here.")
        mine = select(func.count()).where(BOX.c.device_key == device.key, BOX.c.expires_at > batch.now)
        if connection.execute(mine).scalar_one() >= caps.boxes_a_device:
            raise Refusal(Problem.OVER_CAP, f"A device has at most {caps.boxes_a_device} boxes open here.")
        batch.changed().execute(
            insert(BOX).values(
                box=request.box,
                channel_key=channel.key,
                device_key=device.key,
                token_hash=request.token_hash,
                life=request.life,
                expires_at=int(batch.now) + request.life,
            )
        )

    return act


def check_room(batch: Batch, channel_key: int, size: int, caps: Caps, *, handshake: bool = False) -> None:
    """Raise Refusal when a channel has no room for `size` more bytes.

    The last sixteenth is kept for handshakes, which have a budget: so who filled the rest can still be removed.
    """
    room = caps.bytes_a_channel - (0 if handshake else caps.bytes_a_channel // 16)
    if batch.stored(channel_key) + size > room:
        raise Refusal(Problem.OVER_CAP, f"A channel holds at most {caps.bytes_a_channel} bytes here; it is full.")


def _open_box(batch: Batch, box: bytes, token: bytes) -> Any:
    """The row of a box, which no other process changes meanwhile."""
    held = select(BOX).where(BOX.c.box == box, BOX.c.expires_at > batch.now).with_for_update()
    row = batch.connection.execute(held).one_or_none()
    if row is None or not hmac.compare_digest(row.token_hash, sha256(token)):
        raise unauthorized()
    return row


def deposit(box: bytes, token: bytes, slot: int, sealed: bytes, caps: Caps) -> Callable[[Batch], None]:
    """Write a slot once; the same bytes again are harmless."""

    def act(batch: Batch) -> None:
        row = _open_box(batch, box, token)
        batch.flush()
        found = select(BODY.c.bytes).join(SLOT, SLOT.c.body_key == BODY.c.key)
        found = found.where(SLOT.c.box_key == row.key, SLOT.c.slot == slot)
        lies = batch.connection.execute(found).scalar()
        if lies is None:
            check_room(batch, row.channel_key, len(sealed), caps)
            batch.add_bytes(row.channel_key, len(sealed))
            place = batch.places.place(sealed, row.expires_at, row.life)
            batch.changed().execute(insert(SLOT).values(box_key=row.key, slot=slot, body_key=place))
        elif lies != sealed:
            raise Refusal(Problem.ID_REUSED, "The slot was written.")

    return act


def delete_box(box: bytes, token: bytes) -> Callable[[Batch], None]:
    """Erase a box and what lies in it."""

    def act(batch: Batch) -> None:
        _erase_boxes(batch, BOX.c.key == _open_box(batch, box, token).key)

    return act


def purge() -> Callable[[Batch], bool]:
    """Delete entries, boxes, attachments, rounds that are over, `PURGE_ROWS` of each. True when there may be more."""

    def act(batch: Batch) -> bool:
        if not batch.alone(PURGING):
            return False
        batch.flush()
        erased = [
            erase(
                batch,
                table.c.key.in_(_first_over(table, batch.now)),
                over=True,
            )
            for erase, table in (
                (_erase_entries, ENTRY),
                (_erase_boxes, BOX),
                (erase_attachments, ATTACHMENT),
                (_erase_rounds, ROUND),
            )
        ]
        return PURGE_ROWS in erased

    return act


def _first_over(table: Table, now: float) -> Select[tuple[int]]:
    # In order: so an engine that does not know yet how its rows lie looks at their index, and not at all of them.
    return select(table.c.key).where(table.c.expires_at <= now).order_by(table.c.expires_at).limit(PURGE_ROWS)


def erase_lost() -> Callable[[Batch], bool]:
    """Delete what was stored under keys that are gone: a backup was put in place. True when there may be more."""

    def act(batch: Batch) -> bool:
        keys = batch.outside.keys
        erased = []
        for erase, table in ((_erase_entries, ENTRY), (_erase_rounds, ROUND), (erase_attachments, ATTACHMENT)):
            found = select(table.c.key_end).where(table.c.key_end.is_not(None)).distinct()
            ends = batch.connection.execute(found).scalars().all()
            keys.fetch(ends)
            lost = [end for end in ends if end not in keys]
            found = select(table.c.key).where(table.c.key_end.in_(lost)).limit(LOST_ROWS)
            erased.append(erase(batch, table.c.key.in_(found)))
        return LOST_ROWS in erased

    return act


def _erase_entries(batch: Batch, which: ColumnElement[bool], *, over: bool = False) -> int:
    """Erase entries and their bytes. Returns how many; `over` says that all of them are past their time."""
    batch.flush()
    size = func.length(BODY.c.bytes) - case((ENTRY.c.key_end.is_(None), 0), else_=OVERHEAD)
    found = select(ENTRY.c.key, ENTRY.c.channel_key, size).join(BODY, BODY.c.key == ENTRY.c.key)
    rows = batch.connection.execute(found.where(which)).all()
    if rows:
        batch.changed(scrub=True)
        deleted = batch.delete_entries([key for key, _, _ in rows])
        for key, channel_key, size in rows:
            if key in deleted:
                batch.add_bytes(channel_key, -size)
        batch.places.erase(deleted, over=over)
    return len(rows)


def _erase_boxes(batch: Batch, which: ColumnElement[bool], *, over: bool = False) -> int:
    """Erase boxes and what lies in them. Returns how many."""
    batch.flush()
    keys = batch.connection.execute(select(BOX.c.key).where(which).with_for_update()).scalars().all()
    if keys:
        connection = batch.changed(scrub=True)
        lie = SLOT.c.box_key.in_(keys)
        found = select(SLOT.c.body_key, BOX.c.channel_key, func.length(BODY.c.bytes)).where(lie)
        found = found.join(BOX, BOX.c.key == SLOT.c.box_key).join(BODY, BODY.c.key == SLOT.c.body_key)
        bodies = []
        for body, channel_key, size in connection.execute(found):
            batch.add_bytes(channel_key, -size)
            bodies.append(body)
        connection.execute(delete(SLOT).where(lie))
        connection.execute(delete(BOX).where(BOX.c.key.in_(keys)))
        batch.places.erase(bodies, over=over)
    return len(keys)


def _erase_rounds(batch: Batch, which: ColumnElement[bool], *, over: bool = False) -> int:
    """Erase rounds and their packets. Returns how many."""
    batch.flush()
    rows = batch.connection.execute(select(ROUND.c.key, ROUND.c.channel_key).where(which).with_for_update()).all()
    for key, channel_key in rows:
        connection = batch.changed(scrub=True)
        found = select(PACKET.c.body_key).where(PACKET.c.round_key == key)
        bodies = connection.execute(found).scalars().all()
        batch.add_bytes(channel_key, -limits.IDEA_PACKET * len(bodies))
        connection.execute(delete(PACKET).where(PACKET.c.round_key == key))
        connection.execute(delete(ROUND).where(ROUND.c.key == key))
        batch.places.erase(bodies, over=over)
    return len(rows)


def erase_attachments(batch: Batch, which: ColumnElement[bool], *, over: bool = False) -> int:
    """Erase attachments; their chunks are wiped before or when that is durable. Returns how many."""
    found = select(ATTACHMENT.c.key, ATTACHMENT.c.attachment).where(which).with_for_update()
    rows = batch.connection.execute(found).all()
    if rows:
        connection = batch.changed(scrub=True)
        batch.erase_chunks([row.key for row in rows], over=over)
        connection.execute(delete(ATTACHMENT).where(ATTACHMENT.c.key.in_([row.key for row in rows])))
        batch.effects.append(lambda: batch.outside.attachments.wipe([row.attachment for row in rows]))
    return len(rows)


def sweep(registry: Registry) -> Callable[[Batch], int]:
    """End every token that idled past its channel's limit; forget expired grants and closed channels. Returns how many
    tokens.
    """

    def act(batch: Batch) -> int:
        if not batch.alone(SWEEPING):
            return 0
        batch.flush()
        idle = batch.connection.execute(
            select(DEVICE.c.key, DEVICE.c.channel_key)
            .join_from(DEVICE, CHANNEL, DEVICE.c.channel_key == CHANNEL.c.key)
            .where((DEVICE.c.last_day + 1) * limits.DAY + CHANNEL.c.absence_limit < batch.now)
            .order_by(DEVICE.c.channel_key)
        ).all()
        by_channel: dict[int, list[int]] = {}
        for row in idle:
            by_channel.setdefault(row.channel_key, []).append(row.key)
        for channel_key, device_keys in by_channel.items():
            _end(batch, registry, channel_key, device_keys)
        for table, old in (
            (GRANT, GRANT.c.expires_at <= batch.now),
            (CLOSED, CLOSED.c.forget_at <= batch.now),
        ):
            if batch.connection.execute(select(func.count()).where(old)).scalar_one():
                batch.changed(scrub=True).execute(delete(table).where(old))
        return len(idle)

    return act
