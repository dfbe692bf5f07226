"""What is on the table, in words, and the short code by which a person names it."""

import json
from datetime import UTC, datetime

from pourparler_crypto.card import check_digits
from pourparler_policies import charter as charters
from pourparler_policies.charter import Charter
from pourparler_policies.charter.document import Intermediary, Party
from pourparler_policies.fold.facts import (
    Adjourn,
    Admit,
    Amend,
    Close,
    Erase,
    Expel,
    Lift,
    Recall,
    Recess,
    Replace,
    Subject,
)

from .errors import UserError
from .log import Log


def code_of(digest: bytes) -> str:
    """The first five check digits of a subject: enough to name one of the few that are on the table."""
    return check_digits(digest)[:5]


def find_subject(log: Log, code: str) -> bytes:
    """The digest of the subject on the table that `code` names. Raises UserError."""
    found = [digest for digest in log.consent.open if code_of(digest) == code.strip()]
    if len(found) != 1:
        raise UserError("nothing on the table has this code: see `pourparler table`")
    return found[0]


def describe(log: Log, subject: Subject) -> str:
    """One sentence without its full stop."""
    match subject:
        case Admit():
            return f"a seat for {_card(log, subject.card)} as {subject.role} of {body_name(log.charter, subject.body)}"
        case Replace():
            return f"{_card(log, subject.new)} in place of {_card(log, subject.old)}, the same person"
        case Expel():
            return f"the seat of {_seat(log, subject.seat)} ends"
        case Recall():
            return f"{_seat(log, subject.seat)} is called back by the own side"
        case Lift():
            return f"{_seat(log, subject.seat)} is no longer on hold"
        case Recess():
            return (
                f"a recess until {say_time(subject.until)}: what was said is erased everywhere, the places stay, and "
                "nobody is absent meanwhile"
            )
        case Erase():
            return "this session ends, and all that was said in it is erased everywhere"
        case Adjourn():
            return (
                f"this session ends at {say_time(subject.at)}: all that was said, and all that is said until then, is "
                "erased everywhere"
            )
        case Amend():
            return f"another charter, {check_digits(charters.decode(subject.charter).hash)}"
        case Close():
            return "the channel ends for everybody, and every device erases it"


def difference(before: Charter, after: Charter) -> list[str]:
    """What another charter would change: the lines of its canonical form that differ, old and new."""
    old, new = _lines(before), _lines(after)
    changed = [f"- {key}: {old[key]}" for key in old if new.get(key) != old[key]]
    return changed + [f"+ {key}: {new[key]}" for key in new if old.get(key) != new[key]]


def charter_names(charter: Charter) -> dict[bytes, str]:
    """Names of the cards that the charter names, by fingerprint."""
    bodies: list[Party | Intermediary] = [*charter.parties.values(), *charter.intermediaries.values()]
    return {card.fingerprint: card.name for body in bodies for card in body.cards}


def _lines(charter: Charter) -> dict[str, str]:
    made: dict[str, str] = {}

    def walk(path: str, value: object) -> None:
        if isinstance(value, dict):
            for key, held in value.items():
                walk(f"{path}.{key}" if path else key, held)
        elif isinstance(value, list):
            for number, held in enumerate(value, 1):
                walk(f"{path}[{number}]", held)
        else:
            made[path] = str(value)

    walk("", json.loads(charter.encode()))
    return made


def body_name(charter: Charter, body: str) -> str:
    """The name of a party or an intermediary, as the charter has it."""
    named = charter.parties.get(body) or charter.intermediaries.get(body)
    return named.name if named is not None else body


def _card(log: Log, card: bytes) -> str:
    known = next((m.name for m in log.members.values() if m.fingerprint == card), "")
    known = known or charter_names(log.charter).get(card, "")
    return f"{known} (card {check_digits(card)})" if known else f"the card {check_digits(card)}"


def _seat(log: Log, seat: bytes) -> str:
    cards = [device.card for device in log.consent.devices.values() if device.seat == seat]
    return _card(log, cards[0]) if cards else "somebody who is gone"


def say_time(seconds: int) -> str:
    """An instant (Unix seconds), to the minute, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
