"""The fold of soundings, beside that of consent: who is asked what, and until when. Never who answered what.

1. Validity depends on the log alone, and on who has standing by the fold of consent.
2. Every event of a device is the same whatever its person says, and whether they say anything.
3. One sounding at a time; each body begins at most as many as the charter says within thirty days. A second try, after
   a line had failed, does not count, and has no second try itself.
4. Some time after its close, and never longer than a paper lives, nothing of it is left but the times, and hashes of
   what was dealt. Of the packages' texts it holds digests, never the words.

`opened` begins, `apply` judges one event, `settled` lets time pass. DESIGN 4.5; research/review-protocol.md, 7.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from pourparler_policies.charter.rules import DECIDING, Role
from pourparler_policies.errors import Void
from pourparler_policies.fold import standing
from pourparler_policies.fold.encoding import encode
from pourparler_policies.fold.facts import Device
from pourparler_policies.fold.facts import State as Consent

from . import events
from .events import ID_BYTES, Event, decode_event
from .facts import (
    GRACE,
    LONGEST_ANSWER,
    LONGEST_COLLECTION,
    MAX_MESSAGE,
    MAX_PACKAGES,
    MAX_SEEN,
    MAX_SHARE,
    MAX_SHARES,
    MAX_SIDES,
    MAX_TALLY,
    MAX_TEXTS,
    SEEN,
    WITHIN,
    Phase,
    Rules,
    Sounding,
    State,
    Taker,
    digest_of,
    sounding_rules,
)
from .table import AGAIN, ASKS, STEPS, TAKEN, TAKES, WHEN, Trigger

__all__ = [
    "ID_BYTES",
    "Event",
    "Phase",
    "Rules",
    "Sounding",
    "State",
    "Taker",
    "apply",
    "decode_event",
    "ends",
    "left",
    "opened",
    "settled",
    "sounding_rules",
    "with_rules",
]

_NUMBER: Final = b"pourparler sounding v1"


def opened(rules: Rules) -> State:
    """Before anything was asked."""
    return State(rules)


def with_rules(state: State, rules: Rules) -> State:
    """Under another charter; what is under way goes on."""
    return replace(state, rules=rules)


def apply(
    state: State, consent: Consent, author: bytes, event: Event, received_at: int, marks: Iterable[bytes] = ()
) -> State:
    """The state after one event by the device with the credential `author`. Raises Void; the state is as it was.

    `marks` are what a deal's tally holds (targets and slots), for `Dealt` alone.
    """
    state = settled(state, received_at)
    device = _standing(consent, author)
    if isinstance(event, events.Sounded | events.Dealt):
        return _begun(state, consent, device, event, tuple(marks))
    live = state.live
    if live is None or live.id != event.id:
        raise Void("there is no such sounding")
    who, phases = WHEN[type(event)]
    if live.phase not in phases:
        raise Void(f"this sounding is {live.phase}")
    party = standing.body_of(consent, device)
    taker = live.takers.get(party)
    if who == ASKS and party != live.body:
        raise Void("another body has asked this")
    if who == TAKEN and (taker is None or taker.credential != author):
        raise Void("another device answers for this party, or none")
    if who == TAKES and taker is not None and (taker.credential != author or isinstance(event, events.Taking)):
        raise Void("another device answers for this party")
    if who == TAKES and (party not in consent.rules.parties or consent.seats[device.seat].role not in DECIDING):
        raise Void("who decides for a party answers for it")
    return _RULES[type(event)](state, consent, device, event)


def settled(state: State, now: int) -> State:
    """The state when it is `now` by the log; its time never falls."""
    now = max(now, state.time)
    live = state.live
    if live is not None:
        if now >= live.answer_by:
            live = _shift(live, Trigger.ANSWER_BY)
        if now >= live.closes:
            live = _shift(live, Trigger.CLOSES)
        if now >= live.ends:
            live = None
    begun = {body: kept for body, times in state.begun.items() if (kept := _recent(times, now))}
    seen = {mark: until for mark, until in state.seen.items() if until > now}
    return replace(state, live=live, begun=begun, seen=seen, time=now)


def ends(rules: Rules, closes: int, now: int) -> int:
    """When nothing is left of a question that is asked now: some time after its close, within a paper's life."""
    return min(closes + GRACE, now + rules.papers)


