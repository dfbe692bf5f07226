"""Texts on the table: their exact words, kept beside the log and compared with what their authors claimed.

1. A revision is its salted digest in the log; whoever has words that do not fit it has no words.
2. What the machine lines say has to be what the author claimed, or the text is not shown, initialled or signed.
3. Words, remarks and completed notes end with their paper, and lie only under the keys of its end (`hours.py`).

docs/release.md; DESIGN 6.1.
"""

import hashlib
import os
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pourparler_crypto.note import Act, Audience, Communique, Foot, PressKey, Relation, Signatory
from pourparler_policies.release.events import Remark, Words
from pourparler_policies.release.facts import SALT_BYTES, Paper, State, Text, text_digest

from .errors import UserError
from .hours import NOTE, REMARK, WORDS
from .store import ChannelStore
from .vault import Vault

EndOf = Callable[[int, int], int]  # when a text expires, and its life: when its key is destroyed

RELEASE_BYTES = 16
MAX_COPIES = 8  # parallel texts: R3 of as many fits one message of the channel


@dataclass(frozen=True, slots=True)
class Said:
    """A remark as it is shown; `sender` is a credential."""

    seq: int
    sender: bytes
    text: str


class Papers:
    """The words and remarks of one channel, in the vault. What changes something runs in the caller's transaction.

    Each raises Lacking when the half of a key is not at hand that the service still has.
    """

    def __init__(self, store: ChannelStore, end_of: EndOf) -> None:
        self._vault = store.vault
        self._channel = store.channel
        self._store = store
        self._end_of = end_of

    def keep(self, state: State, words: Words, seq: int, received_at: int, expires_at: int) -> bool:
        """Keeps words that fit a revision on the table, and says whether they did; drops all others."""
        paper = state.papers.get(words.paper)
        digest = text_digest(words.salt, words.text) if len(words.salt) == SALT_BYTES else b""
        if paper is None or paper.text.digest != digest:
            return False
        until = min(expires_at, paper.expires)
        sealed, end = self._seal(words.salt + words.text, WORDS + seq, received_at, until)
        if not sealed:
            return False
        kept = self._vault.execute(
            "INSERT OR IGNORE INTO words VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(self._channel, digest, words.paper, WORDS + seq, sealed, end, seq, until),
        )
        return kept == 1

    def remark(
        self, state: State, remark: Remark, seq: int, sender: bytes, received_at: int, expires_at: int
    ) -> None:
        """Keeps a remark on a revision that is on the table."""
        paper = state.papers.get(remark.paper)
        if paper is None or paper.text.digest != remark.digest or not remark.text.strip():
            return
        until = min(expires_at, paper.expires)
        sealed, end = self._seal(remark.text.encode(), REMARK + seq, received_at, until)
        if sealed:
            self._vault.execute(
                "INSERT OR IGNORE INTO remark VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                *(self._channel, seq, remark.digest, sender, REMARK + seq, sealed, end, until),
            )

    def _seal(self, text: bytes, number: int, since: int, until: int) -> tuple[bytes, int]:
        """What is stored, and under which end; nothing when its time is over."""
        if until <= since:
            return b"", 0
        end = self._end_of(until, until - since)
        if self._store.hours.is_over(end):
            return b"", 0
        return self._store.hours.seal(text, number, end), end

    def words(self, digest: bytes) -> tuple[bytes, bytes] | None:
        """Salt and exact text of a revision, if they are here."""
        row = self._vault.row(
            "SELECT sealed, number, end FROM words WHERE channel = ? AND digest = ?", self._channel, digest
        )
        opened = self._store.hours.find(*row) if row else None
        return (opened[:SALT_BYTES], opened[SALT_BYTES:]) if opened is not None else None

    def revisions(self, paper: bytes) -> list[bytes]:
        """Digests of a paper's revisions whose words are here, oldest first."""
        rows = self._vault.rows(
            "SELECT digest FROM words WHERE channel = ? AND paper = ? ORDER BY seq", self._channel, paper
        )
        return [row[0] for row in rows]

    def remarks(self, digest: bytes) -> list[Said]:
        """What was said about a revision."""
        rows = self._vault.rows(
            "SELECT seq, sender, sealed, number, end FROM remark WHERE channel = ? AND digest = ? ORDER BY seq",
            self._channel,
            digest,
        )
        found = [(seq, sender, self._store.hours.find(*rest)) for seq, sender, *rest in rows]
        return [Said(seq, sender, text.decode()) for seq, sender, text in found if text is not None]

    def communique(self, paper: Paper) -> Communique:
        """The text of a paper as it stands. Raises UserError: its words are not here, or are not what was claimed."""
        held = self.words(paper.text.digest)
        if held is None:
            raise UserError(
                "the words of this text are not on this device (yet): they come with its author's device"
            )
        communique = Communique.parse(held[1])
        if not self._as_claimed(communique, paper.text):
            raise UserError("this text says something else than its author told the channel: do not agree to it")
        return communique

    def _as_claimed(self, communique: Communique, claimed: Text) -> bool:
        foot = communique.foot
        said, relation = _claims(communique), foot.relation
        if said != (claimed.signatories, claimed.not_before, bool(claimed.corrects), claimed.withdraws):
            return False
        earlier = self.words(claimed.corrects) if relation is not None else None
        return earlier is None or relation is None or relation.digest == Communique.parse(earlier[1]).digest

    def note(self, digest: bytes, copy: int = 1) -> bytes | None:
        """A completed note, by its text's salted digest; of parallel texts the copy of this number."""
        row = self._vault.row(
            "SELECT sealed, number, end FROM note WHERE channel = ? AND digest = ?",
            *(self._channel, _copy_name(digest, copy)),
        )
        return self._store.hours.find(*row) if row else None

    def notes(self) -> list[bytes]:
        """Every completed note that is still here."""
        rows = self._vault.rows("SELECT sealed, number, end FROM note WHERE channel = ?", self._channel)
        return [note for row in rows if (note := self._store.hours.find(*row)) is not None]

    def keep_note(self, digest: bytes, note: bytes, expires_at: int, copy: int = 1) -> None:
        """What was completed stays until its paper would have ended, under the key of its words: they are at hand."""
        words = self._vault.row(
            "SELECT end, expires_at FROM words WHERE channel = ? AND digest = ?", self._channel, digest
        )
        if words is None or self._store.hours.is_over(words[0]):
            return
        name = _copy_name(digest, copy)
        number = NOTE + int.from_bytes(name[:6])
        self._vault.execute(
            "INSERT OR IGNORE INTO note VALUES (?, ?, ?, ?, ?, ?)",
            *(self._channel, name, number, self._store.hours.seal(note, number, words[0]), words[0]),
            min(expires_at, words[1]),
        )

    def keep_to(self, state: State, signing: frozenset[bytes] = frozenset()) -> int:
        """Erases the words and remarks of papers that are not on the table any more; returns how many rows that were.

        What was published stays to its end: it may be corrected. So does what this device is `signing` (digests).
        """
        erased = 0
        for digest, paper in self._vault.rows("SELECT digest, paper FROM words WHERE channel = ?", self._channel):
            if paper not in state.papers and digest not in state.released and digest not in signing:
                for table in ("words", "remark"):
                    erased += self._vault.execute(
                        f"DELETE FROM {table} WHERE channel = ? AND digest = ?",  # noqa: S608 -- constants
                        self._channel,
                        digest,
                    )
        return erased


