"""The tables of release as Markdown and Mermaid: `docs/release.md` holds exactly this, as a test compares."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pourparler_policies import documents

from .acts import EVENTS
from .desk import ANSWERS, DESK, KEEPS
from .device import HOLDS, OWES, STEPS
from .relayed import LEGS
from .table import BOARD, CASE, WHEN


def case() -> str:
    """The life of a case in the log as a Mermaid state diagram."""
    return _diagram(["[*] --> appointed: every party has initialled"], CASE)


def device() -> str:
    """The life of a case on one device."""
    return _diagram(["[*] --> committed: takes part"], STEPS)


def desk() -> str:
    """The life of a case at the desk."""
    return _diagram(["[*] --> open: its handle is deposited"], DESK)


def board() -> str:
    """The marks of what was published."""
    return _diagram(["[*] --> published: every signature verified"], BOARD)


def events() -> str:
    """Events of release, who may post them, and when."""
    rows = []
    for kind, (author, _) in EVENTS.items():
        when = ", ".join(sorted(WHEN[kind])) if kind in WHEN else "-"
        rows.append((f"`{kind.__name__.lower()}`", author, when, " ".join((kind.__doc__ or "").split())))
    return documents.table(("event", "posted by", "while the case is", "meaning"), rows)


def holds() -> str:
    """What a device keeps and sends in each stage."""
    rows = [(stage, _words(HOLDS[stage]), _words(OWES[stage])) for stage in STEPS]
    return documents.table(("on the device", "keeps", "sends until that changes"), rows)


def keeps() -> str:
    """What the desk keeps and shows in each phase."""
    return documents.table(("at the desk", "keeps", "answers"), [(p, _words(KEEPS[p]), ANSWERS[p]) for p in DESK])


def _diagram(first: list[str], table: Mapping[Any, Mapping[Any, Any]]) -> str:
    rows = ["stateDiagram-v2", *(f"    {row}" for row in first)]
    for node, steps in table.items():
        for trigger, after in steps.items():
            rows.append(f"    {_id(node)} --> {_id(after) if after else '[*]'}: {str(trigger).replace(':', ',')}")
    return "```mermaid\n" + "\n".join(rows) + "\n```"


def _id(node: str) -> str:
    return node.replace(" ", "_")


def _words(values: frozenset[StrEnum]) -> str:
    return "; ".join(sorted(values)) or "nothing"


def crossing() -> str:
    """What crosses between channels, when, and what its reader does with it."""
    rows = [(leg, row.when, row.does, row.until) for leg, row in LEGS.items()]
    return documents.table(("from signer to signer", "sent when", "when it is here", "awaited until"), rows)


BLOCKS = {
    "case": case,
    "events": events,
    "device": device,
    "holds": holds,
    "desk": desk,
    "keeps": keeps,
    "board": board,
    "crossing": crossing,
}


def fill(text: str) -> str:
    """A document with each of these blocks made anew. See `documents.fill`."""
    return documents.fill(text, BLOCKS)
