"""What a charter means for somebody who takes part, in plain words: no rule is left out, none is made to sound
better.

Each paragraph follows from values of the charter; what a rule does not protect from is said beside it. Whatever
the fold does without asking everybody (`docs/consent.md`) is said too.
"""

from typing import Final

from pourparler_policies.errors import Misuse

from .document import Charter, Intermediary, Party, Report
from .rules import HEAD_DECIDES
from .schema import say

_ATTRIBUTION: Final = {
    "attributed": "You may say outside what was said and who said it, unless a message is marked otherwise.",
    "chatham house": "You may use outside what was said, but not who said it, nor who took part.",
    "unattributed": "You may not say outside what was said, by whom, or who took part.",
}
_SIGNATORIES: Final = {
    "parties": "A joint text may be published in the name of the parties.",
    "persons": "A joint text may be published in the names of the persons who take part.",
    "participants unnamed": 'A joint text may be published in the name of "the participants", without names.',
    "nobody": "No joint text is to be published.",
}
_FORMS: Final = {
    "gist": "the gist, with names",
    "gist without names": "the gist, without names",
    "verbatim": "the very words",
}
_ALWAYS: Final = (
    "You may leave at any time, give your own words a shorter life, and withdraw what you have not completed. You "
    "can erase this channel on your device at once, without a connection; then you come back only with the "
    "others' knowledge. The channel ends for everyone when every party that is there approves.",
    "What this cannot do: a participant may remember, photograph or retell what was said. Nobody can prove it "
    "with anything that this channel leaves behind.",
)
_IDEAS: Final = (
    "Ideas may be put forward without a name, in rounds in which at least three people take part. Everybody's device "
    "then sends as much as everybody else's, idea or not, at the same time, and nobody can read anything before each "
    "device has found its own in the list. Nothing on a device or at the service says afterwards whose an idea was. "
    "What this cannot do: your words may give you away; if all others work together, what is not theirs is yours; and "
    "whoever runs the service can, together with one of the people here, join an idea to the address from which it "
    "came, unless the devices reach the service through Tor."
)
# What a charter already rules, and the program does not apply yet. Who builds one of these strikes it out here.
NOT_YET: Final[tuple[str, ...]] = ()


def explain(charter: Charter, for_whom: str = "", *, accepted: bool = False) -> list[str]:
    """Paragraphs for somebody of the body `for_whom` (its identifier), or for whoever reads for all.

    Who is named in the charter is told only if it lets invited people see that, or to who has `accepted`. Raises
    Misuse when there is no such body.
    """
    bodies: dict[str, Party | Intermediary] = {**charter.parties, **charter.intermediaries}
    if for_whom and for_whom not in bodies:
        raise Misuse(f"this charter has no {for_whom}; it has {', '.join(sorted(bodies))}")
    own = charter.intermediaries.get(for_whom)
    return [
        _what(charter),
        _who(charter),
        *(_intermediary(entry) for entry in charter.intermediaries.values()),
        *([_your_place(own)] if own else []),
        *(_side(party, own=True) for key, party in charter.parties.items() if key == for_whom),
        *(_side(party, own=False) for key, party in charter.parties.items() if key != for_whom),
        _people(bodies, told=accepted or charter.admission.names == "before acceptance"),
        _changes(charter),
        _entering(charter),
        _leaving(charter),
        _talk(charter),
        _absence(charter),
        _outside(charter),
        reporting(charter),
        _soundings(charter),
        _release(charter),
        *([_IDEAS] if charter.attribution.ideas else []),
        *_ALWAYS,
        *_not_yet(),
    ]


def _not_yet() -> list[str]:
    listed = ", ".join(NOT_YET)
    told = f"The program does not apply these yet, so that until it does they bind people only: {listed}."
    return [told] if NOT_YET else []


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _sentence(text: str) -> str:
    """With one full stop, whether its author wrote one or not."""
    return text if text.endswith((".", "!", "?", "…", "。", "؟", "।", "።")) else text + "."