def left(state: State, body: str, now: int) -> int:
    """How many soundings a body may still begin."""
    return max(0, state.rules.rounds - len(_recent(state.begun.get(body, ()), max(now, state.time))))


def _recent(times: tuple[int, ...], now: int) -> tuple[int, ...]:
    return tuple(one for one in times if one > now - WITHIN)


def _shift(live: Sounding, trigger: Trigger) -> Sounding:
    return replace(live, phase=STEPS[live.phase].get(trigger, live.phase))


def _standing(consent: Consent, author: bytes) -> Device:
    device = standing.by_credential(consent, author)
    if consent.closing or consent.closed or device is None or not standing.stands(consent, device):
        raise Void("its author has no standing in this channel")
    return device


def _begun(
    state: State, consent: Consent, author: Device, event: events.Sounded | events.Dealt, marks: tuple[bytes, ...]
) -> State:
    body, seat = standing.body_of(consent, author), consent.seats[author.seat]
    if seat.role not in DECIDING | {Role.INTERMEDIARY}:
        raise Void("who decides for a party, or an intermediary, asks")
    if isinstance(event, events.Dealt) and body not in consent.rules.intermediaries:
        raise Void("an intermediary alone deals")
    if standing.dormant(consent):
        raise Void("a party cannot act")
    second = _second(state, event)
    _check_question(state, consent, event)
    if isinstance(event, events.Dealt):
        _check_dealt(state, event, marks)
    if not second and left(state, body, state.time) < 1:
        raise Void("this body has begun as many soundings as the charter allows")
    live = Sounding(
        event.id,
        body,
        _digests(event.id, event),
        hashlib.sha256(_NUMBER + encode(consent.rules.charter) + encode(event)).digest(),
        event.answer_by,
        event.closes,
        ends(state.rules, event.closes, state.time),
        len(consent.rules.parties),
        second,
    )
    if isinstance(event, events.Dealt):
        # Each room begins by itself: whether another room's devices are there is not for this one to know.
        live = replace(live, phase=Phase.ASKING, sides=event.sides, tally=event.tally, shares=event.shares)
    begun = {} if second else {body: (*state.begun.get(body, ()), state.time)}
    seen = {**state.seen, **dict.fromkeys(marks, state.time + SEEN)}
    newest = sorted(seen.items(), key=lambda one: (-one[1], one[0]))[:MAX_SEEN]
    return replace(state, live=live, begun={**state.begun, **begun}, seen=dict(newest))


def _digests(id_: bytes, event: events.Sounded | events.Dealt) -> tuple[bytes, ...]:
    return tuple(digest_of(id_, text) for text in event.packages)


def _second(state: State, event: events.Sounded | events.Dealt) -> bool:
    """Whether it is a second try. Raises Void for one that cannot be, and for a question while another is open."""
    live = state.live
    if live is not None and live.id == event.id:
        raise Void("a new sounding has a new number")
    if live is not None and live.phase not in AGAIN:
        raise Void("another sounding is under way: one at a time")
    if not event.again:
        return False
    # Whose line failed in another room, only the dealer knows.
    failed = live is not None and (live.missed or live.phase is Phase.LAPSED or live.dealt)
    if live is None or live.id != event.again or live.second or not failed:
        raise Void("only what failed for want of a line is asked once more, and only once")
    if live.digests != _digests(live.id, event) or live.dealt is not isinstance(event, events.Dealt):
        raise Void("a second try asks the same")
    return True


