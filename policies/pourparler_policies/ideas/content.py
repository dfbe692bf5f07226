"""What a packet holds: nothing, an idea, or a ballot of marks and groups. Parsed with limits; what is none counts as
a packet that cannot be read.

A ballot names ideas by their place in the shuffled list, from 1 on, which is the same for all.
"""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pourparler_policies.errors import Misuse, Void

from .facts import IDEAS_A_SEAT, MAX_SEATS

MAX_IDEA: Final = 1200  # bytes of UTF-8: a paragraph, 600 letters of Arabic
MAX_BALLOT: Final = 1390  # bytes: with its first letter it fits a packet
MAX_HEADING: Final = 60  # characters: one line
MAX_GROUPS: Final = 8  # that one ballot names
MAX_IDEAS: Final = IDEAS_A_SEAT * MAX_SEATS  # in one list

NOTHING: Final = b""
_IDEA, _BALLOT = b"i", b"m"


@dataclass(frozen=True, slots=True)
class Ballot:
    """Marks for ideas, and groups of ideas under a heading each."""

    marks: frozenset[int] = frozenset()
    groups: Mapping[str, frozenset[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tally:
    """What all ballots say together: how many marks each idea has, and each group with how many named it so."""

    marks: Mapping[int, int]
    groups: Mapping[str, tuple[frozenset[int], int]]
    ballots: int


def write_idea(text: str) -> bytes:
    """An idea as a packet holds it. Raises Misuse with the reason."""
    text = text.strip()
    if not text:
        raise Misuse("the idea is empty")
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise Misuse("the idea holds characters that are not text") from None
    if len(data) > MAX_IDEA:
        raise Misuse(f"an idea has at most {MAX_IDEA} bytes, so that all look alike; this one has {len(data)}")
    return _IDEA + data


def read_idea(content: bytes) -> str:
    """What `write_idea` wrote, empty for a packet with nothing in it. Raises Void for anything else."""
    if content == NOTHING:
        return ""
    if content[:1] != _IDEA or len(content) > 1 + MAX_IDEA:
        raise Void("this is no idea")
    try:
        text = content[1:].decode()
    except UnicodeDecodeError:
        raise Void("this is not text") from None
    if not text.strip():
        raise Void("this is no idea")
    return text


def write_ballot(ballot: Ballot, count: int) -> bytes:
    """A ballot over `count` ideas as a packet holds it. Raises Misuse with the reason."""
    groups = {check_heading(name): members for name, members in ballot.groups.items()}
    if len(groups) > MAX_GROUPS:
        raise Misuse(f"one ballot names at most {MAX_GROUPS} groups")
    if not all(1 <= number <= count for number in _numbers(ballot)):
        raise Misuse(f"the ideas have the numbers 1 to {count}")
    if not ballot.marks and not groups:
        return NOTHING
    document = {
        "m": sorted(ballot.marks),
        "g": {name: sorted(members) for name, members in sorted(groups.items())},
    }
    data = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    if len(data) > MAX_BALLOT:
        raise Misuse(f"a ballot has at most {MAX_BALLOT} bytes: name fewer groups, or shorter ones")
    return _BALLOT + data


def read_ballot(content: bytes, count: int) -> Ballot:
    """What `write_ballot` wrote; an empty ballot for a packet with nothing in it. Raises Void for anything else."""
    if content == NOTHING:
        return Ballot()
    if content[:1] != _BALLOT or len(content) > 1 + MAX_BALLOT:
        raise Void("this is no ballot")
    try:
        document: Any = json.loads(content[1:])
        groups = {str(name): frozenset(map(_number, members)) for name, members in document["g"].items()}
        ballot = Ballot(frozenset(map(_number, document["m"])), groups)
        same = write_ballot(ballot, count) == content
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):  # Misuse is a ValueError
        raise Void("this is no ballot") from None
    if not same:
        raise Void("this ballot is not in its one form")
    return ballot


def tally(ballots: Sequence[Ballot], count: int) -> Tally:
    """What they say together. Groups of one heading are one group, whatever the case of its letters."""
    marks = {number: sum(number in ballot.marks for ballot in ballots) for number in range(1, count + 1)}
    named: dict[str, tuple[str, frozenset[int], int]] = {}
    for ballot in ballots:
        for name, members in ballot.groups.items():
            key = name.casefold()
            first, all_members, times = named.get(key, (name, frozenset(), 0))
            named[key] = (min(first, name), all_members | members, times + 1)
    groups = {name: (members, times) for name, members, times in sorted(named.values())}
    return Tally(marks, groups, sum(ballot != Ballot() for ballot in ballots))


def check_heading(name: str) -> str:
    """A group's heading in NFC. Raises Misuse with the reason."""
    name = unicodedata.normalize("NFC", " ".join(name.split()))
    if not 0 < len(name) <= MAX_HEADING:
        raise Misuse(f"a group's heading has 1 to {MAX_HEADING} characters")
    if any(unicodedata.category(char)[0] == "C" and char not in "\u200c\u200d" for char in name):
        raise Misuse("a heading holds a character that readers cannot see")
    return name


def _number(value: object) -> int:
    if type(value) is not int or not 1 <= value <= MAX_IDEAS:
        raise Misuse("this is no number of an idea")
    return value


def _numbers(ballot: Ballot) -> frozenset[int]:
    return frozenset().union(ballot.marks, *ballot.groups.values())
