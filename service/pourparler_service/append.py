"""Appending an entry: the checks of DESIGN 4.1, in the order that the wire promises.

token → form → entry id (a retry) → count → handshake head → budget → caps → admission → store

The token and the form were checked when the request came in; whether the token still lives is checked again here,
inside the transaction. Nothing is written or spent before the last check passed.
"""

import hashlib
import struct
from typing import Final

from sqlalchemy import insert, select

from pourparler_policies import limits, wire
from pourparler_policies.charter.document import PROCEDURE_MARGIN
from pourparler_policies.wire import Problem

from .acts import check_room
from .caps import Caps
from .paces import spend
from .problems import Refusal
from .state import ChannelState, DeviceState, Frame, Receipt
from .tables import BOX, DEVICE, SLOT, UNUSED, new_key
from .writer import Batch, DeviceDraft

WELCOME_SLOT: Final = limits.BOX_SLOTS - 1  # the last of an invitation's deposits

_NUMBERS: Final = struct.Struct(">?QQQ?")
_RECEIPT: Final = struct.Struct(">QQQ")


def digest(request: wire.Append) -> bytes:
    """32 bytes over every field of the request: a retry has the same, another entry under its id does not."""
    fixed = (
        request.entry,
        request.delete_hash,
        _NUMBERS.pack(
            request.handshake, request.life, request.handshake_head, request.count, request.admit is not None
        ),
    )
    hashed = hashlib.sha256(b"".join(fixed))
    if request.admit is not None:
        one = request.admit
        hashed.update(one.device + one.token_hash + one.box + len(one.welcome).to_bytes(8, "big") + one.welcome)
    hashed.update(request.sealed)
    return hashed.digest()


def check_size(sealed: bytes) -> None:
    """A length that is no bucket says too much, and is refused as malformed."""
    if len(sealed) not in limits.BUCKETS:
        raise Refusal(
            Problem.MALFORMED, f"Sealed bytes have one of these lengths: {', '.join(map(str, limits.BUCKETS))}."
        )


