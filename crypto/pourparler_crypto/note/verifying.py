"""Verifying a note offline: which keys have signed, and whose they are by the reader's own book, and by
nothing else.

A note names its signatories itself; anybody can write such a text and sign it with keys made for the purpose. So a
party is named here only when its key stands in the reader's key book. A *book* is a text with one key a line,
the reader's word for it behind: `<press key> <name>`; empty lines and lines that begin with # are skipped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pourparler_crypto.note.communique import Communique, Signatory, text_lines
from pourparler_crypto.note.presskey import PressKey
from pourparler_crypto.note.refusals import Refusal, Refused
from pourparler_crypto.note.signed import Note

MAX_BOOK: Final = 256 * 1024  # bytes
MAX_BOOK_KEYS: Final = 1_000


class KeyBook:
    """The reader's own list: public key -> the reader's name for its owner. One owner may have several keys."""

    def __init__(self, entries: dict[PressKey, str] | None = None) -> None:
        self._names: dict[bytes, str] = {}
        self._keys: dict[str, set[bytes]] = {}
        for key, name in (entries or {}).items():
            if not name.strip() or self._names.setdefault(key.public, name) != name:
                raise Refused(Refusal.KEY)
            self._keys.setdefault(key.name, set()).add(key.public)

    @classmethod
    def parse(cls, data: bytes) -> "KeyBook":
        """Reads a book. Raises Refused with the line of what is wrong; a key that stands there twice is wrong."""
        entries: dict[PressKey, str] = {}
        seen: set[bytes] = set()
        for number, line in enumerate(text_lines(data, MAX_BOOK), 1):
            if not line.strip() or line.startswith("#"):
                continue
            key_text, _, name = line.partition(" ")
            try:
                key = PressKey.parse(key_text)
            except Refused:
                raise Refused(Refusal.KEY, number) from None
            if not name.strip() or key.public in seen or len(entries) >= MAX_BOOK_KEYS:
                raise Refused(Refusal.KEY, number)
            seen.add(key.public)
            entries[key] = name.strip()
        return cls(entries)

    def name_of(self, key: PressKey) -> str | None:
        """The reader's name for the owner, or None."""
        return self._names.get(key.public)

    def contradicts(self, key: PressKey) -> bool:
        """Whether the book has a key of this name, and it is another one."""
        return key.public not in self._keys.get(key.name, {key.public})

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True, slots=True)
class Signed:
    """One verified signature.

    signatory  what the text says
    owner      the reader's name for the key's owner; None when the key is not in the book
    suspect    the book has another key under this key's name
    """

    signatory: Signatory
    owner: str | None
    suspect: bool

    @property
    def finding(self) -> str:
        """What is known, in these words on every screen. Nothing in it is the text's own claim."""
        key = self.signatory.key
        said = f"signed by key {key.digits} ({key.name})"
        if self.owner is not None:
            return f"{said}: {self.owner}, by your key book"
        if self.suspect:
            return f"{said}: NOT the key that your book has under this name"
        return f"{said}: not in your key book"

    @property
    def sentence(self) -> str:
        """The finding, and of a key that is not in the book what the text calls it."""
        if self.owner is not None or self.suspect:
            return self.finding
        return f"{self.finding}, the text calls it “{self.signatory.name}”"


@dataclass(frozen=True, slots=True)
class Verified:
    """A note of which every signature verifies."""

    communique: Communique
    signatures: tuple[Signed, ...]

    @property
    def all_known(self) -> bool:
        """Whether every signatory's key is in the reader's book."""
        return all(signed.owner is not None for signed in self.signatures)

    @property
    def doubled(self) -> tuple[str, ...]:
        """Owners of several of these keys, by the reader's book: one party may have signed for two."""
        owners = [signed.owner for signed in self.signatures if signed.owner is not None]
        return tuple(dict.fromkeys(owner for owner in owners if owners.count(owner) > 1))

    def __iter__(self) -> Iterator[Signed]:
        return iter(self.signatures)


def verify(note: bytes, book: KeyBook | None = None) -> Verified:
    """All signatures of a note, under the keys that its text names; owners by the book alone.

    Raises Refused (not a note as it must be) or NotAuthentic (a signature does not verify). Opens nothing.
    """
    parsed = Note.parse(note)
    parsed.check()
    book = book or KeyBook()
    return Verified(
        parsed.communique,
        tuple(
            Signed(party, book.name_of(party.key), book.contradicts(party.key))
            for party in parsed.communique.foot.signatories
        ),
    )
