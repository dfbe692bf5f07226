"""What a charter may say: every key with its kind, its limits, and the remedy when it is wrong.

One table serves the check, the questionnaire and the guide (`docs/charter.md`). An unknown key is an error: a rule
that nobody enforces must not stand in a charter.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pourparler_policies.limits import DAY, HOUR, MAX_LIFE, MINUTE

MAX_NAME: Final = 64  # characters: fits one line of a small screen
MAX_TEXT: Final = 2000  # characters of a free text: a screen
MAX_LIST: Final = 32  # entries of a list
UNITS: Final = {"minute": MINUTE, "hour": HOUR, "day": DAY, "week": 7 * DAY}  # seconds


class Wrong(Exception):
    """A value is wrong: what, and the remedy."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what, self.remedy = what, remedy


Kind = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a charter. `default` None means that it must be there."""

    name: str
    kind: Kind
    about: str
    default: Any = None


@dataclass(frozen=True, slots=True)
class Duration:
    """Whole seconds, `low` to `high`, from words like "7 days"."""

    low: int
    high: int

    def __call__(self, value: Any) -> int:
        """The seconds. Raises Wrong."""
        match = (
            re.fullmatch(r"([1-9][0-9]{0,5}) (minute|hour|day|week)s?", value) if isinstance(value, str) else None
        )
        if match is None:
            raise Wrong("this is no length of time", 'write a number and minutes, hours, days or weeks: "7 days"')
        seconds = int(match[1]) * UNITS[match[2]]
        if not self.low <= seconds <= self.high:
            raise Wrong("this length of time is out of range", f"choose from {say(self.low)} to {say(self.high)}")
        return seconds


def say(seconds: int) -> str:
    """A length of time in words that `Duration` reads."""
    for unit in ("week", "day", "hour", "minute"):
        if seconds % UNITS[unit] == 0 and (unit != "week" or seconds // UNITS[unit] > 1):
            count = seconds // UNITS[unit]
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return f"{seconds} seconds"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words, each with its meaning."""

    meanings: Mapping[str, str]

    def __call__(self, value: Any) -> str:
        """The word. Raises Wrong."""
        if not isinstance(value, str) or value not in self.meanings:
            raise Wrong(
                "this is not one of the choices",
                "write one of: " + ", ".join(f'"{word}"' for word in self.meanings),
            )
        return value


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number from `low` to `high`."""

    low: int
    high: int

    def __call__(self, value: Any) -> int:
        """The number. Raises Wrong."""
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise Wrong(
                "this is not a possible number",
                f"write a whole number from {self.low} to {self.high}, without quotes",
            )
        return value


def yes_no(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Wrong("this is neither true nor false", "write true or false, without quotes")
    return value


def must_be_true(value: Any) -> bool:
    """Only true."""
    if value is not True:
        raise Wrong(
            "this has to be true", "write true; a body for which it is not true is a party, not an intermediary"
        )
    return True


# What readers cannot see: controls, marks and overrides of direction, invisible operators, tags, surrogates and
# noncharacters. A closed list: Unicode's own categories change with its version, and members must never differ.
_INVISIBLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u180b-\u180f\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ufdd0-\ufdef\ufeff\uffa0\ufff0-\uffff\U0001d173-\U0001d17a\U000e0000-\U000fffff\U0010fffe\U0010ffff]"
)


def _visible(value: str) -> None:
    hidden = _INVISIBLE.search(value)
    if hidden is not None:
        raise Wrong(f"this holds U+{ord(hidden[0]):04X}, which readers cannot see", "type the passage anew")


def name(value: Any) -> str:
    """A name on one line, the same for every reader. Joiners stay allowed: Persian and Sinhala need them."""
    if not isinstance(value, str) or not value.strip() or value != value.strip() or len(value) > MAX_NAME:
        raise Wrong(
            f"this is no name of 1 to {MAX_NAME} characters", "write it between quotes, without blanks around it"
        )
    _visible(value)
    return value


def text(value: Any) -> str:
    """A free text, up to a screen long. Line breaks are allowed."""
    if not isinstance(value, str) or not value.strip():
        raise Wrong("a text is missing here", 'write it between quotes; write "none" if there is nothing to say')
    if len(value) > MAX_TEXT:
        raise Wrong(f"this text has {len(value)} characters", f"shorten it to {MAX_TEXT}")
    if value.strip().startswith("<") and value.strip().endswith(">"):  # nobody declares by oversight
        raise Wrong("this is an example from a preset", "write here what is true of these talks, without < and >")
    _visible(value.replace("\n", ""))
    return value.strip()


def language(value: Any) -> str:
    """A language tag of BCP 47 in its usual form: en, ar, sr-Cyrl, pt-BR."""
    if not isinstance(value, str) or not re.fullmatch(
        r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?", value
    ):
        raise Wrong("this is no language tag", 'write the tag of BCP 47: "en", "ar", "sr-Cyrl", "pt-BR"')
    return value


def languages(value: Any) -> tuple[str, ...]:
    """One or more languages, each once, in the order given."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_LIST or len(set(map(str, value))) != len(value):
        raise Wrong("this is no list of different languages", 'write a list: ["en", "ar"]')
    return tuple(language(entry) for entry in value)


def fingerprint(value: Any) -> bytes:
    """32 bytes in hexadecimal; blanks between groups are allowed."""
    digits = "".join(value.split()) if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise Wrong(
            "this is no card's fingerprint",
            "put it in with `pourparler charter add`, or take the entry out",
        )
    return bytes.fromhex(digits)


