"""Which change of a channel's membership counts: one table of MLS proposals, all else void.

What judges here is the log alone, so that every member judges alike. Consent of every party and attestation are
not asked yet: a member of the channel may seat a card, and who said "leaving" may be removed by anyone.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .errors import Misuse, Void
from .payload import Event, Seated, check_name

CREDENTIAL_BYTES = 16


@dataclass(frozen=True, slots=True)
class Member:
    """One device as the channel's log presents it."""

    credential: bytes
    device: bytes
    name: str
    fingerprint: bytes
    leaving: bool = False


Roster = Mapping[bytes, Member]  # by credential


def roster_digest(members: Iterable[Member]) -> bytes:
    """SHA-256 over who the members are, 32 bytes: in the running hash, so that nobody is told another roster."""
    hashed = hashlib.sha256(b"pourparler roster v1")
    for member in sorted(members, key=lambda one: one.credential):
        name, leaving = member.name.encode(), bytes([member.leaving])
        for part in (member.credential, member.device, name, member.fingerprint, leaving):
            hashed.update(len(part).to_bytes(4, "big") + part)
    return hashed.digest()


@dataclass(frozen=True, slots=True)
class Commit:
    """What an MLS commit would do: credentials of the devices concerned, and proposals by their RFC 9420 name."""

    committer: bytes
    proposals: tuple[str, ...]
    added: tuple[bytes, ...] = ()
    removed: tuple[bytes, ...] = ()
    updated: tuple[tuple[bytes, bytes], ...] = ()  # credential of the leaf before, and after
    events: Sequence[Event] = field(default=())


def _judge_add(commit: Commit, roster: Roster) -> None:
    seated = {event.credential: event for event in commit.events if isinstance(event, Seated)}
    if len(commit.added) != 1:
        raise Void("one device is seated at a time")
    (credential,) = commit.added
    if len(credential) != CREDENTIAL_BYTES or credential in roster:
        raise Void("a new device has a new credential of 16 bytes")
    if set(seated) != {credential}:
        raise Void("who is added must be named, and nobody else")
    event = seated[credential]
    try:
        canonical = check_name(event.name)
    except Misuse as error:
        raise Void(str(error)) from None
    if canonical != event.name:
        raise Void("the new device's name is not in its canonical form")
    if any(event.device == member.device for member in roster.values()):
        raise Void("a new device has a new number")


def _judge_remove(commit: Commit, roster: Roster) -> None:
    for credential in commit.removed:
        if credential not in roster or not roster[credential].leaving:
            raise Void("somebody would be put out who has not asked to leave")


def _judge_update(commit: Commit, roster: Roster) -> None:
    for before, after in commit.updated:
        # Else a member could take another's place in the roster, and speak in its name.
        if before != after or before not in roster:
            raise Void("a device's credential may not change")


# RFC 9420, 12.1: proposal -> what makes it valid. A proposal type that is not here is void.
TABLE: Mapping[str, Callable[[Commit, Roster], None]] = {
    "add": _judge_add,
    "remove": _judge_remove,
    "update": _judge_update,
}


def judge(commit: Commit, roster: Roster) -> dict[bytes, Member]:
    """The roster after the commit. Raises Void with the reason when the rules do not have it."""
    for proposal in commit.proposals:
        if proposal not in TABLE:
            raise Void(f"the rules of this channel have no {proposal} proposal")
    if any(not isinstance(event, Seated) for event in commit.events):
        raise Void("a commit explains only whom it seats")
    if not commit.added and commit.events:
        raise Void("somebody is named who is not added")
    # A commit's own path updates without a proposal; the other two are judged by what they do, named or not.
    does = {"add": bool(commit.added or commit.events), "remove": bool(commit.removed), "update": True}
    for proposal, rule in TABLE.items():
        if proposal in commit.proposals or does[proposal]:
            rule(commit, roster)
    after = {credential: member for credential, member in roster.items() if credential not in commit.removed}
    for event in commit.events:
        if isinstance(event, Seated):
            after[event.credential] = Member(event.credential, event.device, event.name, event.fingerprint)
    return after