class Append:
    """One append, as an act of the writer."""

    __slots__ = ("_caps", "_channel", "_device", "_digest", "_mark", "_mask", "_request")

    def __init__(
        self, channel: ChannelState, device: DeviceState, token: bytes, request: wire.Append, caps: Caps
    ) -> None:
        self._channel, self._device, self._request, self._caps = channel, device, request, caps
        self._digest = digest(request)
        # Keyed with the token, so that the device's row and the entry's row cannot be joined without it: the mark
        # knows a retry, the mask hides the receipt, whose seq would name the entry.
        self._mark = hashlib.sha256(token + self._digest).digest()
        self._mask = int.from_bytes(hashlib.sha256(b"receipt" + token + self._digest).digest()[: _RECEIPT.size])

    def foreseen(self) -> tuple[int, int, bytes]:
        """Keys of the channel and of the device, and the entry's id: what it will look up."""
        return self._channel.key, self._device.key, self._request.entry

    def __call__(self, batch: Batch) -> Receipt:
        """Check, then store. Raises Refusal, and KeyNeeded."""
        request, device, channel = self._request, self._device, self._channel
        batch.require_living(channel, device)
        drafted = batch.device(device)
        retried = self._retry(batch, drafted)
        if retried is not None:
            return retried
        if request.count != drafted.count + 1:
            raise Refusal(Problem.WRONG_COUNT, count=drafted.count)
        draft = batch.channel(channel)
        if request.handshake_head != draft.handshake_head:
            raise Refusal(Problem.STALE, handshake_head=draft.handshake_head)
        spent = self._budget(drafted, batch.now) if request.handshake else drafted.handshakes
        size = self._check_caps(batch)
        received_at = max(int(batch.now), draft.received_at)
        expires_at = received_at + self._life()
        stored, key_end = request.sealed, None
        if not request.handshake:
            keys = batch.outside.keys
            key_end = keys.end(expires_at, request.life)
            stored = keys.seal(key_end, channel.channel + request.entry, stored)
        seq = draft.head + 1
        if request.admit is not None:
            self._admit(batch, request.admit, seq, received_at)

        batch.add_bytes(channel.key, size)
        receipt = Receipt(seq, received_at, expires_at)
        batch.dirty = True
        batch.entries[(channel.key, request.entry)] = (
            batch.places.place(stored, key_end or expires_at, expires_at - received_at),
            channel.key,
            seq,
            request.entry,
            request.handshake,
            received_at,
            receipt.expires_at,
            request.delete_hash,
            self._digest,
            key_end,
        )
        draft.head, draft.received_at = seq, received_at
        if request.handshake:
            draft.handshake_head = seq
            drafted.handshakes, drafted.handshakes_at = spent, batch.now
        draft.frames.append(Frame(seq, receipt.expires_at, self._encode(receipt)))
        drafted.count, drafted.mark, drafted.receipt = (
            request.count,
            self._mark,
            self._masked(_RECEIPT.pack(*receipt)),
        )
        return receipt

    def _retry(self, batch: Batch, drafted: DeviceDraft) -> Receipt | None:
        """The receipt of the same append, if it was accepted before. Raises Refusal for another one of its id."""
        if self._mark == (drafted.mark or drafted.last_mark):
            masked = drafted.receipt if drafted.mark else drafted.last_receipt
            return Receipt(*_RECEIPT.unpack(self._masked(masked or bytes(_RECEIPT.size))))
        seen = batch.seen(self._channel.key, self._request.entry)
        if seen is None:
            return None
        receipt, found = seen
        if found != self._digest:
            raise Refusal(Problem.ID_REUSED)
        return receipt

    def _masked(self, receipt: bytes) -> bytes:
        return (int.from_bytes(receipt) ^ self._mask).to_bytes(_RECEIPT.size)

    def _budget(self, drafted: DeviceDraft, now: float) -> float:
        """What the device has spent of its handshakes after this one. Raises Refusal with the time to wait.

        Kept in memory only: a service that restarts gives every device a full burst.
        """
        if now < drafted.handshakes_at:  # the clock was set back: count from here
            drafted.handshakes_at = drafted.state.handshakes_at = now
        return spend(
            drafted.handshakes,
            now - drafted.handshakes_at,
            limits.HANDSHAKE_REFILL,
            self._caps.handshake_burst,
            "This device has posted too many handshakes.",
        )

    def _check_caps(self, batch: Batch) -> int:
        """Raise Refusal for more than the operator allows. Returns how many bytes the append adds."""
        request, caps = self._request, self._caps
        if request.life > caps.longest_life:
            raise Refusal(Problem.OVER_CAP, f"Entries live at most {caps.longest_life} seconds here.")
        sizes = [len(request.sealed), len(request.admit.welcome) if request.admit else 0]
        if max(sizes) > caps.largest_entry:
            raise Refusal(Problem.OVER_CAP, f"Sealed bytes are at most {caps.largest_entry} here.")
        check_room(batch, self._channel.key, sum(sizes), caps, handshake=request.handshake)
        return sum(sizes)

    def _admit(self, batch: Batch, admit: wire.Admit, seq: int, received_at: int) -> None:
        """Store the new device and its Welcome in the transaction of its Add (#15)."""
        channel = self._channel
        known = select(DEVICE.c.device, DEVICE.c.token_hash).where(DEVICE.c.channel_key == channel.key)
        rows = batch.connection.execute(known).all()
        if any(admit.device == row.device or admit.token_hash == row.token_hash for row in rows):
            raise Refusal(Problem.ID_REUSED, "The channel has a device of this id or token.")
        if len(rows) >= self._caps.devices_a_channel:
            raise Refusal(Problem.OVER_CAP, f"A channel has at most {self._caps.devices_a_channel} devices here.")
        box = batch.connection.execute(
            select(BOX.c.key, BOX.c.expires_at, BOX.c.life).where(
                BOX.c.box == admit.box, BOX.c.channel_key == channel.key, BOX.c.expires_at > batch.now
            )
        ).one_or_none()
        if box is None:
            raise Refusal(Problem.NOT_FOUND, "The box for the Welcome is not open.")
        taken = select(SLOT.c.slot).where(SLOT.c.box_key == box.key, SLOT.c.slot == WELCOME_SLOT)
        if batch.connection.execute(taken).first() is not None:
            raise Refusal(Problem.ID_REUSED, "The box holds a Welcome already.")

        connection = batch.changed()
        place = batch.places.place(admit.welcome, box.expires_at, box.life)
        connection.execute(insert(SLOT).values(box_key=box.key, slot=WELCOME_SLOT, body_key=place))
        inserted = connection.execute(
            insert(DEVICE).values(
                channel_key=channel.key,
                device=admit.device,
                token_hash=admit.token_hash,
                first_seq=seq,  # the newcomer sees its own Add, and nothing before it
                last_day=received_at // limits.DAY,
                **UNUSED,
            )
        )
        state = DeviceState(
            key=new_key(inserted),
            device=admit.device,
            token_hash=admit.token_hash,
            first_seq=seq,
            count=0,
            last_day=received_at // limits.DAY,
            last_mark=None,
            last_receipt=None,
            handshakes=self._caps.spent_by_newcomers,
            handshakes_at=batch.now,
        )
        batch.effects.append(lambda: channel.add_device(state))
        batch.turned.add(channel.key)

    def _life(self) -> int:
        """Seconds. What changes a channel stays until every device that is not out by its absence has read it.

        Else a member could post it with a life of a second, and whoever was away for two would hold another state.
        """
        if not self._request.handshake:
            return self._request.life
        return max(self._request.life, self._channel.absence_limit + PROCEDURE_MARGIN)

    def _encode(self, receipt: Receipt) -> bytes:
        entry = wire.Entry(
            seq=receipt.seq,
            entry=self._request.entry,
            handshake=self._request.handshake,
            sealed=self._request.sealed,
            received_at=receipt.received_at,
            expires_at=receipt.expires_at,
        )
        return entry.model_dump_json().encode()
