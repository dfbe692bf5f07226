"""The tables of a round as Markdown and Mermaid: `docs/ideas.md` holds exactly this, as a test compares."""

from pourparler_policies import documents

from .acts import EVENTS
from .device import HOLDS, POSTS, STEPS
from .table import ROUND, WHEN


def life() -> str:
    """The life of a round in the log as a Mermaid state diagram."""
    rows = ["stateDiagram-v2", "    [*] --> gathering: called"]
    for phase, steps in ROUND.items():
        rows += [f"    {phase} --> {after or '[*]'}: {trigger}" for trigger, after in steps.items()]
    return "```mermaid\n" + "\n".join(rows) + "\n```"


def events() -> str:
    """Events of a round, who may post them, and when."""
    rows = []
    for kind, (author, _) in EVENTS.items():
        when = ", ".join(sorted(WHEN[kind])) if kind in WHEN else "-"
        rows.append((f"`{kind.__name__.lower()}`", author, when, " ".join((kind.__doc__ or "").split())))
    return documents.table(("event", "posted by", "while the round is", "meaning"), rows)


def device() -> str:
    """What a device keeps and does in each stage."""
    rows = []
    for stage, steps in STEPS.items():
        does = "; ".join(f"{duty} → {after}" if after is not stage else str(duty) for duty, after in steps.items())
        keeps = ", ".join(sorted(HOLDS[stage])) or "nothing"
        rows.append((str(stage), keeps, does or "nothing", str(POSTS.get(stage, "nothing"))))
    return documents.table(("on the device", "keeps", "does", "says in the log"), rows)


BLOCKS = {"life": life, "events": events, "device": device}


def fill(text: str) -> str:
    """A document with each of these blocks made anew. See `documents.fill`."""
    return documents.fill(text, BLOCKS)
