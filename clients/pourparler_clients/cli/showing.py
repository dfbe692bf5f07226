"""How messages and happenings are shown.

A name that could be taken for another carries the first digits of its card.
"""

import argparse
import re
import unicodedata
from collections.abc import Container, Iterable, Mapping
from typing import Any, Final

from pourparler_crypto.card import check_digits
from pourparler_policies.admission import Member
from pourparler_policies.release.device import Stage

from ..channel import Channel
from ..happenings import Happening
from ..invitations import Progress
from ..messages import Message
from ..store import State
from ..subjects import code_of, describe
from . import soundlines
from .carried import show_carried
from .common import emit, local_time, plain, say_duration
from .filelines import file_line, file_record

_GONE: Final = "somebody who has left"
_OURS: Final = ("you", _GONE)
_MARK: Final = re.compile(r"\(this device\)|\([0-9]{5}\)$")
_LINES: Final = {
    "shortened": "— {name} gave something they said a shorter life; here it is shortened or gone —",
    "seated": "— {name} has taken a seat; nothing is said until all devices have attested it —",
    "attested": "— {name} is attested —",
    "back": "— {name} is back, and attested by others; nothing is said before your own side has attested the device —",
    "leaving": "— {name} is leaving —",
    "held": "— {name} is on hold —",
    "stranded": "— {name} cannot follow a change of keys: invite that card anew —",
    "left": "— {name} is no longer in the channel —",
    "amended": "— the charter has been changed, by every party (`pourparler table` showed it) —",
    "erased": "— this session was ended and erased, by every party —",
    "warned": "ATTENTION: the seat of {name} was not attested: {text}. This says nothing about the card's owner; ask "
    "them, by a way you trust",
    "desk": "ATTENTION: the service's desk does not take this signing, and nothing can come of it there: {text}",
    "unchecked": "ATTENTION: what came in the name of {text} in a signing could not be checked, so this device takes "
    "no further part in the appointment. It does not prove that they did it: talk to each other, and begin anew",
    "refused": "— what you did does not count: {text} —",
    "removed": "— this device is no longer in the channel; everything of it here is erased —",
    "closing": "— everybody has agreed to end this channel: what was said is erased here; when every device knows of "
    "it, the rest goes too, and nothing kept from here can prove who said it —",
    "closed": "— the channel has been closed; everything of it here is erased, and nothing kept from here can prove "
    "who said it —",
    "alarm": "ATTENTION: {text}",
    "halted": "ATTENTION: {text}",
}
_STEPS: Final = {
    "offered": "{name} has the invitation and has not answered yet",
    "answered": "{name} has answered and is shown the charter",
    "accepted": "{name} accepts the charter",
    "waiting": "{name} accepts the charter, and cannot be seated yet: {reason} (`pourparler table`)",
    "seated": "{name} has a seat in the channel; all devices now attest it",
}
STAGES: Final[dict[Stage, str]] = {
    Stage.COMMITTED: "this device takes part in the round",
    Stage.REVEALED: "this device takes part in the round",
    Stage.PREPARED: "this device takes part in the round",
    Stage.ASKED: "you may sign now: `release sign`",
    Stage.SIGNED: "you have signed; it takes effect when the last party has",
    Stage.WITHDRAWN: "you have withdrawn: nothing can come of this appointment",
    Stage.COMPLETE: "every party has signed; it is published at its hour",
    Stage.AGAIN: "it was complete after all, or something has changed: say `release agree` or `release refuse`",
    Stage.WAITING: "it has lapsed; this device waits a day in case it was complete after all",
    Stage.STOPPING: "you have stopped it",
    Stage.UNLOCKED: "the desk is silent: the parties' devices complete it without it",
    Stage.TOO_LATE: "you withdrew when all had signed: nothing comes of it without you",
    Stage.BARRED: "this device takes no further part in this appointment",
    Stage.LAPSED: "it has lapsed: nothing is left of it",
    Stage.STOPPED: "it was stopped: nothing is left of it",
    Stage.PUBLISHED: "it is published",
    Stage.CLEARED: "it is over",
}
_TEXTS: Final = {
    "drafted": "{name} puts a text on the table",
    "revised": "{name} puts another revision of a text on the table: initials under the old one are void",
    "text": "the words of {name}'s text are here: `release show`",
    "shelved": "{name} takes a text off the table",
    "initialled": "{name} initials a text",
    "retracted": "{name} takes the initial back",
    "opposed": "{name} blocks a text",
    "relented": "{name} blocks a text no longer",
    "appointed": "{name} makes a signing appointment",
    "remarked": "{name} remarks: {text}",
    "arranged": "{name} proposes times to sign the text with the other side: `onetext ready` when your side is",
    "unfit": "ATTENTION: {text}",
    "frozen": "the text is ready to be signed (`release sign`)",
    "lapsed": "the signing appointment is over, and nothing came of it",
    "released": "the joint text is published",
    "called": "{name} calls a round of ideas: stay connected, and your device takes part (`ideas show`)",
    "failed": "{name}'s device finds that the round of ideas cannot be completed, or it was called off",
    "broken": "{text}",
    "ideas": "the ideas are here: `ideas show`",
    "marks": "the marks are here: `ideas show`",
}
_ACTS: Final = {
    "proposed": "{name} puts on the table: {subject}",
    "dropped": "{name} takes off the table: {subject}",
    "approved": "{name} approves: {subject}",
    "withdrawn": "{name} takes the approval back: {subject}",
    "objected": "{name} objects: {subject}",
    "yielded": "{name} objects no longer: {subject}",
    "enacted": "agreed by everybody who has to agree: {subject}",
}
_REASONS: Final = {
    "over": "the invitation to {name} is over: its time has passed, or {name} declined. Make a new one",
    "clock": "the clocks of {name}'s device and this one differ by more than a day: set them, then invite anew",
    "refused": "{name} cannot be seated by this invitation: another has seated this card, or the others would "
    "refuse the device",
    "spoiled": "what came in answer to the invitation to {name} cannot be read: it was damaged, or somebody else "
    "has the invitation's address. Make a new one",
}
_CLOSED: Final = (
    ("unopened", "{count} more can be read only with a connection: the service has the other half of their keys"),
    ("lost", "{count} can no longer be read: the service has lost its half of their keys. Ask the others"),
)
_ENDED: Final = {
    State.REMOVED: "This device is no longer in “{title}”; everything of it here is erased.",
    State.CLOSED: "“{title}” has been closed; everything of it here is erased. Nothing kept from here can prove who "
    "said it.",
}


