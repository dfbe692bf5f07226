"""What a charter means for somebody who takes part, in plain words: no rule is left out, none is made to sound
better.

Each paragraph follows from values of the charter; what a rule does not protect from is said beside it.
"""

from pourparler_policies.errors import Misuse

from .document import Card, Charter, Intermediary, Party
from .rules import HEAD_DECIDES, Role
from .schema import say

_ATTRIBUTION = {
    "attributed": "You may say outside what was said and who said it, unless a message is marked otherwise.",
    "chatham house": "You may use outside what was said, but not who said it, nor who took part.",
    "unattributed": "You may not say outside what was said, by whom, or who took part.",
}
_SIGNATORIES = {
    "parties": "A joint text may be published in the name of the parties.",
    "persons": "A joint text may be published in the names of the persons who take part.",
    "participants unnamed": 'A joint text may be published in the name of "the participants", without names.',
    "nobody": "No joint text is to be published.",
}


def explain(charter: Charter, for_whom: str) -> list[str]:
    """Paragraphs for somebody of the body `for_whom` (its identifier). Raises Misuse when there is no such
    body.
    """
    party = charter.parties.get(for_whom)
    body = party or charter.intermediaries.get(for_whom)
    if body is None:
        known = ", ".join(sorted([*charter.parties, *charter.intermediaries]))
        raise Misuse(f"this charter has no {for_whom}; it has {known}")
    paragraphs = [_what(charter), _who(charter)]
    paragraphs += [_intermediary(entry) for entry in charter.intermediaries.values()]
    paragraphs += [_your_side(party)] if party else [_your_place(body.name)]
    paragraphs += [
        _changes(charter),
        _entering(charter),
        _talk(charter),
        _absence(charter),
        _outside(charter),
        _reporting(charter),
        _release(charter),
        "You may leave at any time, shorten the life of your own words at any time, and withdraw what you "
        "have not "
        "completed. Your device can be cleared in one step, without a connection; then you come back only "
        "with the "
        "others' knowledge.",
        "What this cannot do: a participant may remember, photograph or retell what was said. Nobody can prove it "
        "with anything that this channel leaves behind.",
    ]
    return paragraphs


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _what(charter: Charter) -> str:
    return f"{charter.title}. {charter.purpose} Languages: {', '.join(charter.languages)}."


def _who(charter: Charter) -> str:
    sides = _list([party.name for party in charter.parties.values()])
    places = charter.seats.party
    return (
        f"The parties are {sides}. They have equal standing: each has {places} "
        f"place{'s' if places > 1 else ''}, and "
        f"each person up to {charter.seats.devices} device{'s' if charter.seats.devices > 1 else ''}."
    )


def _intermediary(body: Intermediary) -> str:
    return (
        f"{body.name} takes part as {body.kind}, for {body.institution}. Paid by: {body.funding}. Interests "
        f"declared: "
        f"{body.interests}. It declares that it speaks for no government. It belongs to no party and has no vote."
    )


def _decision(party: Party) -> str:
    if party.decides == HEAD_DECIDES:
        return "what the head approves. If the head leaves for good, all delegates together decide"
    if party.decides == 1:
        return "what any one delegate, or the head, approves"
    return f"what {party.decides} of its head and delegates approve"


def _people(cards: tuple[Card, ...]) -> str:
    return _list([f"{card.name} ({card.role})" for card in cards])


def _your_side(party: Party) -> str:
    capacity = (
        "You take part in a personal capacity: you speak for yourself, not for a government or an organisation."
        if party.capacity == "personal"
        else "You take part with a mandate: you speak for those who sent you."
    )
    text = f"Your side is {party.name}: {_people(party.cards)}. {capacity} Your side's act is {_decision(party)}."
    if any(card.role in {Role.ASSISTANT, Role.INTERPRETER} for card in party.cards):
        text += " Assistants and interpreters may prepare and may object; they cannot approve."
    if party.confirmation != "none":
        text += f" An acceptance may be given subject to confirmation from home, by {party.confirmation}; until"
        text += " then it does not count."
    return text


def _your_place(name: str) -> str:
    return (
        f"You take part for {name}. You have no vote on who enters, on these rules or on what is published. "
        f"You may "
        "vouch that somebody is the person whom the parties approved."
    )


def _changes(charter: Charter) -> str:
    return (
        "These rules change only when every party approves the new text: also when talks in a personal "
        "capacity become "
        "official. Any person of any party can stop a change by objecting, until that person takes the "
        "objection back. "
        "While a party cannot act, nothing is loosened, nobody new is admitted and nothing is published."
    )


def _entering(charter: Charter) -> str:
    names = (
        "Somebody invited sees who takes part only after accepting these rules."
        if charter.admission.names == "after acceptance"
        else "Somebody invited sees who takes part before deciding."
    )
    recall = (
        "A party may call its own people back by itself."
        if charter.admission.recall
        else "No party can call its people back by itself: each takes part for as long as the person wishes."
    )
    return (
        f"Nobody enters without the approval of every party. {names} Until a newcomer's device has been "
        f"checked by "
        f"every party, nobody speaks. {recall} Nobody is put out by the other side: a party's person is "
        f"expelled only "
        "with that party's own approval."
    )


def _talk(charter: Charter) -> str:
    lives = charter.retention
    text = f"A message lives for at most {say(lives.messages)}"
    text += f", and {say(lives.after_reading)} once you have read it" if lives.after_reading else ""
    text += (
        f"; a text on the table for at most {say(lives.papers)}. Whoever is away for longer than a message "
        f"lives will "
        "find only that something expired."
    )
    if lives.read_offline:
        text += (
            " Messages can be read without a connection. This gives something up: a device that was taken "
            "before a "
            "message's end may show it after its end."
        )
    if charter.attribution.ideas:
        text += " Ideas may be put forward without a name, from three people present on."
    return text


def _absence(charter: Charter) -> str:
    return (
        f"A device that has been silent for {say(charter.retention.absence)} may be removed when every "
        f"other party that "
        f"is there says so, and {say(charter.retention.notice)} have passed in which it can answer. The "
        f"place remains: it comes "
        f"back without new approvals. The parties may agree on a recess of up to "
        f"{say(charter.admission.longest_recess)}, "
        "in which nobody is removed. Your own side, or you from your other device, can put your place on "
        "hold at once, "
        "for instance after an arrest."
    )


def _outside(charter: Charter) -> str:
    text = _ATTRIBUTION[charter.attribution.rule]
    for tag, line in sorted(charter.agreed_line.items()):
        text += f' If asked ({tag}): "{line}"'
    return text


def _reporting(charter: Charter) -> str:
    forms = {
        "nothing": "nothing",
        "gist": "the gist",
        "gist without names": "the gist, without names",
        "verbatim": "the very words",
    }
    rules = [f"{entry.who} may tell {entry.whom}: {forms[entry.form]}." for entry in charter.reporting]
    return "Reporting home. " + " ".join(rules)


def _release(charter: Charter) -> str:
    text = _SIGNATORIES[charter.release.signatories]
    if charter.release.signatories == "nobody":
        return text
    release = charter.release
    stop = (
        f"Any party may stop it until "
        f"{say(release.stop_until) if release.stop_until else 'the last moment'} before its hour."
        if release.stop == "any party"
        else "Once signed by all, nobody can stop it."
    )
    return (
        f"{text} Nothing is published, and nothing signed exists, until every party has signed the same "
        f"text. A signing "
        f"appointment stays open for {say(release.sign_within)}. {stop}"
    )
