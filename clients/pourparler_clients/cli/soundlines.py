"""What people read about a sounding: before they answer, what an acceptance commits to and what others will learn.

No sentence here depends on what was answered on this device, or on whether anything was.
"""

from collections.abc import Mapping
from typing import Any, Final

from pourparler_policies.sounding.device import Stage
from pourparler_policies.sounding.facts import Phase

from ..happenings import Happening
from ..soundings import NOT_ALL, Asked
from .texts import local_time, plain

KINDS: Final = frozenset({"sounded", "recalled", "sounding", "counted", "tally", "unsound"})
_STAGES: Final[Mapping[Stage, str]] = {
    Stage.TAKING: "devices of all sides prepare it; it can be answered once they have",
    Stage.OPENED: "devices of all sides prepare it; it can be answered once they have",
    Stage.READY: "this device answers for its side, by itself, whatever you say and if you say nothing",
    Stage.HANDED: "this device has handed in; nobody can know what",
    Stage.WATCHING: "another device answers for your side, or you are of none; this one waits for the result",
    Stage.MISSED: "this device could not hand in in time, which counts as not accepting; it tells the others so",
    Stage.DONE: "it has been counted",
    Stage.BARRED: "it could not begin, or this device was shown something that does not fit: nothing comes of it here",
    Stage.OVER: "it is over",
}
WORDLESS: Final = (
    "Its words can no longer be read on this device: the service has lost its half of their key, or ended it."
)
_AGAIN: Final = "the same may be asked once more (`sound propose --again`)"
_HAPPENINGS: Final[Mapping[str, str]] = {
    "sounded": "{name} asks what all could accept: see `sound status`",
    "recalled": "{name} takes the question back; nothing of it is left",
    "unsound": "the sounding cannot begin here: what came in the name of {text} does not fit. This does not prove that "
    "they did it",
    "tally": "the service does not take this sounding, and nothing can come of it there: {text}",
}


def line_of(happening: Happening, name: str) -> str:
    """One line about something that happened."""
    if happening.kind == "counted":
        if happening.text:
            return f"the sounding: all accept package {happening.text} (`sound status` shows it)"
        return "the sounding: not all accept"
    if happening.kind == "sounding":
        ready = happening.text == Stage.READY
        return (
            "the sounding can be answered: `sound status`" if ready else f"the sounding: {_STAGES[Stage.BARRED]}"
        )
    return _HAPPENINGS[happening.kind].format(name=name, text=plain(happening.text))


def result_of(asked: Asked) -> str:
    """The result in words, empty while there is none."""
    if asked.result is None:
        return ""
    if asked.result == NOT_ALL:
        return "Not all accept. Who does not, and how many, nobody can know."
    if asked.count == 1:
        return "All accept."
    return f"All accept package {asked.result + 1}. Of the others nothing is shown."


def shown(asked: Asked, body: str, left: int) -> tuple[dict[str, Any], list[str]]:
    """All that `sound status` shows."""
    record = {
        "event": "sounding",
        "asked_by": body,
        "packages": list(asked.packages),
        "phase": asked.phase,
        "stage": asked.stage,
        "answer_by": asked.answer_by,
        "closes": asked.closes,
        "sides": asked.sides,
        "here": asked.here,
        "dealt": asked.dealt,
        "may_answer": asked.may_answer,
        "result": asked.result,
        "left": left,
    }
    lines = [f"{plain(body, lines=False)} asks {asked.sides} sides what all could accept.", *texts(asked)]
    lines.append(f"Answer until {local_time(asked.answer_by)}; counted at {local_time(asked.closes)}.")
    if asked.may_answer:
        lines += ["", *warnings(asked), "", "Answer with `sound answer NUMBER ...`, `--all` or `--none`."]
    lines.append(f"Now: {_STAGES[asked.stage]}.")
    if asked.result is not None:
        lines.append(result_of(asked))
    elif asked.may_ask_again:
        how = "the intermediary may deal it once more (`sound deal --again`)" if asked.dealt else _AGAIN
        lines.append(f"Some side's line had failed: {how}.")
    elif asked.phase is Phase.LAPSED:
        lines.append("It has lapsed: some side's device was away.")
    return record, lines


def texts(asked: Asked) -> list[str]:
    """The packages."""
    if not asked.packages:
        return ["", WORDLESS, ""]
    if asked.count == 1:
        return ["", plain(asked.packages[0]), ""]
    return [line for number, text in enumerate(asked.packages, 1) for line in ("", f"{number}.", plain(text))] + [
        ""
    ]


def warnings(asked: Asked) -> list[str]:
    """What an acceptance commits to, and what others learn: shown before the answer."""
    lines = [
        "If you accept: when all sides do, each of them learns that all could live with this text as it stands, and",
        "will count on your word for it. Nothing is signed or published by that.",
        "If you decline, or say nothing: it comes out as “not all accept”. So it does when a device is away.",
    ]
    if asked.sides == 2:
        lines += [
            "There are two sides. Whoever accepts learns the other's answer: if you accept, you will know theirs, and",
            "if they accept, they will know yours. If you decline you learn nothing.",
        ]
    else:
        lines += [
            f"There are {asked.sides} sides. If you accept and not all do, you learn that another did not, and not",
            "which; all the others together, if they tell each other, know what you answered.",
        ]
    if 1 < asked.here < asked.sides:
        lines += [
            f"{asked.here} of these sides are in this room. If all of them accept, and tell each other, they know",
            "together whether everybody outside of this room does; and people of another room, the same of this one.",
        ]
    if asked.count > 1:
        lines += [
            "At most one package that all accept is shown, drawn by lot among those; nothing is shown of any other.",
            "Accept only what you could really live with.",
        ]
    if asked.dealt:
        lines += [
            "An intermediary has dealt this. It is blind to the service and to the other sides, and NOT to the",
            "intermediary: one who cheats can read your answer, and can make any result appear.",
        ]
    else:
        lines += [
            "The service learns whether all accept. Together with one side it could learn whether all the others do,",
            "without that side accepting.",
        ]
    lines += [
        "Your device hands in by itself, at a moment of its own, whatever you say: keep it connected (`watch`).",
        "An acceptance can be taken back until then; a refusal cannot, for nothing is kept with which to accept.",
    ]
    return lines
