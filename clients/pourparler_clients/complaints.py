"""A device that alone cannot process a commit complains, under a key of an epoch that it shares. DESIGN 4.1.

Here a complaint is made and folded; `dues.py` sends it. Methods that change something run inside the caller's
transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pourparler_crypto import complaint
from pourparler_crypto.errors import CryptoError, NotAuthentic, ProtocolError
from pourparler_crypto.mls import verify_signature
from pourparler_policies import release, wire
from pourparler_policies.fold.events import Complained, Entry

from . import happenings
from .happenings import Happening

if TYPE_CHECKING:
    from .log import Log


class Complaints:
    """Complaints of one log."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def key(self) -> bytes:
        """The key (32 bytes) under which a member of this epoch may complain later."""
        return self._log.group.export(complaint.EXPORT_LABEL, b"", complaint.KEY_LENGTH)

    def save(self, refused: bytes) -> None:
        """Saves a complaint about the entry `refused` (its id): this device alone cannot process its commit."""
        device = self._log.consent.devices.get(self._log.own_card.fingerprint)
        counter = (device.counter if device is not None else 0) + 1
        made = complaint.Complaint(self._log.row.credential, counter, refused)
        signature = self._log.group.sign(
            complaint.EXPORT_LABEL, made.signed(self._log.row.id, self._log.group.epoch)
        )
        made = complaint.Complaint(self._log.row.credential, counter, refused, signature)
        self._log.store.save_complaint(complaint.seal(self.key(), self._log.row.id, self._log.group.epoch, made))

    def fold(self, entry: wire.Entry) -> list[Happening]:
        """A complaint counts as said by its device, whoever brought it; what is none counts for nothing."""
        try:
            epoch = complaint.epoch_of(entry.sealed)
            key = self._log.store.complaint_keys().get(epoch)
            if key is None or not entry.handshake:
                return []
            said = complaint.open_(key, self._log.row.id, entry.sealed)
            member = self._log.members.get(said.credential)
            if member is None:
                return []
            # Who cannot follow has renewed nothing since: its key is the newest. Older ones may have been disclosed.
            self.check(said, epoch, member.keys[-1:])
        except CryptoError:
            return []
        before = self._log.consent
        place = Entry(entry.seq, entry.received_at, said.credential, Complained(), said.counter)
        self._log.settle(release.step(self._log.folded, place).state)
        return [
            *happenings.of_states(
                entry.seq,
                before,
                self._log.consent,
                self._log.members,
                self._log.members,
                self._log.own_card.fingerprint,
            )
        ]

    def check(self, said: complaint.Complaint, epoch: int, keys: tuple[bytes, ...]) -> None:
        """Raises NotAuthentic unless one of these keys of its device signed it."""
        for key in reversed(keys):
            try:
                verify_signature(
                    self._log.group.suite,
                    key,
                    complaint.EXPORT_LABEL,
                    said.signed(self._log.row.id, epoch),
                    said.signature,
                )
            except ProtocolError:
                continue
            return
        raise NotAuthentic("the complaint is not signed by a key that this device's leaf has had")
