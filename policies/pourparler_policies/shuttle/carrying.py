"""Whether something may be carried, and how it looks to who receives it. Each refusal says why.

1. What is said to be verbatim is byte for byte what was handed over. A gist is not: it is in other words.
2. What is not from the party shows nothing of a party: neither that there is one, nor how close the words are.
3. Times that cross are rounded down: an exact one would tell the other side when it was handed over. Those of the
   intermediary's own ideas are made alike, or they would show which ideas are its own.
"""

import re
import unicodedata
from typing import Final

from pourparler_policies import hours
from pourparler_policies.errors import Misuse
from pourparler_policies.limits import HOUR, MINUTE

from .events import NOTHING, Answer, Fidelity, Judge, Put, Source, Terms, check
from .room import Item
from .table import Phase

RUN: Final = 40  # characters in a row that a gist shares with the words: its author may be known by them
LONGEST_DELAY: Final = (
    20 * MINUTE
)  # seconds that what was carried waits at most, unless somebody chooses otherwise
DELAY_PART: Final = 4  # at most a quarter of the time that is left to answer
YOUNGER_PART: Final = 2  # an own idea is as old, at random, as what has waited for up to half of a message's life


def check_terms(terms: Terms, now: int, ends: int) -> None:
    """Raises Misuse, with the reason, for terms that cannot be; `ends`: when the message itself ends (Unix seconds)."""
    if terms.expires <= now:
        raise Misuse("these terms have expired already")
    if terms.expires > ends:
        raise Misuse("the terms cannot last longer than a message lives in this channel")
    if terms.not_before >= terms.expires:
        raise Misuse("it could be carried only when its terms have expired")


def check_carry(item: Item, now: int) -> None:
    """Raises Misuse, with the reason, unless the terms let the intermediary carry this now."""
    if item.terms is None:
        raise Misuse("this was put to this side by the intermediary: there is nothing to carry")
    if item.phase is Phase.HELD:
        judge = "its author's party says" if item.terms.judge is Judge.AUTHOR else "you say (`pourparler free`)"
        raise Misuse(f"it is held until {judge} that this is so: {item.terms.condition}")
    if item.phase is Phase.RECALLED:
        raise Misuse("its author's party has taken it back")
    if item.phase is Phase.LAPSED or item.expires <= now:
        raise Misuse("its terms have expired")
    if item.phase is not Phase.HANDED_OVER:
        raise Misuse("it was carried already: a message is carried once")
    if now < item.terms.not_before:
        raise Misuse("by its terms it is not carried yet")


def check_words(item: Item, text: str) -> None:
    """Raises Misuse, with the reason, unless `text` is as close to the words as the terms want."""
    if item.fidelity is Fidelity.VERBATIM:
        if text.encode() != item.text.encode():
            raise Misuse("its terms say verbatim: not a letter may differ from what was handed over")
    elif text.strip() and _bare(text) == _bare(item.text):
        raise Misuse("its terms say gist: these are its very words; say it in yours")


def check_answer(item: Item, answer: Answer | None) -> None:
    """Raises Misuse unless what is said of an answer is true, or nothing (which only a gist may leave open)."""
    if answer is item.answer:
        return
    if answer is not None:
        raise Misuse(f"what came is {_an(item.answer)}: it is not passed on as {_an(answer)}")
    if item.fidelity is Fidelity.VERBATIM:
        raise Misuse("its terms say verbatim: whether it accepts or declines belongs to it")


def shared_run(item: Item, text: str) -> bool:
    """Whether a gist shares RUN characters in a row with the words: then its author's style may show."""
    original, gist = _flat(item.text), _flat(text)
    windows = {original[start : start + RUN] for start in range(len(original) - RUN + 1)}
    return any(gist[start : start + RUN] in windows for start in range(len(gist) - RUN + 1))


def as_put(item: Item, text: str, ends: int, life: int, regards: bytes, answer: Answer | None) -> Put:
    """What the receiving side is shown. `ends`: when the message ends in the room from which it comes; `life`: how
    long one lives (seconds) in the room to which it goes. Raises Misuse when the terms forbid it.
    """
    check_words(item, text)
    check_answer(item, answer)
    fidelity = item.fidelity if item.source is Source.PARTY else None
    put = Put(text, item.source, fidelity, rounded(min(item.expires, ends), life), regards, answer)
    check(put)
    return put


def own_idea(text: str, expires: int, *, hypothetical: bool, regards: bytes = NOTHING) -> Put:
    """What the intermediary puts to a side of its own accord; with `own_times` it looks as what is carried so."""
    put = Put(text, Source.HYPOTHETICAL if hypothetical else Source.IDEA, None, expires, regards)
    check(put)
    return put


def own_times(now: int, life: int, until: int, younger: int) -> tuple[int, int]:
    """Until when (Unix seconds) an own idea may be answered, and when it ends, as they would be for something that was
    handed over `younger` seconds ago and then carried into a room of this `life` (seconds). `until`: at most so long.
    """
    ends = rounded(now + life - younger, life)
    return rounded(min(until, ends), life), ends


def rounded(ends: int, life: int) -> int:
    """A time (Unix seconds) that crosses, rounded down as far apart as ends of texts of this life (seconds) lie."""
    return ends // hours.step(life) * hours.step(life)


def longest_delay(put: Put, now: int, wanted: int) -> int:
    """How many seconds at most what was carried may wait before it leaves this device."""
    return max(0, min(wanted, (put.expires - now) // DELAY_PART))


def life_at_service(left: int, longest: int) -> int:
    """How long (seconds) the service keeps what was carried: a power of two of hours that covers what is `left` of it,
    at most the room's life `longest`. What is left in exact seconds would end when the other room's entry does.
    """
    life = HOUR
    while life < left:
        life *= 2
    return min(life, longest)


def _bare(text: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold())


def _flat(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _an(answer: Answer | None) -> str:
    return {None: "no answer", Answer.ACCEPT: "an acceptance"}.get(answer, f"a {answer}")