def _bare(text: str) -> str:
    return text.removesuffix(".")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' if number != 1 else ''}"


def _what(charter: Charter) -> str:
    return f"{_sentence(charter.title)} {_sentence(charter.purpose)} Languages: {', '.join(charter.languages)}."


def _who(charter: Charter) -> str:
    sides = _list([party.name for party in charter.parties.values()])
    seats = charter.seats
    text = (
        f"The parties are {sides}. They have equal standing: each has {_count(seats.party, 'place')}, and each "
        f"person {'one device' if seats.devices == 1 else f'up to {seats.devices} devices'}."
    )
    if charter.intermediaries:
        text += f" An intermediary has up to {_count(seats.intermediary, 'place')}."
    return text


def _intermediary(body: Intermediary) -> str:
    return (
        f"An intermediary takes part: {body.name}, as {body.kind}. Its institution: {_sentence(body.institution)} "
        f"Paid by: {_sentence(body.funding)} Interests declared: {_sentence(body.interests)} It declares that it "
        "speaks for no government. It hears all that is said here, belongs to no party, and has no vote."
    )


def _decision(party: Party) -> str:
    if party.decides == HEAD_DECIDES:
        return "what the head approves. If no head is left, all delegates together decide"
    if party.decides == 1:
        return "what any one delegate, or the head, approves"
    return (
        f"what {party.decides} of its head and delegates approve. If fewer are left, all of them decide together"
    )


def _side(party: Party, *, own: bool) -> str:
    who = f"Your side is {party.name}. You take part" if own else f"{party.name}: its people take part"
    if party.capacity == "personal":
        speaks = "you speak for yourself" if own else "they speak for themselves"
        text = f"{who} in a personal capacity: {speaks}, not for a government or an organisation."
    else:
        speaks = "you speak for those who sent you" if own else "they speak for those who sent them"
        text = f"{who} with a mandate: {speaks}."
    text += f" {'Your side' if own else 'This side'}'s act is {_decision(party)}."
    if party.confirmation != "none":
        text += (
            f" An acceptance may be given subject to confirmation from home, by {_bare(party.confirmation)}; "
            "until then it does not count."
        )
    return text


def _people(bodies: dict[str, Party | Intermediary], *, told: bool) -> str:
    if not told:
        return "Who takes part, you see once you have accepted these rules."
    named = (
        f"for {body.name}: {_list([f'{card.name} ({card.role})' for card in body.cards])}"
        for body in bodies.values()
    )
    return "Named in these rules: " + "; ".join(named) + "."


def _your_place(body: Intermediary) -> str:
    return (
        f"You take part for {body.name}. You have no vote on who enters, on these rules or on what is published. "
        "You may vouch that somebody is the person whom the parties approved."
    )


def _changes(charter: Charter) -> str:
    return (
        "These rules change only when every party approves the new text: also when talks in a personal capacity "
        "become official. Any person of any party can stop a change by objecting, until that person takes the "
        "objection back. Assistants and interpreters prepare, and may object; they cannot approve. While a party "
        "cannot act, because too few of those who decide for it are there, nothing is loosened and nothing is "
        "published; nobody enters but people whom these rules name and who have not come yet, and whoever comes "
        "back."
    )


def _entering(charter: Charter) -> str:
    names = (
        "Somebody invited sees who takes part only after accepting these rules."
        if charter.admission.names == "after acceptance"
        else "Somebody invited sees who takes part before deciding."
    )
    second = "A second device of the same person needs no approval. " if charter.seats.devices > 1 else ""
    return (
        "The people whom these rules name enter first, and each party that is there already approves. No other "
        f"person enters without the approval of every party. {names} Until a newcomer's device has been "
        f"checked by every party that is there, nobody speaks. {second}If a device is lost, the person's own side "
        "decides about the new card, and another party or an intermediary vouches that it is the same person. All "
        "are told of each."
    )


