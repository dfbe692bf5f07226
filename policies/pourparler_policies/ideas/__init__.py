"""Ideas without a name: rounds in which everybody sends as much as everybody else (DESIGN 4.4, #13).

A part of the folded state beside consent and release: `release.apply` asks `acts.apply` and `acts.settle`. `device`
says what one device owes, `content` what a packet holds.
"""

from pourparler_policies.charter import Charter

from .facts import IdeaRules

__all__ = ["IdeaRules", "idea_rules"]


def idea_rules(charter: Charter) -> IdeaRules:
    """What a charter says of ideas."""
    return IdeaRules(charter.attribution.ideas, charter.retention.messages)
