"""Events of release: who may post which, and what it changes. Each rule raises Void with the reason."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from pourparler_policies.errors import Void
from pourparler_policies.fold.events import Entry
from pourparler_policies.fold.facts import Device
from pourparler_policies.fold.table import Author
from pourparler_policies.limits import MAX_SEQ

from . import changes, events, standing
from .facts import (
    DIGEST_BYTES,
    MAX_MESSAGE,
    MAX_PAPERS,
    MAX_RESTARTS,
    MAX_SIGNATORIES,
    NONCE_BYTES,
    PAPER_BYTES,
    Answer,
    Case,
    Mark,
    Paper,
    Phase,
    Signer,
    State,
    Text,
)
from .rules import Signatories
from .table import UNFROZEN, WHEN, Trigger


def _drafted(state: State, author: Device, event: events.Drafted, entry: Entry) -> State:
    body = standing.body_of(state.consent, author)
    if len(event.paper) != PAPER_BYTES or event.paper in state.papers:
        raise Void("a new paper has a new number of 16 bytes")
    if sum(paper.body == body for paper in state.papers.values()) >= MAX_PAPERS:
        raise Void(f"a body has at most {MAX_PAPERS} papers on the table")
    if not 0 < event.life <= state.rules.papers:
        raise Void("a paper lives no longer than the charter says")
    _check_text(event.text)
    return changes.put_paper(state, Paper(event.paper, body, event.text, entry.received_at + event.life))


def _revised(state: State, _author: Device, event: events.Revised, _: Entry) -> State:
    paper = _current(state, event.paper, event.digest)
    _check_text(event.text)
    if event.text.digest == paper.text.digest:
        raise Void("this is the revision on the table")
    state = _unfreeze(state, paper)
    return changes.put_paper(state, replace(paper, text=event.text, initials={}))


def _commented(state: State, _author: Device, event: events.Commented, _: Entry) -> State:
    _current(state, event.paper, event.digest)
    return state


def _shelved(state: State, author: Device, event: events.Shelved, _: Entry) -> State:
    paper = _paper(state, event.paper)
    if paper.body != standing.body_of(state.consent, author):
        raise Void("another body put this on the table")
    state = _unfreeze(state, paper)
    return replace(state, papers={key: held for key, held in state.papers.items() if key != paper.id})


def _initialled(state: State, author: Device, event: events.Initialled, _: Entry) -> State:
    paper = _current(state, event.paper, event.digest)
    standing.decides(state, author)
    return changes.put_paper(state, replace(paper, initials={**paper.initials, author.seat: not event.confirm}))


def _retracted(state: State, author: Device, event: events.Retracted, _: Entry) -> State:
    paper = _paper(state, event.paper)
    if author.seat not in paper.initials:
        raise Void("this seat has not initialled it")
    initials = {seat: final for seat, final in paper.initials.items() if seat != author.seat}
    return changes.put_paper(state, replace(paper, initials=initials))


def _opposed(state: State, author: Device, event: events.Opposed, _: Entry) -> State:
    paper = _paper(state, event.paper)
    if standing.body_of(state.consent, author) not in state.consent.rules.parties:
        raise Void("an intermediary has no vote")
    return changes.put_paper(state, replace(paper, opposed=paper.opposed | {author.seat}))


def _relented(state: State, author: Device, event: events.Relented, _: Entry) -> State:
    paper = _paper(state, event.paper)
    if author.seat not in paper.opposed:
        raise Void("this seat has not objected")
    return changes.put_paper(state, replace(paper, opposed=paper.opposed - {author.seat}))


def _appointed(state: State, _author: Device, event: events.Appointed, entry: Entry) -> State:
    paper = _current(state, event.paper, event.digest)
    if state.case is not None and state.case.phase is Phase.FROZEN:
        raise Void("there is a text that may have been signed: one case at a time")
    standing.check_signatories(state, paper.text.signatories)
    standing.check_release(state, paper)
    if paper.text.corrects and state.released.get(paper.text.corrects) is not Mark.PUBLISHED:
        raise Void("only what stands published here can be corrected or taken back")
    case = _timed(state, paper, event, entry)
    if state.case is not None:
        state = changes.shift(state, Trigger.VOIDED)
    return changes.put_case(state, case)


def _timed(state: State, paper: Paper, event: events.Appointed, entry: Entry) -> Case:
    rules = state.rules
    opens = max(event.opens, entry.received_at)  # nobody knows beforehand when the service receives it
    if not opens < event.sign_by <= opens + rules.sign_within:
        raise Void("an appointment ends later than now, and stays open no longer than the charter says")
    if not event.sign_by < event.deposit_by <= event.sign_by + rules.deposit_within:
        raise Void("devices complete after the sign deadline, no longer than the charter says")
    hour = paper.text.not_before or event.deposit_by
    if not event.deposit_by <= hour <= event.deposit_by + rules.absence:
        raise Void("the text's hour is before its signatures could be complete, or too far away")
    stop_by = hour - rules.stop_until if rules.stop else 0
    case = Case(
        paper.id,
        paper.text,
        state.consent.rules.charter,
        opens,
        event.sign_by,
        event.deposit_by,
        hour,
        max(stop_by, 0),
    )
    if case.ends > paper.expires:
        raise Void("the paper would expire before its release is over")
    return case


def _first(state: State, author: Device, event: events.First, entry: Entry) -> State:
    case = _case(state, event)
    party = standing.decides(state, author)
    standing.check_release(state, state.papers[case.paper])
    _check_message(event.message)
    if entry.received_at < case.opens:
        raise Void("the appointment has not begun")
    if event.nonce != case.nonce:
        case = _begun(state, case, author, event)
    if case.phase is not Phase.COMMITTING:
        raise Void("every signer of this round has committed")
    if author.seat in case.signers:
        raise Void("this seat has committed in this round: with another text or secret it begins a new one")
    _check_place(state, case, author, party, event.line)
    if any(event.message == signer.first for signer in case.signers.values()):
        raise Void("this commitment is somebody else's")
    case = replace(case, signers={**case.signers, author.seat: Signer(party, event.line, event.message)})
    state = changes.put_case(state, case)
    return changes.shift(state, Trigger.FULL) if standing.full(state, case) else state


def _begun(state: State, case: Case, author: Device, event: events.First) -> Case:
    """A new round: nothing of the old one counts, and nobody may use its nonce again."""
    if len(event.nonce) != NONCE_BYTES or event.nonce in case.spent:
        raise Void("a new round has a new nonce of 32 bytes")
    begun = case.begun.get(author.seat, 0) + 1
    if begun > MAX_RESTARTS:
        raise Void(f"one seat begins at most {MAX_RESTARTS} rounds in one appointment")
    state = changes.shift(changes.put_case(state, case), Trigger.BEGUN)
    if state.case is None:
        raise Void("there is no appointment")
    return replace(
        state.case,
        nonce=event.nonce,
        spent=case.spent | {event.nonce},
        begun={**case.begun, author.seat: begun},
        signers={},
    )


def _check_place(state: State, case: Case, author: Device, party: str, line: int | None) -> None:
    """Raises Void unless a signer has a place: the key's holder first, then masks that the decision rule asks."""
    if len(case.signers) >= MAX_SIGNATORIES:
        raise Void(f"more than {MAX_SIGNATORIES} people would have to sign together")
    own = [signer for signer in case.signers.values() if signer.party == party]
    if line is None:
        if not standing.awaits_further(state, case, author):
            raise Void("a further mask comes after its party's key, and only where the decision rule asks for it")
        return
    if not 0 <= line < case.text.signatories or any(line == signer.line for signer in case.signers.values()):
        raise Void("the text has no such line of signature, or its signer is there")
    if state.rules.signatories is not Signatories.PERSONS and any(signer.line is not None for signer in own):
        raise Void("a party signs once")


