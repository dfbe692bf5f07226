"""Files in a channel: sealed here, sent and fetched in chunks, opened here. Constant memory, whatever their size.

1. Nothing readable touches the disk through us: chunks are kept sealed (`spool.py`), and what of a file must not be
   lost lies in the vault as a text that waits, or that came in, does.
2. A file is said when the service has all of it. Until then it is a draft of its own kind, and goes on after a crash
   where it stopped. It ends at most its life after it was attached, everywhere.
3. Of what comes in only chunks are kept that open in their place; and a file is there only when it is whole, is the
   one that its author's message names, and is inside what it is called outside.
4. Chunks go by the attachment's own token, on a connection of their own: the service joins them to no device.

DESIGN 4.4; docs/decisions/0018, 0024.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import mimetypes
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pourparler_crypto.attachment import KEY_LENGTH, FileHead, Opener, Sealer, capacity
from pourparler_crypto.errors import ProtocolError
from pourparler_policies import payload, wire
from pourparler_policies.filenames import check_file_name
from pourparler_policies.limits import ATTACHMENT_SIZES, ID_BYTES, TOKEN_BYTES, chunk_of
from pourparler_policies.payload import Attached
from pourparler_policies.wire import Problem

from .errors import Refused, Spoiled, Unreachable, UserError
from .fetching import CONTRADICTION
from .rooms import Room
from .saving import check_folder, place
from .spool import Spool, new_part
from .store import Draft, Kind, Message

if TYPE_CHECKING:
    from .api import Api
    from .channel import Channel

Report = Callable[[int, int], None]  # chunks that are done, chunks in all

MAX_VIEW: Final = 1024 * 1024  # bytes of a text that is shown: more is no reading for a terminal
_PATIENCE: Final = 600.0  # seconds for a chunk: a service that never ends one is left
_MIB: Final = 1024 * 1024

_FULL: Final = (
    "the operator's room for the files of this channel is full: wait until earlier ones have ended, or take some back "
    "(`pourparler shorten`)"
)
_STAYED: Final = "it waits in the vault, sealed, and goes on with `pourparler attach`"
_SLOW: Final = "the service takes too long with this file: try again; it goes on where it stopped"
_OVER: Final = "this file was not sent: its life was over before all of it was there"
_LOST: Final = "what was kept of this file cannot be read any more: attach it again"
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
    "this file is inside not what it is called outside: its author plays false. Nothing of it was kept"
)


def size_for(length: int) -> int:
    """The size class (bytes) that holds a file of `length` bytes. Raises UserError beyond the largest."""
    size: int
    for size in ATTACHMENT_SIZES:
        if length <= capacity(size, chunk_of(size)):
            return size
    raise UserError("a file has at most 100 MiB: send it in parts")


def kind_of(name: str) -> str:
    """A media type by the name's ending, from Python's own list: this system's would say which system it is."""
    return mimetypes.MimeTypes(filenames=()).guess_type(name)[0] or ""


class Source:
    """A file that is being attached; it must stay as it is meanwhile."""

    def __init__(self, path: Path) -> None:
        """Raises UserError when it cannot be attached."""
        try:
            # A pipe or device without a reader or writer must not hold this up.
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror or 'no reason given'}") from None
        self._path, self._before = path, os.fstat(self._file)
        self.length = self._before.st_size
        if not stat.S_ISREG(self._before.st_mode):
            self.close()
            raise UserError(f"{path} is not a file: only files can be attached")
        if not self.length:
            self.close()
            raise UserError(f"{path} is empty: there is nothing to attach")

    def close(self) -> None:
        """Lets go."""
        os.close(self._file)

    def read(self, size: int) -> bytes:
        """Exactly so many bytes. Raises UserError when the file has become shorter."""
        data = b""
        while len(data) < size:
            part = os.read(self._file, size - len(data))
            if not part:
                raise self._changed()
            data += part
        return data

    def finish(self) -> None:
        """Raises UserError unless the file is as it was."""
        now = os.fstat(self._file)
        if (now.st_size, now.st_mtime_ns) != (self._before.st_size, self._before.st_mtime_ns):
            raise self._changed()

    def _changed(self) -> UserError:
        return UserError(f"{self._path} was changed while it was read: try again when it is finished")


