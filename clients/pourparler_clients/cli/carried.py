"""How carried messages are shown: in the talk, as they come; and on what terms something is held.

What is not from a party is shown as what it is, an idea or a hypothetical, and nothing beside it says whose it was.
"""

import argparse
from typing import Any, Final

from pourparler_policies.shuttle import Item, Source, Terms
from pourparler_policies.shuttle.events import Answer, Carried, Freed, HandedOver, Judge, Put, Recalled

from ..messages import Message
from ..shuttle.kept import said
from ..shuttle.room import code
from .texts import emit, local_time, plain

_SOURCES: Final = {
    Source.PARTY: "from the other side",
    Source.IDEA: "the intermediary's own idea",
    Source.HYPOTHETICAL: "HYPOTHETICAL: nobody has said this",
}
_VERBS: Final = {
    Answer.ACCEPT: "accepts",
    Answer.DECLINE: "declines",
    Answer.COUNTER: "counters",
    Answer.QUESTION: "asks",
}
_OWN: Final = {
    Answer.ACCEPT: "accept",
    Answer.DECLINE: "decline",
    Answer.COUNTER: "counter",
    Answer.QUESTION: "ask",
}
_PASSED: Final = {
    Answer.ACCEPT: "they accept",
    Answer.DECLINE: "they decline",
    Answer.COUNTER: "they counter",
    Answer.QUESTION: "they ask",
    None: "what came of it",
}
_NOTES: Final = {
    Freed: "{name}: the condition of {code} is met; it may be carried",
    Recalled: "{name} takes {code} back; it is not carried",
    Carried: "{name} carries {code}",
}


def say_terms(terms: Terms) -> str:
    """Terms in a line."""
    parts = [str(terms.source), str(terms.fidelity)]
    if terms.condition:
        parts.append(f"held until {terms.judge} says that this is so: {plain(terms.condition, lines=False)}")
    else:
        parts.append("free to be carried")
    if terms.not_before:
        parts.append(f"not before {local_time(terms.not_before)}")
    parts.append(f"until {local_time(terms.expires)}")
    return "; ".join(parts)


def terms_record(terms: Terms) -> dict[str, Any]:
    """Terms for programs."""
    return {
        "source": terms.source,
        "fidelity": terms.fidelity,
        "condition": terms.condition,
        "judge": "intermediary" if terms.judge is Judge.INTERMEDIARY else "author",
        "not_before": terms.not_before,
        "expires": terms.expires,
    }


def say_put(source: Source, answer: Answer | None, *, regards: bytes) -> str:
    """As what something is put to a side."""
    if regards:
        return f"about your {code(regards)}, {_PASSED[answer]} ({_SOURCES[source]})"
    return _SOURCES[source]


def item_record(item: Item) -> dict[str, Any]:
    """An item for programs."""
    record: dict[str, Any] = {
        "code": code(item.id),
        "phase": item.phase,
        "text": item.text,
        "source": item.source,
        "expires": item.expires,
        "answer": item.answer,
        "about": code(item.about) if item.about else "",
    }
    return record | (
        {"terms": terms_record(item.terms)} if item.terms is not None else {"fidelity": item.fidelity}
    )


def show_carried(arguments: argparse.Namespace, message: Message, name: str) -> None:
    """One word on a carried message, as a talk shows it."""
    event = said(message).event
    record: dict[str, Any] = {
        "event": "shuttle",
        "what": type(event).__name__.lower(),
        "seq": message.seq,
        "name": name,
        "own": message.own,
        "received_at": message.received_at,
        "expires_at": message.expires_at,
    }
    clock = local_time(message.received_at)[-5:]
    who = "you" if message.own else name
    match event:
        case HandedOver(text, terms, answers, answer):
            about = {"about": code(answers), "answer": answer} if answers else {}
            record |= {"code": code(message.id), "text": text, "terms": terms_record(terms), **about}
            verb = (_OWN if message.own else _VERBS)[answer] if answer is not None else ""
            deed = f" {verb}, about {code(answers)}" if verb else ", for the intermediary"
            emit(arguments, record, _lines(f"[{clock}, {code(message.id)}] {who}{deed}:", text, say_terms(terms)))
        case Put(text, source, fidelity, expires, regards, answer):
            about = {"about": code(regards), "answer": answer} if regards else {}
            record |= {"code": code(message.id), "text": text, "source": source, "fidelity": fidelity, **about}
            how = f", {fidelity}" if fidelity is not None else ""
            head = f"[{clock}, {code(message.id)}] {who}: {say_put(source, answer, regards=regards)}{how}:"
            emit(arguments, record, _lines(head, text, f"to be answered until {local_time(expires)}"))
        case _:
            record |= {"code": code(event.item)}
            emit(arguments, record, [f"— {_NOTES[type(event)].format(name=who, code=code(event.item))} —"])


def title_line(message: Message) -> str:
    """What a message is about, in a list of one's own."""
    event = said(message).event
    return event.text if isinstance(event, HandedOver | Put) else type(event).__name__.lower()


def _lines(head: str, text: str, foot: str) -> list[str]:
    return [head, *("    " + line for line in plain(text).split("\n") if text), f"    ({foot})"]
