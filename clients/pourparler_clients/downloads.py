"""Files that came in: fetched in chunks, kept sealed, opened here. Constant memory, whatever their size.

1. Only chunks are kept that open in their place; they are kept sealed (`spool.py`), until the file was shown or saved,
   and no longer than its message.
2. A file is there only when it is whole, is the one that its author's message names, and is inside what it is called
   outside. Nothing of any other is shown, saved or kept.
3. Its life after reading begins when it is opened, not when its name is shown.

DESIGN 4.4; docs/decisions/0018, 0024.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pourparler_crypto.attachment import FileHead, Opener
from pourparler_crypto.errors import ProtocolError
from pourparler_policies.limits import chunk_of
from pourparler_policies.payload import Attached
from pourparler_policies.wire import Problem

from .errors import Refused, Spoiled, Unreachable, UserError
from .messages import Message
from .saving import check_folder, place
from .spool import Spool, new_part
from .uploads import Report, silent

if TYPE_CHECKING:
    from .api import Api
    from .channel import Channel

MAX_VIEW: Final = 1024 * 1024  # bytes of a text that is shown: more is no reading for a terminal
_PATIENCE: Final = 600.0  # seconds for a chunk: a service that never ends one is left
_MIB: Final = 1024 * 1024

_SLOW: Final = "the service takes too long with this file: try again; it goes on where it stopped"
_GONE: Final = "this file is no longer there: it has ended, or its author took it back"
_PART: Final = (
    "the service does not have all of this file, or does not give it out: ask its author to attach it again"
)
_WRONG: Final = (
    "what the service has is not what was attached, and nothing of it was kept. Try again; if it stays so, the service "
    "has altered it, or its author sealed it wrongly"
)
_OTHER: Final = (
    "this is another file than its author's message names: somebody who can read this channel plays false together "
    "with the service, or its author does. Nothing of it was kept; ask its author, by a way you trust"
)
_UNLIKE: Final = (
    "inside its seal this file has another name, type or length than its message says: its author plays false. Nothing "
    "of it was kept"
)
_SAVE: Final = "`pourparler save` writes it into a folder of yours"


class Downloads:
    """What came in at one channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._log = channel.log

    def list(self) -> list[Message]:
        """The files that are alive, may be shown and open with the keys at hand, in the log's order."""
        return [one for one in self._log.store.messages.shown(self._channel.clock()) if one.attached is not None]

    async def fetch(self, seq: int, report: Report | None = None) -> Message:
        """Fetches a file by its message's seq, or goes on with it; it is here, whole and sealed, when this returns.

        Raises UserError when there is none, Spoiled when it is not what was announced, Unreachable when the line
        breaks: what is here stays, and it goes on the next time.
        """
        message = await self._find(seq)
        attached = _attached(message)
        rooms, vault = self._log.rooms, self._log.vault
        file = rooms.download(seq)
        if file is None:
            file = new_part()
            with self._log.step():
                rooms.begin_download(seq, file)
        try:
            with Spool(vault.directory / file, attached) as spool:
                await self._fetch(message, attached, spool, report or silent)
        except Spoiled:
            self.forget(message)
            raise
        return message

    async def _find(self, seq: int) -> Message:
        async with self._channel._turn:
            store = self._log.store
            message = await self._channel.halves_for(lambda: store.messages.one(seq))
        if message is None or message.attached is None or message.held or not self._lives(message):
            raise UserError("there is no file of this number here: `pourparler files` lists them")
        return message

    async def _fetch(self, message: Message, attached: Attached, spool: Spool, report: Report) -> None:
        opening, number = _Opening(attached), 0
        while number < spool.chunks and (kept := spool.get(number)) is not None:
            opening.open(kept)
            number += 1
            await asyncio.sleep(0)  # whoever follows the channel goes on following it
        if number < spool.chunks:
            async with self._channel._connect(self._log.row.url, attached.token) as api:
                for missing in range(number, spool.chunks):
                    report(missing, spool.chunks)
                    chunk = await _chunk(api, attached, missing)
                    if not self._lives(message):
                        raise UserError(_GONE)
                    opening.open(chunk)
                    spool.put(missing, chunk)
        report(spool.chunks, spool.chunks)
        opening.finish()

    def _lives(self, message: Message) -> bool:
        return message.seq in self._log.store.messages.places(self._channel.clock())

    async def text(self, seq: int, report: Report | None = None) -> tuple[Message, str]:
        """A file by its message's seq, if it is plain text (UTF-8) that can be shown. Its life after reading begins.

        Nothing of it is kept here afterwards. Raises UserError when it is no text, and as `fetch`.
        """
        attached = _attached(await self._find(seq))
        if (
            attached.length > MAX_VIEW or attached.size > 2 * MAX_VIEW
        ):  # a larger class has a larger file, or a liar
            raise UserError(f"this file is too large to be shown here: {_SAVE}")
        message = await self.fetch(seq, report)
        try:
            text = _text_of(b"".join(self._pieces(message)))
            await self._begin_reading(message)
        finally:
            self.forget(message)
        return message, text

    async def save(self, seq: int, folder: Path, report: Report | None = None) -> Path:
        """Writes a file, readable, into a folder, in place of no other; returns where. Its life after reading begins.

        Raises UserError when the folder is none, OSError, and as `fetch`.
        """
        check_folder(folder, self._log.vault.directory)
        message = await self.fetch(seq, report)
        await self._begin_reading(message)
        path = place(folder, message.text, lambda: self._pieces(message))
        self.forget(message)
        return path

    async def _begin_reading(self, message: Message) -> None:
        if not await self._channel.read([message], opened=True):
            if not self._lives(message):
                raise UserError(_GONE)
            raise Unreachable("a key for its life after reading is needed first: connect, and try again")

    def _pieces(self, message: Message) -> Iterator[bytes]:
        """A fetched file, piece by piece. Raises Spoiled unless it is whole at the end."""
        attached = _attached(message)
        file = self._log.rooms.download(message.seq)
        if file is None:
            raise UserError(_GONE)
        with Spool(self._log.vault.directory / file, attached) as spool:
            opening = _Opening(attached)
            for number in range(spool.chunks):
                yield opening.open(spool.get(number) or b"")
            opening.finish()

    def forget(self, message: Message) -> None:
        """What was fetched of it is not needed here any more; it can be fetched again while it lives."""
        if self._log.rooms.download(message.seq) is not None:
            with self._log.step():
                self._log.rooms.end_download(message.seq)
            self._log.vault.sweep()


