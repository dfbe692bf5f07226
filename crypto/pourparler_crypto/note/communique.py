"""The text that is signed: words first, then lines at the foot that a machine reads too.

    The parties met at …                                   words; with several languages each under its
    heading, [fa]
                                                           one empty line
    pourparler-communique/v1
    release: 00112233445566778899aabbccddeeff              16 random bytes: the same in every revision and copy
    copy: 1 of 2                                           only where parallel texts are completed together
    audience: board                                        or: parties; or: card <fingerprint>
    languages: en, fa                                      equally authentic, in the order of their sections
    corrects: <release> <SHA-256 of its text>              or supersedes, withdraws; only where there is one
    not-before: 2026-12-01T09:00:00Z
    signatory: <press key> <name>                          each party, in the order of the signatures
    witness: <press key> <name>                            after them, only where all asked for one
    void unless all have signed

1. **One text has one encoding**: what is read and written again is the same, to the byte.
2. **All languages are under one signature**: nobody signs a language alone.
3. **What is signed says who must sign.** A selection of the signatures is visibly void.
"""

import hashlib
import re
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Final

from pourparler_crypto.errors import Malformed
from pourparler_crypto.note.characters import check_characters
from pourparler_crypto.note.instants import instant_text, is_instant, read_instant
from pourparler_crypto.note.presskey import PressKey
from pourparler_crypto.note.refusals import Refusal, Refused

FORMAT: Final = "pourparler-communique/v1"
LAST: Final = "void unless all have signed"
RELEASE_LENGTH: Final = 16  # bytes
MAX_TEXT: Final = 256 * 1024  # bytes: with its signatures well below what stock readers of notes take (1 MB)
MAX_LINE: Final = 16 * 1024  # bytes: a long paragraph
MAX_SIGNATORIES: Final = 32  # as many as a joint release has parties
MAX_LANGUAGES: Final = 16
MAX_COPIES: Final = 32
MAX_PARTY_NAME: Final = 200  # bytes
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(?:-[A-Z][a-z]{3})?(?:-(?:[A-Z]{2}|[0-9]{3}))?", re.ASCII)  # BCP 47, 2.1
_HEADING: Final = re.compile(rf"\[({_LANGUAGE.pattern})\]", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-f]+", re.ASCII)
_SIGNATURE_LIKE: Final = re.compile(r"\s*[\u2014\u2013-]+\s+\S+\s+[A-Za-z0-9+/]{40,}={0,2}\s*")
_FINGERPRINT_LENGTH: Final = 32  # bytes, a card's


class Role(Enum):
    """Why somebody signs."""

    SIGNATORY = "signatory"
    WITNESS = "witness"


class Audience(Enum):
    """For whom a release is. Only the board publishes."""

    BOARD = "board"
    PARTIES = "parties"
    CARD = "card"


class Act(Enum):
    """What a release does to an earlier one."""

    CORRECTS = "corrects"
    SUPERSEDES = "supersedes"
    WITHDRAWS = "withdraws"


@dataclass(frozen=True, slots=True)
class Signatory:
    """name: as the text gives it, 1 to 200 bytes; nobody vouches for it but the reader's own key book."""

    name: str
    key: PressKey
    role: Role = Role.SIGNATORY


@dataclass(frozen=True, slots=True)
class Relation:
    """An earlier release: its id (16 bytes) and the SHA-256 of its text (32)."""

    act: Act
    release: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Foot:
    """The machine lines. `card` is the fingerprint (32 bytes) where the audience is a card; times in Unix
    seconds.
    """

    release: bytes
    signatories: tuple[Signatory, ...]
    languages: tuple[str, ...]
    not_before: int
    audience: Audience = Audience.BOARD
    card: bytes = b""
    relation: Relation | None = None
    copy: int = 1
    copies: int = 1

    @property
    def lines(self) -> list[str]:
        """In their order, without ends."""
        lines = [FORMAT, f"release: {self.release.hex()}"]
        if self.copies > 1:
            lines.append(f"copy: {self.copy} of {self.copies}")
        lines.append(f"audience: {self.audience.value}" + (f" {self.card.hex()}" if self.card else ""))
        lines.append(f"languages: {', '.join(self.languages)}")
        if self.relation is not None:
            relation = self.relation
            lines.append(f"{relation.act.value}: {relation.release.hex()} {relation.digest.hex()}")
        lines.append(f"not-before: {instant_text(self.not_before)}")
        lines.extend(f"{party.role.value}: {party.key} {party.name}" for party in self.signatories)
        return [*lines, LAST]