def _second(state: State, author: Device, event: events.Second, _: Entry) -> State:
    case, signer = _part(state, author, event)
    standing.check_release(state, state.papers[case.paper])
    _check_message(event.message)
    if signer.second:
        raise Void("this seat's message is there")
    return _filled(state, case, author, replace(signer, second=event.message))


def _third(state: State, author: Device, event: events.Third, _: Entry) -> State:
    case, signer = _part(state, author, event)
    standing.check_release(state, state.papers[case.paper])
    _check_message(event.message)
    if signer.third:
        raise Void("this seat's message is there")
    return _filled(state, case, author, replace(signer, third=event.message))


def _filled(state: State, case: Case, author: Device, signer: Signer) -> State:
    case = replace(case, signers={**case.signers, author.seat: signer})
    last = "second" if case.phase is Phase.REVEALING else "third"
    state = changes.put_case(state, case)
    if not all(getattr(one, last) for one in case.signers.values()):
        return state
    if not standing.full(state, case):
        raise Void("a party's signers are no longer its act by its decision rule: begin a new round")
    return changes.shift(state, Trigger.FULL)


def _completed(state: State, author: Device, event: events.Completed, _: Entry) -> State:
    case, signer = _part(state, author, event)
    if signer.complete:
        raise Void("this seat has said so")
    # Who had been told "lapsed" says by this that it was not so: the case is not over for that seat.
    return _noted(state, case, author, replace(signer, complete=True, answer=None))


