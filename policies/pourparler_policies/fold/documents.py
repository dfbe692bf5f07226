"""The tables of the fold as Markdown and Mermaid: `docs/consent.md` holds exactly this, and a test compares
them.
"""

from pourparler_policies import documents

from .acts import EVENTS
from .closing import STAGES
from .table import CONSENT, GROUNDS, PHASES, PROPOSALS, REMOVALS


def diagram() -> str:
    """The life of a device as a Mermaid state diagram."""
    rows = [
        "stateDiagram-v2",
        "    [*] --> lobby: added, as approved",
        "    [*] --> returning: added, as replacement",
        "    [*] --> present: opens the channel",
    ]
    for phase, steps in PHASES.items():
        rows += [f"    {phase} --> {after or '[*]'}: {trigger}" for trigger, after in steps.items()]
    return "\n".join(rows)


def proposals() -> str:
    """MLS proposal, what makes it valid, who may commit it."""
    return documents.table(
        ("proposal", "valid when", "committed by"), [(f"`{k}`", *v) for k, v in PROPOSALS.items()]
    )


def grounds() -> str:
    """Why a device may be added."""
    return documents.table(
        ("ground of an Add", "valid when", "committed by"), [(f"`{k}`", *v) for k, v in GROUNDS.items()]
    )


def removals() -> str:
    """Why a leaf may be removed."""
    return documents.table(
        ("phase", "its leaf may be removed since", "committed by"), [(p, *v) for p, v in REMOVALS.items()]
    )


def consents() -> str:
    """Whose approvals a subject needs."""
    return documents.table(
        ("subject", "needs", "consumed by"), [(f"`{kind.__name__.lower()}`", *v) for kind, v in CONSENT.items()]
    )


def stages() -> str:
    """How a channel ends, and what counts meanwhile."""
    rows = []
    for stage, (since, counts) in STAGES.items():
        names = (
            "all of these rules"
            if counts is None
            else ", ".join(sorted(f"`{c.__name__.lower()}`" for c in counts))
        )
        rows.append((stage, since, names or "nothing"))
    return documents.table(("stage", "begins when", "what counts"), rows)


def events() -> str:
    """Procedure events, and who may post them."""
    rows = []
    for kind, (author, _) in EVENTS.items():
        rows.append((f"`{kind.__name__.lower()}`", author, " ".join((kind.__doc__ or "").split())))
    return documents.table(("event", "posted by", "meaning"), rows)


BLOCKS = {
    "diagram": lambda: f"```mermaid\n{diagram()}\n```",
    "proposals": proposals,
    "grounds": grounds,
    "removals": removals,
    "consents": consents,
    "stages": stages,
    "events": events,
}


def fill(text: str) -> str:
    """A document with each of these blocks made anew. See `documents.fill`."""
    return documents.fill(text, BLOCKS)