@dataclass(frozen=True)
class Communique:
    """words: by language, in the foot's order; no empty lines around them. Raises Refused for what cannot be
    one.
    """

    words: tuple[str, ...]
    foot: Foot

    def __post_init__(self) -> None:
        _check_foot(self.foot)
        if len(self.words) != len(self.foot.languages):
            raise Refused(Refusal.SECTIONS)
        for words in self.words:
            _check_words(words)
        check_characters(self._joined)
        if len(self.text) > MAX_TEXT or any(len(line.encode()) > MAX_LINE for line in self._joined.split("\n")):
            raise Refused(Refusal.TOO_LARGE)

    @property
    def _joined(self) -> str:
        if len(self.words) == 1:
            sections = self.words[0]
        else:
            named = zip(self.foot.languages, self.words, strict=True)
            sections = "\n\n".join(f"[{language}]\n{words}" for language, words in named)
        return sections + "\n\n" + "\n".join(self.foot.lines) + "\n"

    @cached_property
    def text(self) -> bytes:
        """The bytes that are signed: `m` of the joint release."""
        return self._joined.encode()

    @property
    def digest(self) -> bytes:
        """SHA-256 of the text, 32 bytes: by which a correction names it."""
        return hashlib.sha256(self.text).digest()

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The public keys of all who sign, in the text's order."""
        return tuple(party.key.public for party in self.foot.signatories)

    @classmethod
    def parse(cls, text: bytes) -> "Communique":
        """The communiqué that has exactly this text. Raises Refused."""
        lines = text_lines(text, MAX_TEXT)
        if FORMAT not in lines:
            raise Refused(Refusal.NO_FOOT)
        start = lines.index(FORMAT)
        if start < 2 or lines[start - 1]:
            raise Refused(Refusal.NO_WORDS if start < 2 else Refusal.BLANK_LINES, start + 1)
        foot = _read_foot(lines, start)
        _check_foot(foot)
        found = cls(_read_words(lines[: start - 1], foot.languages), foot)
        if found.text != text:
            raise Refused(Refusal.FOOT)
        return found


def text_lines(data: bytes, limit: int) -> list[str]:
    """The lines of a text: size, UTF-8, final newline and characters checked, in this order. Raises Refused."""
    if len(data) > limit:
        raise Refused(Refusal.TOO_LARGE)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Refused(Refusal.NOT_UTF8, data[: error.start].count(b"\n") + 1) from None
    if not text.endswith("\n"):
        raise Refused(Refusal.NO_FINAL_NEWLINE)
    check_characters(text)
    return text[:-1].split("\n")


def _read_words(lines: list[str], languages: tuple[str, ...]) -> tuple[str, ...]:
    if len(languages) == 1:
        return ("\n".join(lines),)
    headings = [i for i, line in enumerate(lines) if _HEADING.fullmatch(line)]
    if [lines[i] for i in headings] != [f"[{language}]" for language in languages] or headings[0] != 0:
        raise Refused(Refusal.SECTIONS)
    ends = [*(start - 1 for start in headings[1:]), len(lines)]
    if any(lines[end] for end in ends[:-1]):
        raise Refused(Refusal.SECTIONS)
    return tuple("\n".join(lines[start + 1 : end]) for start, end in zip(headings, ends, strict=True))


def check_words(words: str) -> None:
    """The words of one language as a communiqué has them. Raises Refused; its lines are those of the words."""
    _check_words(words)
    check_characters(words)
    for number, line in enumerate(words.split("\n"), 1):
        if len(line.encode()) > MAX_LINE:
            raise Refused(Refusal.TOO_LARGE, number)


def _check_words(words: str) -> None:
    if not words.strip():
        raise Refused(Refusal.NO_WORDS)
    if words.startswith("\n") or words.endswith("\n"):
        raise Refused(Refusal.BLANK_LINES)
    for number, line in enumerate(words.split("\n"), 1):
        if line.strip().casefold() in {FORMAT, LAST}:
            raise Refused(Refusal.FOOT, number)
        if _HEADING.fullmatch(line):
            raise Refused(Refusal.SECTIONS, number)
        if _SIGNATURE_LIKE.fullmatch(line):
            raise Refused(Refusal.SIGNATURE_IN_WORDS, number)


