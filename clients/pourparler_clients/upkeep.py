"""What a device owes the channel without being asked, computed anew whenever it could be sent.

1. Attest whom its own runs have accepted.
2. Let take effect what everybody who has to has approved; send its part of a joint release (`signing.py`)
   and of a round of ideas (`rounds.py`).
3. Vote absent, by its own clock, who has been silent for longer than the charter allows: a vote, not a judgement.
4. Take leaves out of the group that have to go, and put an approved charter in force.
5. Show that it is there, by new keys, before the others would find it absent: also a device that only reads.

Everything is tried on the fold first: what would be void is not sent. DESIGN 3, 4.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from pourparler_policies import charter, fold, release
from pourparler_policies.errors import Unknown, Void
from pourparler_policies.fold.events import Absent, Attested, Commit, Enacted, Entry, Event
from pourparler_policies.fold.facts import Admit, Amend, Phase, Replace, State
from pourparler_policies.fold.standing import body_of, by_credential
from pourparler_policies.limits import HOUR
from pourparler_policies.payload import MAX_EVENTS
from pourparler_policies.release.decoding import Act
from pourparler_policies.release.events import entry

if TYPE_CHECKING:
    from .log import Log
    from .signing import Signing

# Who is in one of these phases goes by a commit of whoever comes first; the unattested go by a person's act alone.
_TO_GO: Final = frozenset({Phase.LEAVING, Phase.HOLDING, Phase.STRANDED})


def due_acts(log: Log, now: int) -> list[Act]:
    """Events to be posted now, at most MAX_EVENTS, each of which would count."""
    state = log.folded
    author = by_credential(state.consent, log.row.credential)
    if author is None:
        return []
    made: list[Act] = []
    counter, consent = author.counter, state.consent
    owed = (
        *_attestations(log, consent),
        *_agreed(consent),
        *_silent(log, consent, now),
        *log.signing.acts(),
        *log.rounds.acts(),
    )
    for event in owed:
        counter += 1
        try:
            state = release.apply(state, entry(log.row.cursor + 1, now, log.row.credential, event, counter))
        except (Void, Unknown):
            counter -= 1
        else:
            made.append(event)
        if len(made) == MAX_EVENTS:
            break
    return made


def _attestations(log: Log, state: State) -> Iterator[Event]:
    own = state.devices.get(log.own_card.fingerprint)
    for meeting in log.store.meetings().values():
        peer = by_credential(state, meeting.credential)
        if meeting.accepted and peer is not None and own is not None and peer.card not in own.met:
            yield Attested(meeting.credential)


def _agreed(state: State) -> Iterator[Event]:
    for digest, held in state.open.items():
        if not isinstance(held.subject, Admit | Replace | Amend):  # these take effect with their commit
            yield Enacted(digest)


def _silent(log: Log, state: State, now: int) -> Iterator[Event]:
    limit = log.charter.retention.absence
    for member in log.members.values():
        device = by_credential(state, member.credential)
        if device is None or device.phase is not Phase.PRESENT or now - member.heard <= limit:
            continue
        own = by_credential(state, log.row.credential)
        if own is not None and body_of(state, own) not in device.absent:
            yield Absent(member.credential)


def due_removals(log: Log, now: int) -> tuple[bytes, ...]:
    """Credentials of leaves that a commit of this device may and should remove now."""
    state = log.consent
    chosen: list[bytes] = []
    for device in state.devices.values():
        if not device.credential or device.credential == log.row.credential:
            continue
        if device.phase in _TO_GO or (device.phase is Phase.PRESENT and device.absent):
            commit = Commit(("remove",), (), (*chosen, device.credential))
            try:
                fold.apply(state, Entry(log.row.cursor + 1, now, log.row.credential, commit))
            except Void:
                continue
            chosen.append(device.credential)
    return tuple(chosen)


def due_charter(log: Log, now: int) -> bytes | None:
    """The hash (32 bytes) of a charter that every party has approved and that this device may put in force."""
    state = log.consent
    for held in state.open.values():
        if not isinstance(held.subject, Amend):
            continue
        amended = charter.decode(held.subject.charter).hash
        commit = Commit(("group_context_extensions",), charter=amended)
        try:
            fold.apply(state, Entry(log.row.cursor + 1, now, log.row.credential, commit))
        except (Void, Unknown):
            continue
        return amended
    return None


def due_hour(log: Log, part: Signing, now: int) -> bool:
    """Whether the log has yet to learn that an hour of a joint release has come: only its entries have its time.

    It is that of an appointment that begins, of a case of which nothing comes, or of a hushed desk. A renewal of keys
    says so, as anything does. Once, and then once an hour: this clock may be fast.
    """
    hour, since = part.moment(), log.row.updated_at
    return log.consent.time < hour <= now and (since < hour or now - since > HOUR)


def due_presence(log: Log, now: int) -> bool:
    """Whether this device should renew its leaf so that nobody finds it absent: somebody has, or half the time is over.

    A renewal undoes every vote (docs/consent.md, 6.2).
    """
    own = log.consent.devices.get(log.own_card.fingerprint)
    if own is None or own.phase is not Phase.PRESENT:
        return False
    return bool(own.absent) or now - log.row.updated_at > log.charter.retention.absence // 2