class _Opening:
    """Opens the chunks of what a message announced, and nothing else. Every method raises Spoiled."""

    def __init__(self, attached: Attached) -> None:
        self._attached = attached
        self._hashed = hashlib.sha256()
        self._opener = Opener(attached.key, attached.attachment, attached.size, chunk_of(attached.size))
        self._head = FileHead(attached.name, attached.kind, attached.length)

    def open(self, chunk: bytes) -> bytes:
        """The file's bytes in the next chunk."""
        try:
            data = self._opener.open(chunk)
        except ProtocolError:
            raise Spoiled(_WRONG) from None
        self._hashed.update(chunk)
        if self._opener.head != self._head:
            raise Spoiled(_UNLIKE)
        return data

    def finish(self) -> None:
        """It is whole, and the one that was meant."""
        try:
            self._opener.finish()
        except ProtocolError:
            raise Spoiled(_WRONG) from None
        if not hmac.compare_digest(self._hashed.digest(), self._attached.digest):
            raise Spoiled(_OTHER)


def _attached(message: Message) -> Attached:
    if message.attached is None:
        raise UserError("this is no file")
    return message.attached


def _text_of(data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UserError(f"this file is not plain text: {_SAVE}")
    return text


async def _chunk(api: Api, attached: Attached, number: int) -> bytes:
    try:
        async with asyncio.timeout(_PATIENCE):
            return await api.chunk(attached.attachment, number, chunk_of(attached.size))
    except TimeoutError:
        raise Unreachable(_SLOW) from None
    except Unreachable as error:
        raise Unreachable(f"{error}; it goes on where it stopped") from None
    except Refused as refusal:
        if refusal.problem is Problem.UNAUTHORIZED:
            raise UserError(_GONE) from None
        if refusal.problem is Problem.NOT_FOUND:
            raise UserError(_PART) from None
        raise
