"""What somebody finds who has the files and the keys: every page of a vault, free ones and the journal too, and every
stored text under every key that can be made of what is there.

It reads files only, asks no clock and obeys no date. SQLCipher 4 has pages of 4,096 bytes, of which the last 80 are IV
(16) and HMAC (64); AES-256-CBC under the file key; the first 16 bytes of page 1 are a salt. A
journal (WAL) has a header of 32 bytes, then frames of a 24-byte header and one page.
"""

import json
import shutil
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from pourparler_crypto.attachment import KEPT_LENGTH, Keeper, Opener
from pourparler_crypto.errors import CryptoError
from pourparler_crypto.hours import HALF_LENGTH, hour_key, open_text
from pourparler_crypto.mls import ApplicationMessage, Group
from pourparler_policies.limits import chunk_of
from pourparler_policies.payload import Attached

from .hours import DRAFT, IDEA
from .messages import FILE_MARK
from .store import ChannelStore
from .vault import DATABASE_NAME, HEADER_NAME, Vault, unlock

_PAGE: Final = 4096  # bytes
_RESERVE: Final = 80
_SALT: Final = 16
_WAL_HEADER, _FRAME_HEADER = 32, 24
ENCODINGS: Final = ("utf-8", "utf-16-le", "utf-16-be")
_SHORTEST: Final = 12  # letters: fewer would be found by chance


def vault_pages(directory: Path, passphrase: str) -> Iterator[bytes]:
    """Every page of a vault, decrypted: those in use, free ones, and those that the journal still holds."""
    key = _file_keys((directory / HEADER_NAME).read_bytes(), passphrase)[0]
    data = (directory / DATABASE_NAME).read_bytes()
    for start in range(0, len(data) - _PAGE + 1, _PAGE):
        yield _decrypt(key, data[start : start + _PAGE], _SALT if start == 0 else 0)
    journal = directory / (DATABASE_NAME + "-wal")
    data = journal.read_bytes() if journal.exists() else b""
    for start in range(_WAL_HEADER, len(data) - _PAGE - _FRAME_HEADER + 1, _PAGE + _FRAME_HEADER):
        first = data[start : start + 4] == b"\x00\x00\x00\x01"
        page = data[start + _FRAME_HEADER : start + _FRAME_HEADER + _PAGE]
        yield _decrypt(key, page, _SALT if first else 0)


def _decrypt(key: bytes, page: bytes, skip: int) -> bytes:
    end = _PAGE - _RESERVE
    decryptor = Cipher(AES(key), CBC(page[end : end + 16])).decryptor()
    return decryptor.update(page[skip:end])


def files_below(directory: Path) -> Iterator[bytes]:
    """The raw bytes of every file below a directory."""
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            yield path.read_bytes()


def found(needles: Iterable[bytes], haystacks: Iterable[bytes]) -> set[bytes]:
    """Which needles occur in any of the haystacks."""
    wanted = set(needles)
    seen: set[bytes] = set()
    for haystack in haystacks:
        seen |= {needle for needle in wanted - seen if needle in haystack}
    return seen


