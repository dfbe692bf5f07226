"""Commands before there is a channel: ask people whether they would meet, on which terms; say so, or not.

Institution and rules are shown at once, names only when everybody has said yes.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pourparler_crypto.card import Card
from pourparler_policies.charter.explaining import explain

from .. import inquiries
from ..errors import Refused, Unreachable, UserError
from ..inquiries import ALL, MISSED, NOT_ALL, UNKNOWN, Held
from . import locking
from .common import duration, emit, local_time, open_device, plain, read_charter, read_text
from .files import create

Add = Callable[..., None]
_POLL: Final = 5.0  # seconds between looks while a command waits
_SERVICE: Final = ("--service", {"required": True, "metavar": "URL", "help": "the service's address"})
_RESULTS: Final = {
    NOT_ALL: "Not everybody has said yes. Who has not, and how many, nobody can know. No names were shown to anybody.",
    ALL: "Everybody has said yes. These are the people, and the whole of the rules:",
    MISSED: "This device did not come by in time, which counts as a no. Ask the intermediary to ask again.",
}
_BEFORE: Final = (
    "Nothing shows who made this inquiry: compare its digits with the intermediary, by a way that you trust.",
    "If everybody who is asked says yes, each of them sees the names in these rules, yours too, and expects to be",
    "invited. If anybody says no, or nothing, or does not come by, it comes out as “not everybody”, and no names open.",
    "It is blind to the service and to the others, and NOT to the intermediary: one who cheats can read your answer,",
    "can make any result appear, and can ask you alone. It knows the names anyway.",
    "A yes can be taken back until the time to answer is over; a no cannot.",
)


def add_acts(verbs: Any, add: Add, times: Any, elsewhere: Any) -> None:
    """Registers `inquire`, `inquiry` and `inquiries`; `elsewhere` is said inside `talk`."""
    cards = ("cards", {"nargs": "+", "type": Path, "metavar": "CARD", "help": "a card of each side"})
    charter = (
        "--charter",
        {
            "required": True,
            "type": Path,
            "metavar": "FILE",
            "help": "the rules; sides and people are left out at first",
        },
    )
    out = ("--out", {"required": True, "type": Path, "metavar": "DIR", "help": "a folder for one file a card"})
    add(
        verbs,
        "inquire",
        "before a channel: ask people whether they would meet",
        elsewhere,
        cards,
        _SERVICE,
        charter,
        out,
        *times,
    )
    verbs.choices["inquire"].set_defaults(run=_inquire)
    file = ("inquiry", {"type": Path, "metavar": "FILE", "help": "the inquiry's file, or - for standard input"})
    say = ("--say", {"choices": ("yes", "no"), "help": "your answer, instead of being asked"})
    add(verbs, "inquiry", "read an inquiry, and answer it", elsewhere, file, say)
    verbs.choices["inquiry"].set_defaults(run=_inquiry)
    wait = ("--wait", {"type": duration, "help": "stay until all of them are counted, at most so long"})
    add(verbs, "inquiries", "where inquiries stand; hands in what this device owes", elsewhere, wait)
    verbs.choices["inquiries"].set_defaults(run=_inquiries)


async def _inquire(arguments: argparse.Namespace) -> int:
    cards = [Card.decode(read_text(path, "card")) for path in arguments.cards]
    charter = read_charter(arguments.charter)
    places = [arguments.out / f"{number}.inquiry" for number in range(1, len(cards) + 1)]
    _check_new(places)
    digits, texts = inquiries.make(
        cards,
        charter,
        arguments.service,
        int(time.time()),
        answer_within=arguments.answer_within,
        collect_within=arguments.collect_within,
    )
    arguments.out.mkdir(mode=0o700, parents=True, exist_ok=True)
    for place, text in zip(places, texts, strict=True):
        create(place, text + "\n")
    lines = [f"{number}.inquiry is for {plain(card.name, lines=False)}" for number, card in enumerate(cards, 1)]
    emit(
        arguments,
        {"event": "inquired", "digits": digits, "sides": len(cards)},
        [
            *lines,
            f"Its digits, to say to each of them: {digits}",
            "Title, purpose and reporting rules are shown as they are written: they must name nobody.",
            "Nothing of it is kept. Give each file to its person, then delete the folder.",
        ],
    )
    return 0


def _check_new(places: list[Path]) -> None:
    """Raises UserError where other inquiries are, perhaps another side's."""
    if any(os.path.lexists(place) for place in places):
        raise UserError(f"{places[0].parent} has inquiries in it already: choose another folder with --out")


async def _inquiry(arguments: argparse.Namespace) -> int:
    text = read_text(arguments.inquiry, "inquiry", inquiries.MAX_TEXT)
    async with open_device(arguments) as device:
        held = inquiries.receive(device.vault, device.card_key, text, device.clock())
        record, lines = _shown(held)
        emit(arguments, record, [*lines, "", *_BEFORE, ""])
        said = arguments.say
        if said is None:
            if not sys.stdin.isatty():
                raise UserError("nobody is there to be asked: use a terminal, or --say")
            asked = "Would you meet, on these terms? Type yes, no, or nothing for later: "
            said = (await locking.answered(asked)).strip().casefold()
            if said not in ("yes", "no", ""):  # who believes to have said yes must not be silently counted as a no
                raise UserError("nothing was answered: that is neither yes nor no. Run the same command again")
        if said in ("yes", "no"):
            inquiries.answer(device.vault, held.handle, device.clock(), yes=said == "yes")
        middle = (held.tally.opens + held.tally.closes) // 2
        emit(
            arguments,
            {"event": "noted", "from": middle, "until": held.tally.closes},
            [
                "What you said stays on this device. Whatever it was, come by (`pourparler sound inquiries`) between",
                f"{local_time(middle)} and {local_time(held.tally.closes)}, or leave it running with --wait.",
            ],
        )
    return 0


def _shown(held: Held) -> tuple[dict[str, Any], list[str]]:
    """An inquiry; nothing depends on what was answered here, or on whether anything was."""
    rules = explain(held.charter, accepted=held.result == ALL)
    record = {
        "event": "inquiry",
        "digits": held.digits,
        "sides": len(held.tally.slots),
        "answer_by": held.tally.opens,
        "closes": held.tally.closes,
        "result": None if held.result == UNKNOWN else held.result,
        "rules": rules,
    }
    lines = [
        f"Inquiry {held.digits}: would you meet, on these terms? {len(held.tally.slots)} sides are asked.",
        f"Answer until {local_time(held.tally.opens)}; counted at {local_time(held.tally.closes)}.",
        *([_RESULTS[held.result]] if held.result != UNKNOWN else []),
        *(["", *(plain(paragraph) for paragraph in rules)] if held.result in (UNKNOWN, ALL) else []),
    ]
    return record, lines


async def _inquiries(arguments: argparse.Namespace) -> int:
    async with open_device(arguments) as device:
        deadline = time.monotonic() + (arguments.wait or 0)
        while True:
            trouble = ""
            try:
                await device.visit_inquiries()
            except (Unreachable, Refused) as error:
                trouble = str(error)
            held = inquiries.all(device.vault)
            waiting = any(one.result == UNKNOWN for one in held)
            if not waiting or time.monotonic() >= deadline:
                break
            await asyncio.sleep(_POLL)
        for one in held:
            emit(arguments, *_shown(one))
        if trouble:
            emit(arguments, {"event": "trouble", "text": trouble}, [f"ATTENTION: {trouble}"])
        if not held:
            emit(arguments, {"event": "no inquiries"}, ["There is no inquiry in this vault."])
    return 0