def purge(vault: Vault, now: int) -> int:
    """Erases words, remarks, notes and packages of every channel that have ended; returns how many rows that were. In a
    transaction.
    """
    return sum(
        vault.execute(f"DELETE FROM {table} WHERE expires_at <= ?", now)  # noqa: S608 -- constants
        for table in ("words", "remark", "note", "one_text", "sounding_text")
    )


def as_words(saved: str) -> str:
    """A text as an editor of any system saves it, as a communiqué has it: without a byte order mark, LF, NFC."""
    return unicodedata.normalize("NFC", saved.removeprefix("\ufeff").replace("\r\n", "\n"))


def compose(
    words: Sequence[tuple[str, str]],
    signatories: Sequence[tuple[str, PressKey]],
    not_before: int,
    *,
    earlier: Communique | None = None,
    relation: tuple[Act, Communique] | None = None,
    audience: Audience = Audience.BOARD,
    card: bytes = b"",
    in_copies: bool = False,
) -> Communique:
    """A text of (language, words) pairs. `earlier` is the revision that it takes the place of, and says what that one
    corrects, and who reads it; `relation` names a published text that it corrects, supersedes or withdraws. `card` is
    the fingerprint (32 bytes) of the reader's card where the audience is a card. `in_copies`: each side comes first in
    a copy of its own, at most MAX_COPIES. Raises Refused, UserError.
    """
    if in_copies and len(signatories) > MAX_COPIES:
        raise UserError(f"at most {MAX_COPIES} sides can each have a copy of their own")
    related = Relation(relation[0], relation[1].foot.release, relation[1].digest) if relation else None
    foot = Foot(
        release=earlier.foot.release if earlier is not None else os.urandom(RELEASE_BYTES),
        signatories=tuple(Signatory(name, key) for name, key in signatories),
        languages=tuple(language for language, _ in words),
        not_before=not_before,
        relation=related or (earlier.foot.relation if earlier is not None else None),
        audience=earlier.foot.audience if earlier is not None else audience,
        card=earlier.foot.card if earlier is not None else card,
        copies=earlier.foot.copies if earlier is not None else len(signatories) if in_copies else 1,
    )
    return Communique(tuple(text.strip("\n") for _, text in words), foot)


def _copy_name(digest: bytes, copy: int) -> bytes:
    """Under which name the vault keeps a completed copy: the first under the text's own."""
    return digest if copy == 1 else hashlib.sha256(digest + copy.to_bytes(1)).digest()


def _claims(communique: Communique) -> tuple[int, int, bool, bool]:
    """How many sign, when it may appear, whether it follows another one, and whether it takes that one back."""
    relation = communique.foot.relation
    withdraws = relation is not None and relation.act is Act.WITHDRAWS
    return len(communique.keys), communique.foot.not_before, relation is not None, withdraws


def revision(communique: Communique, corrects: bytes = b"") -> tuple[bytes, Text]:
    """A fresh salt, and what the log is told of a text. `corrects`: salted digest of the release that it follows."""
    salt = os.urandom(SALT_BYTES)
    signatories, not_before, _, withdraws = _claims(communique)
    return salt, Text(text_digest(salt, communique.text), signatories, not_before, corrects, withdraws)
