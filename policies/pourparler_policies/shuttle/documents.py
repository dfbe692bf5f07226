"""The tables of carried messages as Markdown and Mermaid: `docs/shuttle.md` holds exactly this, as a test compares."""

from pourparler_policies import documents

from .events import KINDS
from .table import LIFE, WHO

_BY = {
    "HandedOver": "a head or delegate of a party",
    "Freed": "whom its terms name",
    "Recalled": "anybody of its author's party",
    "Carried": "an intermediary",
    "Put": "an intermediary",
}


def life() -> str:
    """The life of a carried message as a Mermaid state diagram."""
    rows = [
        "stateDiagram-v2",
        "    [*] --> handed_over: a side hands it over",
        "    [*] --> held: a side hands it over, on a condition",
        "    [*] --> carried: it is put to a side",
    ]
    for phase, steps in LIFE.items():
        for trigger, after in steps.items():
            rows.append(f"    {phase.replace(' ', '_')} --> {after.replace(' ', '_')}: {trigger}")
    return "```mermaid\n" + "\n".join(rows) + "\n```"


def who() -> str:
    """Whose word moves a message."""
    return documents.table(("it moves when", "by"), [(trigger, WHO[trigger]) for trigger in WHO])


def events() -> str:
    """What is said about carried messages, and by whom."""
    rows = [
        (f"`{kind.__name__.lower()}`", _BY[kind.__name__], " ".join((kind.__doc__ or "").split()))
        for kind in KINDS
    ]
    return documents.table(("event", "said by", "meaning"), rows)


BLOCKS = {"life": life, "who": who, "events": events}


def fill(text: str) -> str:
    """A document with each of these blocks made anew. See `documents.fill`."""
    return documents.fill(text, BLOCKS)