def _leaving(charter: Charter) -> str:
    recall = (
        "A party may call its own people back by itself."
        if charter.admission.recall
        else "No party can call its people back by itself: it can only put their place on hold."
    )
    expelled = (
        "Nobody is put out by the other side: a party's person is expelled only when every party approves, that "
        "party too; only the person's own objection does not count."
    )
    if charter.intermediaries:
        expelled += " An intermediary is put out when all parties approve."
    return (
        f"{recall} {expelled} Anybody of your own side, or you from your other device, can put your place on hold "
        "at once, for instance after an arrest. Your own side lifts the hold; if nobody who decides for it is "
        "there, another party or an intermediary does."
    )


def _talk(charter: Charter) -> str:
    lives = charter.retention
    text = f"A message lives for at most {say(lives.messages)}"
    text += f", and {say(lives.after_reading)} once your device has shown it to you" if lives.after_reading else ""
    text += (
        f"; a text on the table for at most {say(lives.papers)}. Whoever is away for longer than a message lives "
        "will find only that something expired. A file lives as a message does, and is read when it is opened. "
        f"Each device renews its keys every {say(lives.keys).removeprefix('1 ')}. Who takes part and what was approved "
        "stays on the devices for as long as the channel lasts."
    )
    if lives.read_offline:
        text += (
            " Messages can be read without a connection. This gives something up: a device that was taken before "
            "a message's end may show it after its end."
        )
    else:
        text += (
            " Reading what a device has stored needs a connection, after each time it was closed. So a device that "
            "was switched off, copied or set back before a message's end shows nothing of it afterwards, at most an "
            "hour later."
        )
    return text


def _absence(charter: Charter) -> str:
    return (
        f"A device that has been silent for {say(charter.retention.absence)} may be removed when every other "
        f"party that is there says so, and {say(charter.retention.notice)} have passed in which it can answer. "
        "How long it was silent is those parties' word; an answer within that time is enough to stay. The place "
        "remains: the device comes back without new approvals. The parties may agree on a recess of up to "
        f"{say(charter.admission.longest_recess)}, in which nobody is removed for silence; what was said until then is "
        "erased on every device."
    )


def _outside(charter: Charter) -> str:
    text = _ATTRIBUTION[charter.attribution.rule]
    if charter.attribution.rule != "attributed":
        text += " Only the reports that follow are excepted."
    for tag, line in sorted(charter.agreed_line.items()):
        text += f' If asked ({tag}): "{line}"'
    return text


def reporting(charter: Charter) -> str:
    """Who may tell whom at home, in which form: shown wherever something leaves a channel."""
    return "Reporting home. " + " ".join(map(_report, charter.reporting))


def _report(entry: Report) -> str:
    if entry.form != "nothing":
        return f"{entry.who} may tell {_bare(entry.whom)}: {_FORMS[entry.form]}."
    whom = "anybody" if _bare(entry.whom).lower() in {"nobody", "none"} else _bare(entry.whom)
    return f"{entry.who} may tell nothing to {whom}."


def _soundings(charter: Charter) -> str:
    if not charter.release.soundings:
        return "Nobody asks by a sounding what all could accept."
    often = "once" if charter.release.soundings == 1 else f"{charter.release.soundings} times"
    return (
        f"Each side and each intermediary may ask {often} within thirty days, by a sealed sounding, whether all could "
        "accept a text. The only answer is that all accept, or that not all do; who says nothing declines. Who accepts "
        "learns something of the others' answers: with two sides, all of it."
    )


def _release(charter: Charter) -> str:
    text = _SIGNATORIES[charter.release.signatories]
    if charter.release.signatories == "nobody":
        return text
    release = charter.release
    stop = (
        f"Any party may stop it until {say(release.stop_until)} before its hour."
        if release.stop == "any party"
        else "Once signed by all, nobody can stop it."
    )
    early = (
        " A dishonest service together with one party could show early that one of the others has signed."
        if len(charter.parties) > 2
        else ""
    )
    return (
        f"{text} Nothing is published, and nothing signed exists, until every party has signed the same text. A "
        f"signing appointment stays open for {say(release.sign_within)}, and the devices have "
        f"{say(release.deposit_within)} more to complete it. {stop}{early}"
    )