def traces(text: str) -> list[bytes]:
    """Pieces by which a text would be recognised: its beginning, middle and end, in common encodings, and in the base64
    in which events are encoded, wherever in it the text begins.
    """
    forms, data = [text.encode(encoding) for encoding in ENCODINGS], text.encode()
    in_base64 = [urlsafe_b64encode(data[shift : len(data) - (len(data) - shift) % 3]) for shift in range(3)]
    forms += [form for form in in_base64 if len(form) >= _SHORTEST]
    pieces = []
    for form in forms:
        size = min(len(form), 24)
        pieces += [form[:size], form[(len(form) - size) // 2 :][:size], form[len(form) - size :]]
    return pieces


@dataclass(frozen=True, slots=True)
class Stored:
    """A text as a vault stores it, and the vault's half of its key (32 bytes). `number`, `end`: as it was sealed."""

    channel: bytes
    number: int
    end: int
    sealed: bytes
    half: bytes


def stored_texts(directory: Path, passphrase: str) -> list[Stored]:
    """Every text in a vault's tables, whether its time is over or not: messages, papers, drafts, the entry under way,
    ideas, their packets, packages of soundings.
    """
    with examining(directory, passphrase) as vault:
        halves = dict(vault.rows("SELECT channel, half FROM vault_half"))
        rows = [
            *vault.rows("SELECT channel, seq, end, text FROM message"),
            *vault.rows("SELECT channel, number, end, sealed FROM words"),
            *vault.rows("SELECT channel, number, end, sealed FROM remark"),
            *vault.rows("SELECT channel, number, end, sealed FROM note"),
            *vault.rows("SELECT channel, number, end, sealed FROM sounding_text"),
            *vault.rows("SELECT channel, number, end, sealed FROM idea_packet"),
            *vault.rows("SELECT channel, number, end, sealed FROM idea_received"),
            *vault.rows("SELECT channel, number + ?, end, content FROM draft WHERE end IS NOT NULL", DRAFT),
            *vault.rows("SELECT channel, number + ?, end, text FROM idea_text", IDEA),
            *vault.rows(
                "SELECT outbox.channel, number + ?, end, envelope FROM outbox JOIN draft ON draft = number"
                " WHERE end IS NOT NULL",
                DRAFT,
            ),
        ]
    return [Stored(channel, number, end, text, halves[channel]) for channel, number, end, text in rows if text]


def open_texts(texts: Iterable[Stored], halves: Iterable[bytes]) -> list[bytes]:
    """What opens when every half (32 bytes) is tried on every text; and what opens with the vault's key alone."""
    tried = {bytes(HALF_LENGTH), *halves}
    opened = []
    keys: dict[tuple[bytes, bytes, int], list[bytes]] = {}
    for text in texts:
        place = (text.half, text.channel, text.end)
        if place not in keys:
            keys[place] = [hour_key(text.half, half, text.channel, text.end) for half in tried]
        for key in keys[place]:
            with suppress(CryptoError):
                opened.append(open_text(key, text.sealed, text.channel, text.number, text.end))
    return opened


def open_entries(directory: Path, passphrase: str, sealed: Iterable[bytes]) -> list[bytes]:
    """What the channel keys in a vault open of sealed entries that somebody recorded or copied."""
    with examining(directory, passphrase) as vault:
        stores = [ChannelStore(vault, channel) for channel in ChannelStore.all(vault)]
        records = [store.records(pending=pending) for store in stores for pending in (False, True)]
    opened = []
    recorded = list(sealed)
    for group in (Group.load(kept) for kept in records if kept):
        for entry in recorded:
            with suppress(CryptoError):
                received = group.decrypt(entry)
                if isinstance(received, ApplicationMessage):
                    opened.append(received.data)
    return opened


def attachments_in(opened: Iterable[bytes]) -> list[Attached]:
    """The files that opened texts or entries tell of: as messages, as drafts, as what is under way."""
    told = []
    for text in opened:
        data = text[1:] if text.startswith(FILE_MARK) else text
        with suppress(ValueError):
            content = json.loads(data)
            events = content if isinstance(content, list) else content.get("events", [content])
            for event in events:
                with suppress(ValueError):
                    told.append(Attached.model_validate_json(json.dumps(event)))
    return told


def open_attachments(attached: Iterable[Attached], files: Iterable[bytes]) -> list[bytes]:
    """What every key opens of every file: as the service keeps attachments, and as devices keep their chunks."""
    opened = []
    recorded = list(files)
    for one in attached:
        chunk, keeper = chunk_of(one.size), Keeper(one.key, one.attachment)
        for file in recorded:
            sent = [file[start : start + chunk] for start in range(0, min(len(file), one.size), chunk)]
            kept = []
            with suppress(CryptoError):
                for number in range(one.size // chunk):
                    start = number * (chunk + KEPT_LENGTH)
                    kept.append(keeper.take(file[start : start + chunk + KEPT_LENGTH], number))
            for chunks in (sent, kept):
                opener = Opener(one.key, one.attachment, one.size, chunk)
                with suppress(CryptoError):
                    opened += [opener.open(part) for part in chunks]
    return opened


def possible_halves(directory: Path) -> set[bytes]:
    """Everything in files that could be a half of a key: each 32 bytes where one may lie."""
    return {
        data[start : start + HALF_LENGTH]
        for data in files_below(directory)
        for start in range(0, len(data) - HALF_LENGTH + 1, HALF_LENGTH)
    }


def pieces(sealed: Iterable[bytes]) -> set[bytes]:
    """Parts by which sealed bytes would be recognised, wherever they begin and end in a page."""
    return {data[start : start + 24] for data in sealed for start in (0, (len(data) - 24) // 2, len(data) - 24)}


@contextmanager
def examining(directory: Path, passphrase: str) -> Iterator[Vault]:
    """A vault as its owner would open it: on a copy, for opening writes to it."""
    with tempfile.TemporaryDirectory(prefix="examined-") as place:
        copy = Path(shutil.copytree(directory, Path(place) / "vault"))
        vault = Vault.unlocked(copy, _file_keys((copy / HEADER_NAME).read_bytes(), passphrase)[0])
        try:
            yield vault
        finally:
            vault.close()


@lru_cache
def _file_keys(header: bytes, passphrase: str) -> list[bytes]:
    # A passphrase is made dear to try; one vault is looked at many times.
    with tempfile.NamedTemporaryFile() as file:
        file.write(header)
        file.flush()
        _, keys = unlock(Path(file.name), passphrase)
        return keys