def name_of(member: Member, members: Mapping[bytes, Member]) -> str:
    """A name as it is shown: with the first digits of the card when the name alone could mislead."""
    name = plain(member.name, lines=False)
    like = _folded(member.name)
    shared = any(_folded(m.name) == like for c, m in members.items() if c != member.credential)
    if shared or like in _OURS or _MARK.search(like):
        return f"{name} ({check_digits(member.fingerprint)[:5]})"
    return name


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()


def title_of(channel: Channel) -> str:
    """The title, safe on a terminal."""
    return plain(channel.log.charter.title, lines=False)


def news(arguments: argparse.Namespace, channel: Channel, happened: Iterable[Happening]) -> bool:
    """What happened besides messages. Returns False, having said so, when the channel has ended."""
    for happening in happened:
        if happening.kind not in ("said", "shuttle", "removed", "closed"):
            show(arguments, channel, happening)
    return not ended(arguments, channel)


def ended(arguments: argparse.Namespace, channel: Channel) -> bool:
    """Whether the channel has ended; says so."""
    sentence = _ENDED.get(channel.log.row.state)
    if sentence is None:
        return False
    record = {"event": channel.log.row.state, "title": channel.log.charter.title}
    emit(arguments, record, [sentence.format(title=title_of(channel))])
    return True


def show(arguments: argparse.Namespace, channel: Channel, happening: Happening) -> None:
    """One happening."""
    if happening.kind in ("said", "shuttle") and happening.message is not None:
        show_message(arguments, channel, happening.message, happening.member)
        return
    member = happening.member
    record: dict[str, Any] = {"event": happening.kind, "seq": happening.seq}
    if member is not None:
        record |= {"name": member.name, "check_digits": check_digits(member.fingerprint)}
    if happening.text:
        record["text"] = happening.text
    name = name_of(member, channel.log.members) if member else _GONE
    if happening.kind == "release":
        record["stage"] = happening.text
        emit(arguments, record, [] if happening.text not in STAGES else [f"— {STAGES[Stage(happening.text)]} —"])
        return
    if happening.kind in soundlines.KINDS:
        emit(arguments, record, [f"— {soundlines.line_of(happening, name)} —"])
        return
    if happening.kind in _TEXTS:
        emit(arguments, record, [f"— {_TEXTS[happening.kind].format(name=name, text=plain(happening.text))} —"])
        return
    if happening.kind in _ACTS:
        said = describe(channel.log, happening.subject) if happening.subject else "something that is gone"
        record |= {"subject": said, "code": code_of(happening.digest)}
        line = _ACTS[happening.kind].format(name=name, subject=f"{said} [{code_of(happening.digest)}]")
        emit(arguments, record, [f"— {line} —"])
        return
    emit(arguments, record, [_LINES[happening.kind].format(name=name, text=happening.text)])