def _check_foot(foot: Foot) -> None:
    if len(foot.release) != RELEASE_LENGTH or not is_instant(foot.not_before):
        raise Refused(Refusal.FOOT)
    if not 1 <= foot.copies <= MAX_COPIES or not 1 <= foot.copy <= foot.copies:
        raise Refused(Refusal.FOOT)
    if len(foot.card) != (_FINGERPRINT_LENGTH if foot.audience is Audience.CARD else 0):
        raise Refused(Refusal.FOOT)
    relation = foot.relation
    if relation is not None and (len(relation.release), len(relation.digest)) != (RELEASE_LENGTH, 32):
        raise Refused(Refusal.FOOT)
    if relation is not None and relation.release == foot.release:
        raise Refused(Refusal.FOOT)
    languages = foot.languages
    if not 1 <= len(languages) <= MAX_LANGUAGES or len(set(languages)) != len(languages):
        raise Refused(Refusal.LANGUAGES)
    if not all(_LANGUAGE.fullmatch(language) for language in languages):
        raise Refused(Refusal.LANGUAGES)
    _check_signatories(foot.signatories)


def _check_signatories(signatories: tuple[Signatory, ...]) -> None:
    roles = [party.role for party in signatories]
    if len(signatories) > MAX_SIGNATORIES or roles.count(Role.SIGNATORY) < 2:
        raise Refused(Refusal.SIGNATORIES)
    if roles != sorted(roles, key=list(Role).index):
        raise Refused(Refusal.FOOT)
    for values in (
        {party.name for party in signatories},
        {party.key.name for party in signatories},
        {party.key.public for party in signatories},
    ):
        if len(values) != len(signatories):
            raise Refused(Refusal.SIGNATORIES)
    for party in signatories:
        name = party.name
        if not 1 <= len(name.encode()) <= MAX_PARTY_NAME or name != name.strip() or "\n" in name:
            raise Refused(Refusal.SIGNATORIES)


def _read_foot(lines: list[str], start: int) -> Foot:
    """Line by line, in the only order that there is."""
    rest = list(enumerate(lines[start + 1 :], start + 2))

    def value(*names: str) -> tuple[str, str] | None:
        name, colon, text = rest[0][1].partition(": ") if rest else ("", "", "")
        if not colon or name not in names:
            return None
        rest.pop(0)
        return name, text

    def needed(name: str) -> str:
        line = rest[0][0] if rest else len(lines)
        found = value(name)
        if found is None:
            raise Refused(Refusal.FOOT, line)
        return found[1]

    release = _hex(needed("release"), RELEASE_LENGTH)
    copy = re.fullmatch(r"([1-9]\d?) of ([1-9]\d?)", (value("copy") or ("", "1 of 1"))[1], re.ASCII)
    audience, _, card = needed("audience").partition(" ")
    languages = tuple(needed("languages").split(", "))
    earlier = value(*(act.value for act in Act))
    when = needed("not-before")
    signatories = []
    while (found := value(*(role.value for role in Role))) is not None:
        key, _, name = found[1].partition(" ")
        signatories.append(Signatory(name, PressKey.parse(key), Role(found[0])))
    if [line for _, line in rest] != [LAST] or not copy:
        raise Refused(Refusal.FOOT, rest[0][0] if rest else None)
    try:
        return Foot(
            release,
            tuple(signatories),
            languages,
            read_instant(when),
            Audience(audience),
            _hex(card, _FINGERPRINT_LENGTH) if card else b"",
            _relation(earlier),
            int(copy[1]),
            int(copy[2]),
        )
    except (Malformed, ValueError) as error:
        if isinstance(error, Refused):
            raise
        raise Refused(Refusal.FOOT) from None


def _relation(found: tuple[str, str] | None) -> Relation | None:
    if found is None:
        return None
    release, _, digest = found[1].partition(" ")
    return Relation(Act(found[0]), _hex(release, RELEASE_LENGTH), _hex(digest, 32))


def _hex(text: str, length: int) -> bytes:
    if len(text) != 2 * length or not _HEX.fullmatch(text):
        raise Refused(Refusal.FOOT)
    return bytes.fromhex(text)