class Files:
    """The files of one channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._log = channel.log
        self._sending = asyncio.Lock()

    # Attaching

    async def attach(
        self, path: Path, *, name: str = "", life: int | None = None, report: Report | None = None
    ) -> None:
        """Attaches a file under its own or another name, for `life` seconds from now (at most what the charter says).

        Once this returns, the log holds it. Raises UserError for a file that cannot be attached, Halted, and, when
        nothing has happened yet, Unreachable. Once the file is sealed Unreachable says that it waits in the vault.
        """
        name = check_file_name(name or path.name)
        longest = self._log.charter.retention.messages
        if life is not None and not 1 <= life <= longest:
            raise UserError(f"a file in this channel lives 1 to {longest} seconds")
        self._log.check_may_send()
        source = Source(path)
        try:
            size = size_for(source.length)
            caps = (await self._channel._api.service()).caps
            if size > caps.largest_attachment:
                most = next((one for one in reversed(ATTACHMENT_SIZES) if one <= caps.largest_attachment), 0)
                raise UserError(f"the operator of this service takes files of at most {most // 1024} KiB, sealed")
            await self._seal(source, name, size, life or longest)
        finally:
            source.close()
        await self.send(report)

    async def _seal(self, source: Source, name: str, size: int, life: int) -> None:
        """Seals a file and keeps it as a draft; a crash leaves that, or nothing."""
        vault, file = self._log.vault, new_part()
        room = Room(os.urandom(ID_BYTES), os.urandom(TOKEN_BYTES), os.urandom(32))
        attached = Attached(
            id=os.urandom(ID_BYTES),
            life=life,
            attachment=room.attachment,
            token=room.token,
            key=os.urandom(KEY_LENGTH),
            size=size,
            digest=bytes(32),
            name=name,
            kind=kind_of(name),
            length=source.length,
        )
        vault.spooling.add(file)
        try:
            with Spool(vault.directory / file, attached) as spool:
                hashed, sealer = hashlib.sha256(), _sealer(attached)
                for number in range(spool.chunks):
                    chunk = sealer.seal(source.read(sealer.wants))
                    hashed.update(chunk)
                    spool.put(number, chunk)
                    await asyncio.sleep(0)  # whoever follows the channel goes on following it
                source.finish()
                spool.sync()
            attached = attached.model_copy(update={"digest": hashed.digest()})
            async with self._channel._turn:
                await self._channel._halves.with_halves(lambda: self._keep(attached, file, room))
        finally:
            vault.spooling.discard(file)
            vault.sweep()

    def _keep(self, attached: Attached, file: str, room: Room) -> None:
        log = self._log
        until = self._channel.clock() + attached.life
        end = log.end_of(max(until, log.row.received_at + attached.life), attached.life)
        if log.store.hours.is_over(end):
            raise UserError("this device's clock is too slow for so short a life: set it, or choose a longer life")
        with log.step():
            content = payload.encode_events([attached])
            draft = log.store.add_draft(Kind.UPLOAD, content, attached.life, until, end)
            log.rooms.begin(draft, file, room, until)

    async def send(self, report: Report | None = None) -> int:
        """Goes on with what was attached and is not whole at the service yet; returns how many files were said.

        Raises Unreachable when the line breaks, and then it goes on another time; UserError when a file is given up.
        """
        said = 0
        async with self._sending:
            while (draft := await self._next()) is not None:
                try:
                    await self._upload(draft, report or _silent)
                except Unreachable as error:
                    raise Unreachable(f"{error}. Not sent yet: {_STAYED}") from None
                await self._channel.deliver(draft.number)
                said += 1
        return said

    async def _next(self) -> Draft | None:
        async with self._channel._turn:
            store = self._log.store
            return await self._channel._halves.with_halves(lambda: store.next_draft(Kind.UPLOAD))

    def waiting(self) -> int:
        """How many attached files are not whole at the service yet."""
        return self._log.store.count_drafts(Kind.UPLOAD)

    async def give_up(self) -> int:
        """Erases what was attached and is not said yet, also at the service when it answers; returns how many."""
        given_up = 0
        async with self._channel._turn:
            while (draft := self._log.store.first_draft(Kind.UPLOAD)) is not None:
                self._drop(draft)
                given_up += 1
            with suppress(Unreachable, Refused):  # then at the next visit
                await self.delete_due()
        return given_up

    def _drop(self, draft: int) -> None:
        self._log.erased()
        with self._log.step():
            self._log.store.drop_draft(draft)

    async def _upload(self, draft: Draft, report: Report) -> None:
        """The service has all of it when this returns. Raises UserError when the file is given up."""
        log = self._log
        file = log.rooms.upload(draft.number)
        if not draft.content or file is None:
            self._drop(draft.number)
            raise UserError(_LOST)
        (attached,) = payload.decode_events(draft.content)
        if not isinstance(attached, Attached):
            raise TypeError("an upload is of a file")
        with Spool(log.vault.directory / file, attached) as spool:
            async with self._channel._connect(log.row.url, attached.token) as api:
                held = await self._room(api, attached, draft)
                done = spool.chunks - len(held.missing)
                for number in held.missing:
                    report(done, spool.chunks)
                    chunk = spool.get(number) if number < spool.chunks else None
                    if chunk is None:
                        over = not log.store.has_draft(draft.number)
                        self._drop(draft.number)
                        raise UserError(_OVER if over else _LOST)
                    await api.put_chunk(attached.attachment, number, chunk)
                    done += 1
                if held.missing and (await api.attachment(attached.attachment)).missing:
                    raise Refused(CONTRADICTION)
                report(done, spool.chunks)
        async with self._channel._turn:
            if not log.store.has_draft(draft.number):
                raise UserError(_OVER)
            with log.step():
                log.rooms.whole(draft.number, held.expires_at)
            log.vault.sweep()

    async def _room(self, api: Api, attached: Attached, draft: Draft) -> wire.Attachment:
        """What the service has; the room is made first if it is not there."""
        try:
            held = await api.attachment(attached.attachment)
        except Refused as refusal:
            if refusal.problem is not Problem.UNAUTHORIZED:
                raise
            await self._make_room(attached, draft)
            held = await api.attachment(attached.attachment)
        if held.size != attached.size:
            raise Refused(CONTRADICTION)
        return held

    async def _make_room(self, attached: Attached, draft: Draft) -> None:
        left = draft.expires_at - self._channel.clock()
        secret = self._log.rooms.secret(attached.attachment)
        if left < 1 or secret is None:
            self._drop(draft.number)
            raise UserError(_OVER)
        request = wire.CreateAttachment(
            attachment=attached.attachment,
            token_hash=hashlib.sha256(attached.token).digest(),
            size=attached.size,
            life=left,
            delete_hash=hashlib.sha256(secret).digest(),
        )
        try:
            await self._channel._api.create_attachment(self._channel.id, request)
        except Refused as refusal:
            # The answer to an earlier request was lost: the room is there, for the life of that time.
            if refusal.problem is Problem.ID_REUSED:
                return
            if refusal.problem is Problem.OVER_CAP:
                self._drop(draft.number)
                raise UserError(f"this file was not sent: {_FULL}") from None
            raise

    async def delete_due(self) -> None:
        """Own files end at the service when they were taken back, erased with their session, or never said."""
        log = self._log
        for room in log.rooms.due(self._channel.clock()):
            async with self._channel._connect(log.row.url, room.token) as api:
                try:
                    await api.delete_attachment(room.attachment, room.secret)
                except Refused as refusal:
                    # Its end has come, or it was never made.
                    if refusal.problem not in (Problem.UNAUTHORIZED, Problem.NOT_FOUND):
                        continue  # at the next visit
            with log.step():
                log.rooms.drop(room.attachment)

    # What came in

    def list(self) -> list[Message]:
        """The files that are alive, may be shown and open with the keys at hand, in the log's order."""
        return [one for one in self._log.store.messages(self._channel.clock()) if one.attached is not None]

    async def fetch(self, seq: int, report: Report | None = None) -> Message:
        """Fetches a file by its message's seq, or goes on with it; it is here, whole and sealed, when this returns.

        Raises UserError when there is none, Spoiled when it is not what was announced, Unreachable when the line
        breaks: what is here stays, and it goes on the next time.
        """
        async with self._channel._turn:
            store = self._log.store
            message = await self._channel._halves.with_halves(lambda: store.message(seq))
        if message is None or message.attached is None or message.held or not self._lives(message):
            raise UserError("there is no file of this number here: `pourparler files` lists them")
        rooms, vault = self._log.rooms, self._log.vault
        file = rooms.download(seq)
        if file is None:
            file = new_part()
            with self._log.step():
                rooms.begin_download(seq, file)
        try:
            with Spool(vault.directory / file, message.attached) as spool:
                await self._fetch(message, message.attached, spool, report or _silent)
        except Spoiled:
            self.forget(message)
            raise
        return message

    async def _fetch(self, message: Message, attached: Attached, spool: Spool, report: Report) -> None:
        opening, number = _Opening(attached), 0
        while number < spool.chunks and (kept := spool.get(number)) is not None:
            opening.open(kept)
            number += 1
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
        return message.seq in self._log.store.places(self._channel.clock())

    async def text(self, message: Message) -> str:
        """A fetched file, if it is plain text (UTF-8) that can be shown. Its life after reading begins.

        Raises UserError when it is not.
        """
        attached = _attached(message)
        if attached.length > MAX_VIEW:
            raise UserError(f"this file is too large to be shown here ({attached.length // _MIB} MiB): {_SAVE}")
        await self._begin_reading(message)
        data = b"".join(self._pieces(message))
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            raise UserError(f"this file is not plain text: {_SAVE}")
        return text

    async def save(self, message: Message, folder: Path) -> Path:
        """Writes a fetched file, readable, into a folder, in place of no other; returns where.

        Its life after reading begins. Raises UserError when the folder is none, OSError.
        """
        check_folder(folder, self._log.vault.directory)
        await self._begin_reading(message)
        return place(folder, message.text, lambda: self._pieces(message))

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


_SAVE: Final = "`pourparler save` writes it into a folder of yours"


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


def _sealer(attached: Attached) -> Sealer:
    head = FileHead(attached.name, attached.kind, attached.length)
    return Sealer(attached.key, attached.attachment, head, attached.size, chunk_of(attached.size))


def _attached(message: Message) -> Attached:
    if message.attached is None:
        raise UserError("this is no file")
    return message.attached


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


def _silent(done: int, total: int) -> None:
    """Nobody wants to know how far it is."""