def show_message(arguments: argparse.Namespace, channel: Channel, message: Message, member: Member | None) -> None:
    """One message, or a word on a carried one."""
    if message.kind == "shuttle":
        show_carried(arguments, message, name_of(member, channel.log.members) if member else _GONE)
        return
    record = {
        "event": "said",
        "seq": message.seq,
        "id": message.id.hex(),
        "name": member.name if member else _GONE,
        "check_digits": check_digits(member.fingerprint) if member else "",
        "own": message.own,
        "text": message.text,
        "received_at": message.received_at,
        "expires_at": message.expires_at,
        **file_record(message),
    }
    name = name_of(member, channel.log.members) if member else _GONE
    left = say_duration(message.expires_at - message.received_at)
    head = f"[{local_time(message.received_at)[-5:]}, lives {left}] {'you' if message.own else name}:"
    if message.attached is not None:
        emit(arguments, record, [f"{head.removesuffix(':')} {file_line(message)}"])
        return
    first, *rest = plain(message.text).split("\n")
    emit(arguments, record, [f"{head} {first}", *("    " + line for line in rest)])


async def history(
    arguments: argparse.Namespace, channel: Channel, now: int, but: Container[int] = frozenset()
) -> set[int]:
    """What is alive and opens, `but` for these seqs; returns the seqs that were shown."""
    messages = await channel.read([one for one in channel.log.store.messages.shown(now) if one.seq not in but])
    for message in messages:
        show_message(arguments, channel, message, channel.log.members.get(message.sender))
    return {message.seq for message in messages}


def trouble(arguments: argparse.Namespace, channel: Channel) -> None:
    """Why nothing is sent from here, if so."""
    row = channel.log.row
    if row.state in (State.ALARM, State.HALTED):
        emit(arguments, {"event": row.state, "text": row.trouble}, [f"ATTENTION: {row.trouble}"])


def show_missed(arguments: argparse.Namespace, channel: Channel) -> None:
    """How many messages ended before they could be shown; once."""
    missed = channel.log.row.missed
    if missed and channel.log.row.state in (State.OPEN, State.ALARM):
        channel.log.forget_missed()
        emit(arguments, {"event": "missed", "count": missed}, [f"— {missed} expired unread —"])


def warn_absent(
    arguments: argparse.Namespace, channel: Channel, life: int | None, but: Container[bytes] = frozenset()
) -> set[bytes]:
    """Who will probably not see what was said before it ends, `but` for these credentials; returns who was named."""
    life = life or channel.log.charter.retention.messages
    absent = [member for member in channel.may_miss(life) if member.credential not in but]
    for member in absent:
        away = say_duration(channel.clock() - member.heard)
        record = {"event": "away", "name": member.name, "heard": member.heard, "life": life}
        name = name_of(member, channel.log.members)
        sentence = (
            f"— {name} has not been heard of for {away}; this lives for {say_duration(life)}, and may be missed —"
        )
        emit(arguments, record, [sentence])
    return {member.credential for member in absent}


def show_closed(arguments: argparse.Namespace, channel: Channel, now: int) -> None:
    """How many messages are here that do not open, and why."""
    for count, (kind, sentence) in zip(channel.log.store.messages.closed(now), _CLOSED, strict=True):
        if count:
            emit(arguments, {"event": kind, "count": count}, [f"— {sentence.format(count=count)} —"])


def show_step(arguments: argparse.Namespace, step: Progress) -> None:
    """How far an invitation has come."""
    record = {"event": "invitation", "name": step.name, "step": step.step}
    if step.reason:
        record["reason"] = step.reason
    sentence = _REASONS[step.reason] if step.step == "failed" else _STEPS[step.step]
    emit(arguments, record, [f"— {sentence.format(name=plain(step.name, lines=False), reason=step.reason)} —"])