def decision(value: Any) -> int:
    """0 for the head, k for k of the head and the delegates."""
    match = re.fullmatch(r"([2-9]) of the delegates", value) if isinstance(value, str) else None
    if value == "the head":
        return 0
    if value == "any delegate":
        return 1
    if match is None:
        raise Wrong(
            "this is no decision rule", 'write "the head", "any delegate", or "2 of the delegates" (2 to 9)'
        )
    return int(match[1])


LIFE: Final = Duration(MINUTE, MAX_LIFE)
ATTRIBUTION: Final = Choice(
    {
        "attributed": "what was said and who said it may be told outside, unless a message is marked otherwise",
        "chatham house": "what was said may be used outside, but not who said it, nor who took part",
        "unattributed": "outside nobody may tell what was said, by whom, or who took part",
    }
)
NAMES: Final = Choice(
    {
        "after acceptance": "only once the invited person has accepted these rules",
        "before acceptance": "before the invited person decides",
    }
)
SIGNATORIES: Final = Choice(
    {
        "parties": "in the name of the parties",
        "persons": "in the names of the persons who take part",
        "participants unnamed": 'in the name of "the participants", without names',
        "nobody": "no joint text is to be published",
    }
)
STOP: Final = Choice(
    {"any party": "any party, by itself", "nobody": "nobody: once signed by all, it will be published"}
)
CAPACITY: Final = Choice(
    {
        "personal": "they speak for themselves, not for a government or an organisation",
        "mandated": "they speak for those who sent them",
    }
)
KINDS: Final = Choice(
    {
        "facilitator": "helps the parties to talk with each other",
        "mediator": "also proposes ways out",
        "go-between": "carries messages between sides that do not meet",
        "host": "gives the place, and stays out of the text",
    }
)
ROLES: Final = Choice(
    {
        "head": "leads the delegation, and may decide for it",
        "delegate": "may decide for the party, as its decision rule says",
        "assistant": "prepares and may object; never approves",
        "interpreter": "interprets and may object; never approves",
    }
)
FORMS: Final = Choice(
    {
        "gist": "what it came to, and who said so",
        "gist without names": "what it came to, without who said it",
        "verbatim": "the very words",
        "nothing": "nothing at all",
    }
)

TOP: Final = (
    Key("charter", Number(1, 1), "the form of this document"),
    Key("policy", Number(1, 1), "the version of the rules that every device applies"),
    Key("title", name, "what this channel is called; a neutral title, it may be seen over a shoulder"),
    Key("purpose", text, "why the parties talk, in a sentence that each of them accepts"),
    Key("languages", languages, "the languages of the talks"),
)
SECTIONS: Final[dict[str, tuple[Key, ...]]] = {
    "seats": (
        Key("party", Number(1, 32), "places that each party has, the same for every party"),
        Key("intermediary", Number(1, 8), "places that each intermediary has", 2),
        Key("devices", Number(1, 2), "devices that one person may have", 2),
    ),
    "retention": (
        Key("messages", LIFE, "how long a message lives at most"),
        Key("after_reading", LIFE, "how long it lives once read; leave out for no such rule", 0),
        Key("papers", LIFE, "how long a text on the table lives at most"),
        Key("absence", Duration(DAY, MAX_LIFE), "how long a device may be silent before it can be removed"),
        Key("notice", Duration(HOUR, 30 * DAY), "how long before such a removal the device is warned", 3 * DAY),
        Key("keys", Duration(HOUR, 30 * DAY), "how often a device renews its keys", DAY),
        Key("read_offline", yes_no, "whether messages can be read without a connection; weakens expiry", False),
    ),
    "attribution": (
        Key("rule", ATTRIBUTION, "who may say outside who said what"),
        Key("ideas", yes_no, "whether ideas may be put forward without a name", False),
    ),
    "admission": (
        Key("names", NAMES, "when an invited person sees who takes part"),
        Key("recall", yes_no, "whether a party may call back its own people by itself", True),
        Key("longest_recess", Duration(DAY, MAX_LIFE), "how long a recess may be", 180 * DAY),
    ),
    "release": (
        Key(
            "signatories",
            SIGNATORIES,
            "in whose name a joint text may be published",
        ),
        Key("sign_within", Duration(HOUR, 30 * DAY), "how long a signing appointment stays open", 2 * DAY),
        Key("deposit_within", Duration(HOUR, 30 * DAY), "how long after that devices may complete it", DAY),
        Key("stop", STOP, "who may stop a signed text before its hour", "any party"),
        Key("stop_until", Duration(MINUTE, 7 * DAY), "how long before the hour it can no longer be stopped", HOUR),
        Key("soundings", Number(0, 24), "how many soundings each side may begin within thirty days", 4),
    ),
}
PARTY: Final = (
    Key("name", name, "how the party is called here; a cover name is fine"),
    Key("capacity", CAPACITY, "whether its people speak for themselves or for somebody"),
    Key("decides", decision, "whose act is the party's act"),
    Key("confirmation", text, 'who at home confirms an acceptance, and by when; "none" if nobody', "none"),
)
INTERMEDIARY: Final = (
    Key("name", name, "how the intermediary is called here"),
    Key("kind", KINDS, "what it does"),
    Key("institution", text, "the institution behind it"),
    Key("funding", text, "who pays"),
    Key("interests", text, 'what it has to gain or lose; "none"'),
    Key(
        "speaks_for_no_government",
        must_be_true,
        "that it speaks for no government: every intermediary declares it",
    ),
)
CARD: Final = (
    Key("name", name, "the name on the card"),
    Key("role", ROLES, "what this person is in the party"),
    Key("fingerprint", fingerprint, "the card's fingerprint"),
)
INTERMEDIARY_CARD: Final = (CARD[0], CARD[2])
REPORT: Final = (
    Key("who", text, "who may tell"),
    Key("whom", text, "whom, at home"),
    Key("form", FORMS, "in which form"),
)
ID: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