def _told(state: State, author: Device, event: events.Told, entry: Entry) -> State:
    case, signer = _part(state, author, event)
    earliest = {
        Answer.LAPSED: case.sign_by,
        Answer.STOPPED: case.opens if case.stop_by else case.ends,
        Answer.PUBLISHED: case.not_before,
    }
    if event.answer not in earliest or entry.received_at < earliest[event.answer]:
        raise Void("the desk cannot have said this yet")
    state = _noted(state, case, author, replace(signer, answer=event.answer))
    answers = {one.answer for one in state.case.signers.values()} if state.case else set()
    return changes.finish(state, Trigger.ANSWERED) if answers == {event.answer} else changes.settle(state)


def _noted(state: State, case: Case, author: Device, signer: Signer) -> State:
    return changes.put_case(state, replace(case, signers={**case.signers, author.seat: signer}))


def _case(state: State, event: Any) -> Case:
    if state.case is None:
        raise Void("there is no appointment")
    if state.case.phase not in WHEN[type(event)]:
        raise Void(f"the case is {state.case.phase}: this comes too late or too early")
    return state.case


def _part(state: State, author: Device, event: Any) -> tuple[Case, Signer]:
    case = _case(state, event)
    if event.nonce != case.nonce:
        raise Void("this belongs to a round that is void")
    if author.seat not in case.signers:
        raise Void("this seat signs nothing in this round")
    return case, case.signers[author.seat]


def _paper(state: State, paper: bytes) -> Paper:
    if paper not in state.papers:
        raise Void("there is no such paper on the table")
    return state.papers[paper]


def _current(state: State, paper: bytes, digest: bytes) -> Paper:
    held = _paper(state, paper)
    if held.text.digest != digest:
        raise Void("another revision is on the table by now")
    return held


def _unfreeze(state: State, paper: Paper) -> State:
    """The state in which this paper may change: an appointment for it is void, a frozen text stays as it is."""
    if state.case is None or state.case.paper != paper.id:
        return state
    if state.case.phase not in UNFROZEN:
        raise Void("the text is frozen: it may have been signed, and only the desk's answer ends that")
    return changes.shift(state, Trigger.VOIDED)


def _check_text(text: Text) -> None:
    if (
        len(text.digest) != DIGEST_BYTES
        or not 0 < text.signatories <= MAX_SIGNATORIES
        or not 0 <= text.not_before <= MAX_SEQ
        or len(text.corrects) not in {0, DIGEST_BYTES}
        or (text.withdraws and not text.corrects)
    ):
        raise Void("a revision names its text, its signatories, its hour and what it corrects in their form")


def _check_message(message: bytes) -> None:
    if not 0 < len(message) <= MAX_MESSAGE:
        raise Void(f"a signer's message has 1 to {MAX_MESSAGE} bytes")


Rule = Callable[[State, Device, Any, Entry], State]

# Event -> what its author has to be, and its rule. An event that is not here is unknown, never skipped.
EVENTS: Final[Mapping[type, tuple[Author, Rule]]] = {
    events.Drafted: (Author.STANDING, _drafted),
    events.Revised: (Author.STANDING, _revised),
    events.Commented: (Author.STANDING, _commented),
    events.Shelved: (Author.STANDING, _shelved),
    events.Initialled: (Author.STANDING, _initialled),
    events.Retracted: (Author.PRESENT, _retracted),
    events.Opposed: (Author.PRESENT, _opposed),
    events.Relented: (Author.STANDING, _relented),
    events.Appointed: (Author.STANDING, _appointed),
    events.First: (Author.STANDING, _first),
    events.Second: (Author.STANDING, _second),
    events.Third: (Author.STANDING, _third),
    events.Completed: (Author.PRESENT, _completed),
    events.Told: (Author.PRESENT, _told),
}
