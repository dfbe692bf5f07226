"""What is allowed in a charter, and is regretted later. Advice is no error: the parties decide."""

from .document import Charter, Party
from .rules import DECIDING, HEAD_DECIDES, Role


def advise(charter: Charter) -> list[str]:
    """One sentence for each thing to talk about before people accept; empty when there is none."""
    advice = []
    if charter.release.signatories == "parties":
        advice += [
            f"{party.name} takes part in a personal capacity, and texts may be published in the name of the "
            "parties: "
            'that would be false. Use release.signatories = "persons" or "participants unnamed".'
            for party in charter.parties.values()
            if party.capacity == "personal"
        ]
    advice += [
        f"{party.name} cannot act once a single device of those who decide for it is lost without a second one, "
        "and nobody else can help it then: name one more card, kept in a safe."
        for party in charter.parties.values()
        if _spare(party) < 1
    ]
    advice += [
        f"There is no agreed line in {tag}: who is asked in that language has nothing to say."
        for tag in charter.languages
        if tag not in charter.agreed_line
    ]
    return advice


def _spare(party: Party) -> int:
    """How many deciding cards can be lost before the party cannot act."""
    if party.decides == HEAD_DECIDES:
        return sum(card.role is Role.HEAD for card in party.cards) - 1
    return sum(card.role in DECIDING for card in party.cards) - party.decides
