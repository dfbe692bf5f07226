"""Deniable attestation by itself in the background, pair by pair, through locks, crashes and days (DESIGN 5).

1. A step is stored in the transaction that folded what it answers, before anything of it is sent.
2. What is sent stays the same bytes until the log holds it; the run's state goes with its end, or after 72 hours.
3. Openings are counted for each seat, whatever came of them (docs/attestation.md).

Everything here runs inside the caller's transaction. Nothing here decides who is attested for others: that is the
fold's, from the `attested` events that devices post.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pourparler_crypto import dpa
from pourparler_crypto.card import Card, CardKey
from pourparler_crypto.dpa.pair import MAX_ATTEMPT
from pourparler_crypto.errors import ProtocolError, UsageError
from pourparler_crypto.mls import Group
from pourparler_policies.admission import Member
from pourparler_policies.fold.facts import State
from pourparler_policies.payload import Attesting

from .store import ChannelStore, Meeting

MAX_TOGETHER: Final = 8  # steps in one entry: eight challenges fit 16 KiB


@dataclass(frozen=True, slots=True)
class Warned:
    """A run that ended badly: this seat did not answer as its card's owner would. It says nothing about the owner."""

    credential: bytes
    text: str


class Attestations:
    """This device's runs with the others in one channel."""

    def __init__(self, store: ChannelStore, key: CardKey, own: Card) -> None:
        self._store = store
        self._key = key
        self._own = own

    def meet(self, group: Group, own: bytes, newcomer: Member, state: State) -> None:
        """A device was seated while this one was there, or this one while it was: `own` is this leaf's credential.

        The pair is bound to the epoch that the Add began, which `group` is in, and to both leaves' keys then.
        """
        keys = {member.credential: member.signature_key for member in group.members}
        context = dpa.Context(group.group_id, group.epoch, group.tree_hash)
        try:
            pair = dpa.Pair(
                context, self._own.fingerprint, keys[own], newcomer.fingerprint, keys[newcomer.credential]
            )
        except UsageError:
            return  # it claims this device's own card: the fold has no second place for it, so nobody attests it
        self._store.put_meeting(Meeting(newcomer.credential, pair.encode()))
        device = state.devices.get(newcomer.fingerprint)
        if device is not None:
            self._store.forget_openings(device.seat)

    def drop(self, credential: bytes) -> None:
        """The other device is gone."""
        self._store.drop_meeting(credential)

    def wanting(self, now: int) -> bool:
        """Whether `due` may have something to do."""
        return any(
            meeting.queue or (_lapsed(meeting, now) if meeting.run else not meeting.accepted)
            for meeting in self._store.meetings().values()
        )

    def due(self, state: State, roster: Mapping[bytes, Member], now: int) -> list[Attesting]:
        """Steps to be sent now, at most MAX_TOGETHER. Begins runs, and begins anew what has lapsed."""
        made: list[Attesting] = []
        for kept in self._store.meetings().values():
            peer = roster.get(kept.credential)
            if peer is None:
                continue
            meeting = self._refreshed(kept, now)
            if not meeting.run and not meeting.accepted:
                meeting = self._begun(meeting, peer, state, now)
            made += [Attesting(peer=peer.credential, step=step) for step in meeting.queue]
        return made[:MAX_TOGETHER]

    def sent(self, steps: Iterable[Attesting]) -> None:
        """The log holds these steps of ours."""
        for step in steps:
            meeting = self._store.meetings().get(step.peer)
            if meeting is not None and meeting.queue[:1] == (step.step,):
                self._store.put_meeting(replace(meeting, queue=meeting.queue[1:]))

    def receive(self, sender: Member, step: bytes, state: State, now: int) -> Iterator[Warned]:
        """The next step of the device that sent it. What does not fit is ignored; it proves nothing."""
        meeting = self._store.meetings().get(sender.credential)
        if meeting is None:
            return
        try:
            kind, attempt = dpa.peek(step)
            meeting = self._refreshed(meeting, now)
            pair = dpa.Pair.decode(meeting.pair)
            if kind is dpa.Kind.CHALLENGE and (attempt > pair.attempt or not meeting.run):
                if attempt < pair.attempt or (meeting.accepted and attempt == pair.attempt):
                    return
                meeting = replace(meeting, pair=replace(pair, attempt=attempt).encode(), run=b"", queue=())
                meeting = self._begun(meeting, sender, state, now)
            if meeting.run:
                yield from self._advance(meeting, sender, step, state, now)
        except ProtocolError:
            return

    def _advance(self, meeting: Meeting, sender: Member, step: bytes, state: State, now: int) -> Iterator[Warned]:
        run = dpa.load(meeting.run)
        now = max(now, run.began)  # a clock that was set back a little must not stop the fold
        try:
            match run:
                case dpa.Challenged():
                    run = dpa.commit(run, step, own=self._own, key=self._key, now=now)
                case dpa.Committed():
                    run = dpa.reveal(run, step, now=now)
                case dpa.Revealed():
                    run = dpa.open_(run, step, now=now)
                    self._store.count_opening(_seat(state, sender))
                    if run.suspect:
                        yield Warned(sender.credential, "it did not hold to what it had sealed")
                case dpa.Opened():
                    dpa.accept(run, step, lineage=sender.keys, now=now)
                    self._end(meeting, accepted=True)
                    return
        except dpa.NotAttested:
            self._end(meeting, accepted=False)
            yield Warned(sender.credential, "it did not show that it has the key of its card")
            return
        self._store.put_meeting(replace(meeting, run=run.encode(), queue=(*meeting.queue, run.message)))

    def _end(self, meeting: Meeting, *, accepted: bool) -> None:
        # What is still in the queue goes out all the same: the peer's opening may come before ours has gone.
        pair = dpa.Pair.decode(meeting.pair)
        if not accepted and pair.attempt < MAX_ATTEMPT:
            pair = replace(pair, attempt=pair.attempt + 1)
        self._store.put_meeting(
            replace(meeting, pair=pair.encode(), run=b"", accepted=accepted or meeting.accepted)
        )

    def _begun(self, meeting: Meeting, peer: Member, state: State, now: int) -> Meeting:
        """A run with its challenge. Without one when the seat has had all the openings that it may have."""
        openings = self._store.openings(_seat(state, peer))
        if openings >= dpa.MAX_OPENINGS:
            return meeting
        card = Card(peer.name, peer.public)
        try:
            run = dpa.challenge(dpa.Pair.decode(meeting.pair), self._own, card, openings=openings, now=now)
        except ProtocolError:
            return meeting  # the card holds no key: nobody can be attested by it
        meeting = replace(meeting, run=run.encode(), queue=(*meeting.queue, run.message))
        self._store.put_meeting(meeting)
        return meeting

    def _refreshed(self, meeting: Meeting, now: int) -> Meeting:
        """Without a run that has outlived its 72 hours; the next one has the next number."""
        if meeting.run and _lapsed(meeting, now):
            self._end(replace(meeting, queue=()), accepted=False)
            return self._store.meetings()[meeting.credential]
        return meeting


def _lapsed(meeting: Meeting, now: int) -> bool:
    run = dpa.load(meeting.run)
    try:
        run.check_usable(max(now, run.began))
    except dpa.Lapsed:
        return True
    return False


def _seat(state: State, peer: Member) -> bytes:
    device = state.devices.get(peer.fingerprint)
    return device.seat if device is not None else peer.fingerprint
