"""From an MLS commit and what explains it to what the fold judges; and the roster that goes with the fold's state.

The fold (`fold/`) knows cards by their fingerprint and leaves by their credential. What a device needs besides, to
reach and to attest another (its number at the service, its card, its leaf keys), stands in the roster. Both are
covered by the running hash, so nobody is told other members than the rest.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from .errors import Misuse, Void
from .fold.events import Commit
from .payload import Seated, check_name
from .release import State
from .release import digest as state_digest

CREDENTIAL_BYTES: Final = 16
KEPT_KEYS: Final = (
    64  # a leaf's newest signature keys: with one new key a day, a complaint of two months ago verifies
)


@dataclass(frozen=True, slots=True)
class Member:
    """One device of the group.

    credential   16 bytes, of its MLS leaf
    device       16 bytes, its number at the service
    name, public of its card; `fingerprint` is the card's, 32 bytes
    keys         signature keys of its leaf, 32 bytes each, each put there by a valid commit; the current one last
    heard        received_at of the newest valid commit that renewed its leaf, or of its Add
    """

    credential: bytes
    device: bytes
    name: str
    public: bytes
    fingerprint: bytes
    keys: tuple[bytes, ...] = ()
    heard: int = 0

    def renewed(self, key: bytes, received_at: int) -> "Member":
        """The member after a valid renewal of its leaf."""
        keys = self.keys if self.keys and self.keys[-1] == key else (*self.keys, key)[-KEPT_KEYS:]
        return replace(self, keys=keys, heard=max(self.heard, received_at))


Roster = Mapping[bytes, Member]  # by credential


def procedure_digest(state: State, members: Iterable[Member], complaints: Mapping[int, bytes]) -> bytes:
    """SHA-256 over the folded state, the roster, and the keys of complaints by epoch; 32 bytes.

    It is in the running hash at each procedure entry: whoever was told otherwise is noticed.
    """
    hashed = hashlib.sha256(b"pourparler procedure v2" + state_digest(state))
    for member in sorted(members, key=lambda one: one.credential):
        parts = (member.credential, member.device, member.name.encode(), member.public, member.fingerprint)
        for part in (*parts, member.heard.to_bytes(8, "big"), b"".join(member.keys)):
            hashed.update(len(part).to_bytes(4, "big") + part)
    for epoch, key in sorted(complaints.items()):
        hashed.update(epoch.to_bytes(8, "big") + key)
    return hashed.digest()


@dataclass(frozen=True, slots=True)
class Change:
    """What an MLS commit would do: credentials of the leaves concerned, proposals by their RFC 9420 name.

    `extensions` is the group context's whole new list when the commit changes it; `charter` its type number here.
    """

    proposals: tuple[str, ...]
    added: tuple[bytes, ...] = ()
    removed: tuple[bytes, ...] = ()
    updated: tuple[tuple[bytes, bytes], ...] = ()  # credential of the leaf before, and after
    extensions: tuple[tuple[int, bytes], ...] | None = None


def read_commit(change: Change, seated: Sequence[Seated], roster: Roster, charter_type: int) -> Commit:
    """The commit as the fold judges it. Raises Void when it does not say exactly what it does."""
    for before, after in change.updated:
        # Else a member could take another's place in the roster, and speak in its name.
        if before != after or before not in roster:
            raise Void("a device's credential may not change")
    if sorted(change.added) != sorted(event.credential for event in seated):
        raise Void("who is added must be named, and nobody else")
    for event in seated:
        _check_seated(event, roster)
    return Commit(
        proposals=tuple(dict.fromkeys(change.proposals)),
        added=tuple(event.added for event in seated),
        removed=change.removed,
        updated=tuple(before for before, _ in change.updated),
        charter=_charter(change, charter_type),
    )


def _charter(change: Change, charter_type: int) -> bytes | None:
    if change.extensions is None:
        return None
    if len(change.extensions) != 1 or change.extensions[0][0] != charter_type:
        raise Void("the group context holds the charter's hash, and nothing else")
    return change.extensions[0][1]


def _check_seated(event: Seated, roster: Roster) -> None:
    if event.credential in roster:
        raise Void("a new device has a new credential")
    if any(event.device == member.device for member in roster.values()):
        raise Void("a new device has a new number")
    try:
        canonical = check_name(event.name)
    except Misuse as error:
        raise Void(str(error)) from None
    if canonical != event.name:
        raise Void("the new device's name is not in its canonical form")


def roster_after(commit: Commit, seated: Sequence[Seated], roster: Roster) -> dict[bytes, Member]:
    """The roster after a valid commit; keys of leaves are the caller's to add, who has the MLS tree."""
    after = {credential: member for credential, member in roster.items() if credential not in commit.removed}
    for event in seated:
        after[event.credential] = Member(
            event.credential, event.device, event.name, event.public, event.fingerprint
        )
    return after