def _check_question(state: State, consent: Consent, event: events.Sounded | events.Dealt) -> None:
    packages, now = event.packages, state.time
    if not 1 <= len(packages) <= MAX_PACKAGES or len(set(packages)) != len(packages) or not all(packages):
        raise Void(f"a sounding has 1 to {MAX_PACKAGES} different packages")
    if sum(map(len, packages)) > MAX_TEXTS:
        raise Void("the packages are longer than a sounding may be")
    try:
        for text in packages:
            text.decode()
    except UnicodeDecodeError:
        raise Void("a package is not text") from None
    if not now < event.answer_by <= now + LONGEST_ANSWER:
        raise Void("people answer from now on, and for no longer than thirty days")
    if not event.answer_by < event.closes <= event.answer_by + LONGEST_COLLECTION:
        raise Void("devices hand in after that, within a week")
    if event.closes > now + state.rules.papers:
        raise Void("a text on the table lives no longer than the charter says")
    if not isinstance(event, events.Dealt) and len(consent.rules.parties) < 2:
        raise Void("a sounding without a dealer needs two parties in the channel")


def _check_dealt(state: State, event: events.Dealt, marks: tuple[bytes, ...]) -> None:
    if not 2 <= event.sides <= MAX_SIDES or not 0 < len(event.tally) <= MAX_TALLY or not marks:
        raise Void("this is no deal")
    if not 0 < len(event.shares) <= MAX_SHARES:
        raise Void("a deal has a share for each party's people")
    if any(len(card) != 32 or not 0 < len(sealed) <= MAX_SHARE for card, sealed in event.shares.items()):
        raise Void("a share is sealed to a card")
    if any(mark in state.seen for mark in marks):
        raise Void("the secret or the place of an earlier sounding was dealt again")


def _taking(state: State, consent: Consent, author: Device, event: events.Taking) -> State:
    live, party = _live(state), standing.body_of(consent, author)
    if live.phase is Phase.ASKING and not live.dealt:
        raise Void("every party has committed")
    if live.dealt and (event.message or author.card not in live.shares):
        raise Void("a dealt place is taken by a card that was dealt a share")
    if not live.dealt and not 0 < len(event.message) <= MAX_MESSAGE:
        raise Void("a party commits when it takes its place")
    if any(event.message and event.message == taker.message for taker in live.takers.values()):
        raise Void("this commitment is somebody else's")
    live = replace(live, takers={**live.takers, party: Taker(author.seat, author.credential, event.message)})
    if not live.dealt and live.takers.keys() == consent.rules.parties.keys():
        live = _shift(live, Trigger.COMMITTED)
    return replace(state, live=live)


def _opening(state: State, consent: Consent, author: Device, event: events.Opening) -> State:
    live, party = _live(state), standing.body_of(consent, author)
    if not 0 < len(event.message) <= MAX_MESSAGE or live.takers[party].opening:
        raise Void("each commitment is opened once")
    live = replace(live, takers={**live.takers, party: replace(live.takers[party], opening=event.message)})
    if all(taker.opening for taker in live.takers.values()):
        live = _shift(live, Trigger.OPENED)
    return replace(state, live=live)


def _missed(state: State, _consent: Consent, _author: Device, _event: events.Missed) -> State:
    return replace(state, live=replace(_live(state), missed=True))


def _counted(state: State, _consent: Consent, _author: Device, event: events.Counted) -> State:
    live = _live(state)
    if not 0 <= event.package < len(live.digests) or len(event.value) != 32:
        raise Void("this is no result of this sounding")
    return state


def _recalled(state: State, _consent: Consent, _author: Device, _event: events.Recalled) -> State:
    return replace(state, live=None)


def _live(state: State) -> Sounding:
    if state.live is None:
        raise Void("there is no such sounding")
    return state.live


_RULES: Final[Mapping[type, Callable[[State, Consent, Device, Any], State]]] = {
    events.Taking: _taking,
    events.Opening: _opening,
    events.Missed: _missed,
    events.Counted: _counted,
    events.Recalled: _recalled,
}
