"""A charter as an invited person sees it before accepting, when the charter says that names come after.

Cards are shown as numbered places with their roles; everything else is there. Whoever accepted compares, once the whole
charter is known, that it is the one whose hash was shown, and that this is what it looks like without names.
"""

from dataclasses import replace
from typing import TypeVar

from .document import Card, Charter, Intermediary, Party

AFTER = "after acceptance"
B = TypeVar("B", Party, Intermediary)


def shown_before_acceptance(charter: Charter) -> Charter:
    """The charter itself, or the charter without people's names and cards, as it rules (`admission.names`)."""
    if charter.admission.names != AFTER:
        return charter
    return replace(
        charter,
        parties={key: _without(body, key) for key, body in charter.parties.items()},
        intermediaries={key: _without(body, key) for key, body in charter.intermediaries.items()},
    )


def _without(body: B, key: str) -> B:
    # Roles in a fixed order: which card has which place would tell something of the fingerprints.
    roles = sorted(card.role for card in body.cards)
    cards = tuple(
        Card(_placeholder(key, number), f"{role} {number}", role) for number, role in enumerate(roles, 1)
    )
    return replace(body, cards=cards)


def _placeholder(key: str, number: int) -> bytes:
    """32 bytes that are nobody's fingerprint, and differ for each place."""
    return key.encode().ljust(31, b"\x00")[:31] + bytes([number])
