"""A charter as an invited person sees it before accepting, when the charter says that names come after.

Cards are shown as numbered places with their roles; everything else is there. Whoever accepted compares, once the whole
charter is known, that it is the one whose hash was shown, and that this is what it looks like without names.
"""

from collections.abc import Sequence
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


def shown_before_a_yes(charter: Charter, order: Sequence[str]) -> Charter:
    """The charter without any name of a side or a person: for who is asked whether they would meet at all.

    `order` holds the parties' identifiers, drawn at random: places in the list must not tell who they are.
    Intermediaries stay with their declarations. Title, purpose and reporting are as written: they must name nobody.
    """
    numbered = {f"side-{number}": (key, number) for number, key in enumerate(order, 1)}
    return replace(
        charter,
        admission=replace(charter.admission, names=AFTER),
        parties={
            new: replace(_without(charter.parties[key], new), name=f"Side {number}")
            for new, (key, number) in numbered.items()
        },
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
