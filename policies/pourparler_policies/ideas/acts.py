"""Events of a round: who may post which, and what it changes. Each rule raises Void with the reason.

A round is talk: it needs what a message needs (`fold/talk.py`), so nobody unattested is there.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from pourparler_policies.errors import Void
from pourparler_policies.fold import talk
from pourparler_policies.fold.acts import check_author
from pourparler_policies.fold.events import Entry
from pourparler_policies.fold.facts import Device, State
from pourparler_policies.fold.facts import Phase as Standing
from pourparler_policies.fold.table import Author

from . import events
from .facts import (
    KEY_BYTES,
    LEAST_SEATS,
    LONGEST_GATHERING,
    LONGEST_NOTICE,
    MAX_SEATS,
    ROUND_BYTES,
    WINDOW,
    IdeaRules,
    Part,
    Phase,
    Round,
    ground_of,
)
from .table import GONE, WHEN, Trigger, move

DIGEST_BYTES: Final = 32


def apply(held: Round | None, rules: IdeaRules, consent: State, author: Device, entry: Entry) -> Round | None:
    """The round after an event of its own. `consent` has the entry's time. Raises Void."""
    event: Any = entry.content
    wanted, rule = EVENTS[type(event)]
    check_author(consent, author, wanted)
    if isinstance(event, events.Called):
        return _called(held, rules, consent, author, event)
    if held is None or held.id != event.id:
        raise Void("there is no such round")
    if held.phase not in WHEN[type(event)]:
        raise Void(f"the round is {held.phase}")
    return rule(held, consent, author, event)


def settle(held: Round | None, consent: State) -> Round | None:
    """What follows from the consent and the time that the log has now: nobody need say it."""
    if held is None:
        return None
    if consent.closed or ground_of(consent) != held.ground:
        return shift(held, Trigger.GROUND)
    if consent.time >= held.ends:
        return shift(held, Trigger.LATE)
    if held.phase is Phase.GATHERING and consent.time >= held.doors:
        return shift(held, Trigger.DOORS if len(held.parts) >= LEAST_SEATS else Trigger.FEW)
    return held


def shift(held: Round, trigger: Trigger) -> Round | None:
    """Moves a round along the table; an ended one leaves nothing. Raises Void."""
    phase = move(held.phase, trigger)
    return replace(held, phase=phase) if phase is not GONE else None


def present_seats(consent: State) -> frozenset[bytes]:
    """Seats with an attested device in the group."""
    return frozenset(d.seat for d in consent.devices.values() if d.phase is Standing.PRESENT)


def _called(held: Round | None, rules: IdeaRules, consent: State, author: Device, event: events.Called) -> Round:
    now = consent.time
    if not rules.allowed:
        raise Void("under this charter ideas do not come without a name")
    talk.check_said(consent, author.credential)
    if held is not None and held.phase is not Phase.OPEN:
        raise Void("one round at a time")
    if len(event.id) != ROUND_BYTES or len(event.about) not in (0, ROUND_BYTES):
        raise Void(f"a round has a number of {ROUND_BYTES} bytes")
    if held is not None and held.id == event.id:
        raise Void("a new round has a new number")
    if len(present_seats(consent)) < LEAST_SEATS:
        raise Void("ideas come without a name only where three people are present")
    if not WINDOW[0] <= event.window <= WINDOW[1] or not event.window <= event.gather <= LONGEST_GATHERING:
        raise Void("a round's window has 4 seconds to an hour, and gathering takes no less, and at most a day")
    made = Round(event.id, event.about, event.tick, event.gather, event.window, event.life, ground_of(consent))
    if not now < made.doors or event.tick > now + LONGEST_NOTICE:
        raise Void("the tick lies ahead, so far that people can join, and at most thirty days")
    if not 0 < event.life <= rules.longest:
        raise Void("an idea lives no longer than a message")
    return made


def _joined(held: Round, consent: State, author: Device, event: events.Joined) -> Round:
    talk.check_said(consent, author.credential)
    if not held.begins <= consent.time < held.doors:
        raise Void("devices join shortly before the tick")
    if author.seat in held.parts or len(held.parts) == MAX_SEATS:
        raise Void("this seat takes part already, or there is no room")
    if len(event.key) != KEY_BYTES or any(event.key == part.key for part in held.parts.values()):
        raise Void("a one-time key has 32 bytes and is nobody else's")
    return replace(held, parts={**held.parts, author.seat: Part(author.credential, event.key)})


def _seen(held: Round, consent: State, author: Device, event: events.Seen) -> Round | None:
    part = _part(held, author)
    if consent.time < held.closes:
        raise Void("nobody can have seen the list before the window has closed")
    if part.digest or len(event.digest) != DIGEST_BYTES:
        raise Void("this seat has said what it has seen")
    if any(other.digest not in (b"", event.digest) for other in held.parts.values()):
        return shift(held, Trigger.DIFFERENT)
    held = _put(held, author, replace(part, digest=event.digest))
    return shift(held, Trigger.SEEN) if all(one.digest for one in held.parts.values()) else held


def _shown(held: Round, _: State, author: Device, event: events.Shown) -> Round | None:
    part = _part(held, author)
    if part.secret or len(event.secret) != KEY_BYTES:
        raise Void("this seat has given its share")
    held = _put(held, author, replace(part, secret=event.secret))
    return shift(held, Trigger.SHOWN) if all(one.secret for one in held.parts.values()) else held


def _failed(held: Round, _: State, author: Device, _event: events.Failed) -> Round | None:
    if held.parts:
        _part(held, author)
    return shift(held, Trigger.FAILED)


def _part(held: Round, author: Device) -> Part:
    part = held.parts.get(author.seat)
    if part is None or part.credential != author.credential:
        raise Void("this device does not take part in the round")
    return part


def _put(held: Round, author: Device, part: Part) -> Round:
    return replace(held, parts={**held.parts, author.seat: part})


EVENTS: Final[Mapping[type, tuple[Author, Callable[..., Round | None]]]] = {
    events.Called: (Author.PRESENT, _called),
    events.Joined: (Author.PRESENT, _joined),
    events.Seen: (Author.PRESENT, _seen),
    events.Shown: (Author.PRESENT, _shown),
    events.Failed: (Author.PRESENT, _failed),
}
