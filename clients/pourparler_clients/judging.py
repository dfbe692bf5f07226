"""Whether an authentic entry counts, and the state after it: asked alike of others' entries and of one's own.

What is void here is void for every member: only the entry, the log before it and the rules are looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pourparler_crypto.card import Card
from pourparler_crypto.mls import CHARTER, Group, StagedCommit
from pourparler_crypto.mls.proposals import NAMES
from pourparler_policies import release
from pourparler_policies.admission import Change, Member, read_commit, roster_after
from pourparler_policies.errors import Void
from pourparler_policies.fold.events import Commit, Entry
from pourparler_policies.fold.talk import check_said
from pourparler_policies.payload import Act, Attached, Beside, Envelope, Said, Seated, Shuttle, Sounding
from pourparler_policies.release.decoding import Act as Event
from pourparler_policies.release.events import Remark, Words
from pourparler_policies.release.events import entry as place
from pourparler_policies.release.facts import State
from pourparler_policies.shuttle import author_of, check_author
from pourparler_policies.sounding.events import decode_event as decode_sounding

Roster = Mapping[bytes, Member]


@dataclass(frozen=True, slots=True)
class Judged:
    """An entry that counts. `acts` are its procedure events with the states before them, and why any is void."""

    envelope: Envelope
    state: State
    commit: Commit | None = None
    acts: list[tuple[Event, State, str]] = field(default_factory=list)


def judge_application(state: State, envelope: Envelope, author: bytes, seq: int, received_at: int) -> Judged:
    """Raises Void, or Unknown for an event of another version."""
    if author not in {device.credential for device in state.consent.devices.values()}:
        raise Void("nobody in the group wrote this")
    acts = []
    for event in envelope.events:
        if isinstance(event, Said | Attached):
            check_said(state.consent, author)
        if isinstance(event, Beside) and isinstance(event.event, Words | Remark):
            check_said(state.consent, author)
        if isinstance(event, Shuttle):
            check_said(state.consent, author)
            check_author(author_of(state.consent, author), event.event)
        if isinstance(event, Sounding):
            decode_sounding(event.content)  # its own fold judges the rest; an unknown kind halts here
        if isinstance(event, Act):
            act, before = event.event, state
            outcome = release.step(state, place(seq, received_at, author, act, event.counter))
            state = outcome.state
            acts.append((act, before, outcome.void))
    return Judged(envelope, state, acts=acts)


def judge_commit(
    state: State,
    roster: Roster,
    group: Group,
    staged: StagedCommit,
    envelope: Envelope,
    seq: int,
    received_at: int,
) -> Judged:
    """`group` is in the epoch in which the commit was sent. Raises Void or Unknown."""
    if any(kept.ref is not None for kept in staged.proposals):
        # Who was away may have missed a proposal that travelled alone, and could not follow the commit.
        raise Void("a commit holds its proposals itself")
    seated = seated_by(envelope)
    for event in seated:
        if Card(event.name, event.public).fingerprint != event.fingerprint:
            raise Void("the card of a new device has another fingerprint")
    credentials = {member.leaf: member.credential for member in group.members}
    change = Change(
        proposals=tuple(NAMES[kept.proposal.kind] for kept in staged.proposals),
        added=tuple(member.credential for member in staged.added),
        removed=tuple(member.credential for member in staged.removed),
        updated=tuple((credentials[m.leaf], m.credential) for m in staged.updated),
        extensions=staged.extensions,
    )
    commit = read_commit(change, seated, roster, CHARTER)
    entry = Entry(seq, received_at, credentials[staged.sender], commit)
    return Judged(envelope, release.apply(state, entry), commit)


def seated_by(envelope: Envelope) -> list[Seated]:
    """Whom a commit's envelope seats."""
    return [event for event in envelope.events if isinstance(event, Seated)]


def roster_of(judged: Judged, roster: Roster, group: Group) -> dict[bytes, Member]:
    """The roster after a commit that counts; `group` is in the epoch that it began."""
    if judged.commit is None:
        return dict(roster)
    after = roster_after(judged.commit, seated_by(judged.envelope), roster)
    renewed = {*judged.commit.updated, *(added.credential for added in judged.commit.added)}
    for leaf in group.members:
        if leaf.credential in renewed:
            after[leaf.credential] = after[leaf.credential].renewed(leaf.signature_key, judged.state.consent.time)
    return after
