"""What an authentic entry of another device says, and whether it counts, at the log's place and under its epoch's keys.

Nothing changes here. What every member can check makes an entry void (`judging.py`); Unknown is for attested devices
alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pourparler_crypto.errors import OwnMessage, ProtocolError
from pourparler_crypto.mls import ApplicationMessage, StagedCommit
from pourparler_crypto.mls.limits import MAX_FORWARD
from pourparler_crypto.stamp import open_stamp
from pourparler_policies import payload, wire
from pourparler_policies.errors import Unknown, Void
from pourparler_policies.fold import standing
from pourparler_policies.fold.facts import Phase

from .judging import Judged, judge_application, judge_commit

if TYPE_CHECKING:
    from .log import Log


class Copied(Exception):
    """What its author signed for another key: an insider's copy. It counts as not authentic, so nothing changes."""


class Entries:
    """Reads and judges entries of one log."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def read(self, entry: wire.Entry, received: ApplicationMessage | StagedCommit) -> payload.Envelope:
        """What an authentic entry says. Raises Copied, Unknown, Void or ProtocolError.

        The flag stands on commits and on the procedure's events: so the chain, and what a Welcome says of the
        members, hold at the handshake head, and no such entry can come between a commit's sealing and its place.
        """
        if received.generation is None:
            raise Void("entries travel as PrivateMessage")
        if received.generation > MAX_FORWARD:  # for who is behind it is TooFarAhead
            raise Void("an epoch has no more keys than a member who was away can skip")
        with self._unknown_from(received.sender):
            if isinstance(received, ApplicationMessage):
                envelope = payload.decode_application(received.data)
            else:
                envelope = payload.decode_commit(open_stamp(self._log.stamp_key(), received.authenticated_data))
        if envelope.key != received.generation:
            raise Copied
        if entry.handshake != (envelope.procedure or isinstance(received, StagedCommit)):
            raise Void("the entry's flag contradicts its content")
        return envelope

    def judge(
        self, entry: wire.Entry, received: ApplicationMessage | StagedCommit, envelope: payload.Envelope
    ) -> Judged:
        """What an authentic entry does, if every member may count it. Raises Unknown, Void or ProtocolError."""
        author, place = self.credential(received.sender), (entry.seq, entry.received_at)
        self._log.ending.check_renewed(author, entry.received_at)
        with self._unknown_from(received.sender):
            if isinstance(received, ApplicationMessage):
                return judge_application(self._log.folded, envelope, author, *place)
            return judge_commit(self._log.folded, self._log.members, self._log.group, received, envelope, *place)

    @contextmanager
    def _unknown_from(self, sender: int) -> Iterator[None]:
        """Void instead of Unknown from who is not attested: it has no say in any version, and so halts nobody."""
        try:
            yield
        except Unknown:
            if self.attested(self.credential(sender)):
                raise
            raise Void("what an unattested device says counts for nothing but attestation") from None

    def key_of(self, own: OwnMessage) -> int | None:
        """The number of the message key that an entry of this leaf names; None when it is no entry of this client."""
        try:
            data = open_stamp(self._log.stamp_key(), own.data) if own.handshake else own.data
            return payload.decode(data).key
        except Unknown:
            return own.generation  # a newer version has written it, from another copy
        except (Void, ProtocolError):
            return None

    def attested(self, credential: bytes) -> bool:
        """Whether a device is attested: only then it has a say."""
        device = standing.by_credential(self._log.consent, credential)
        return device is not None and device.phase is Phase.PRESENT

    def credential(self, leaf: int) -> bytes:
        """Whose leaf it is, in this epoch."""
        return next(member.credential for member in self._log.group.members if member.leaf == leaf)
