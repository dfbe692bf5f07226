"""Files that are attached: sealed here, kept sealed, sent in chunks. Constant memory, whatever their size.

1. Nothing readable touches the disk through us: the sealed chunks are kept sealed once more (`spool.py`), and their
   key lies in the vault as a text does that waits to be said.
2. A file is said when the service has all of it. Until then it is a draft of its own kind, and goes on after a crash
   where it stopped. It ends everywhere at most its life after it was attached.
3. A device makes the room; chunks go by the attachment's own token, on a connection of their own.

DESIGN 4.4; docs/decisions/0018, 0024.
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pourparler_crypto.attachment import KEY_LENGTH, FileHead, Sealer, capacity
from pourparler_policies import payload, wire
from pourparler_policies.filenames import check_file_name
from pourparler_policies.limits import ATTACHMENT_SIZES, ID_BYTES, TOKEN_BYTES, chunk_of
from pourparler_policies.payload import Attached
from pourparler_policies.wire import Problem

from .errors import Refused, Unreachable, UserError
from .fetching import CONTRADICTION
from .outbox import Draft, Kind
from .rooms import Room
from .spool import Spool, new_part

if TYPE_CHECKING:
    from .api import Api
    from .channel import Channel

Report = Callable[[int, int], None]  # chunks that are done, chunks in all

_FULL: Final = (
    "the operator's room for the files of this channel is full: wait until earlier ones have ended, or take some back "
    "(`pourparler shorten`)"
)
_STAYED: Final = "the file waits in the vault, sealed, and goes on with `pourparler attach`"
_OVER: Final = "“{name}” was not sent: its life was over before all of it was there"
_LOST: Final = "what was kept of “{name}” cannot be read any more: attach it again"


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


class Uploads:
    """What this device attaches to one channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._log = channel.log
        self._sending = asyncio.Lock()

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
        self._log.check_may_speak()
        source = Source(path)
        try:
            size = size_for(source.length)
            caps = (await self._channel._api.service()).caps
            if size > caps.largest_attachment:
                most = next((one for one in reversed(ATTACHMENT_SIZES) if one <= caps.largest_attachment), 0)
                raise UserError(f"the operator of this service takes files of at most {most // 1024} KiB, sealed")
            draft = await self._seal(source, name, size, life or longest)
        finally:
            source.close()
        await self.send(report)
        # `talk` goes on with files by itself: it may have sent this one meanwhile, or have given it up.
        if draft not in self._log.own_entries.delivered and not self._log.store.outbox.has(draft):
            raise UserError(_OVER.format(name=name))

    async def _seal(self, source: Source, name: str, size: int, life: int) -> int:
        """Seals a file and keeps it as a draft, whose number it returns; a crash leaves that, or nothing."""
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
                return await self._channel.halves_for(lambda: self._keep(attached, file, room))
        finally:
            vault.spooling.discard(file)
            vault.sweep()

    def _keep(self, attached: Attached, file: str, room: Room) -> int:
        log = self._log
        until = self._channel.clock() + attached.life
        end = log.lives.end_of(max(until, log.row.received_at + attached.life), attached.life)
        if log.store.hours.is_over(end):
            raise UserError("this device's clock is too slow for so short a life: set it, or choose a longer life")
        with log.step():
            content = payload.encode_events([attached])
            draft = log.store.outbox.add(Kind.UPLOAD, content, attached.life, until, end)
            log.rooms.begin(draft, file, room, until)
        return draft

    async def send(self, report: Report | None = None) -> int:
        """Goes on with what was attached and is not whole at the service yet; returns how many files were said.

        Raises Unreachable when the line breaks, and then it goes on another time; UserError when a file is given up.
        """
        said = 0
        async with self._sending:
            while (draft := await self._next()) is not None:
                self._log.check_may_send()
                try:
                    await self._upload(draft, report or silent)
                except Unreachable as error:
                    raise Unreachable(f"{error}; {_STAYED}") from None
                await self._channel.deliver(draft.number)
                said += 1
        return said

    async def _next(self) -> Draft | None:
        async with self._channel._turn:
            store = self._log.store
            return await self._channel.halves_for(lambda: store.outbox.next(Kind.UPLOAD))

    def waiting(self) -> int:
        """How many attached files are not whole at the service yet."""
        return self._log.store.outbox.count(Kind.UPLOAD)

    async def give_up(self) -> int:
        """Erases what was attached and is not said yet, also at the service when it answers; returns how many."""
        given_up = 0
        async with self._channel._turn:
            while (draft := self._log.store.outbox.first(Kind.UPLOAD)) is not None:
                self._drop(draft)
                given_up += 1
            with suppress(Unreachable, Refused):  # then at the next visit
                await self.delete_due()
        return given_up

    def _drop(self, draft: int) -> None:
        self._log.erased()
        with self._log.step():
            self._log.store.outbox.drop(draft)

    async def _upload(self, draft: Draft, report: Report) -> None:
        """The service has all of it when this returns. Raises UserError when the file is given up."""
        log = self._log
        file = log.rooms.upload(draft.number)
        if not draft.content or file is None:
            self._drop(draft.number)
            raise UserError(_LOST.format(name="a file"))
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
                        over = not log.store.outbox.has(draft.number)
                        self._drop(draft.number)
                        raise UserError((_OVER if over else _LOST).format(name=attached.name))
                    await api.put_chunk(attached.attachment, number, chunk)
                    done += 1
                if held.missing and (await api.attachment(attached.attachment)).missing:
                    raise Refused(CONTRADICTION)
                report(done, spool.chunks)
        async with self._channel._turn:
            if not log.store.outbox.has(draft.number):
                raise UserError(_OVER.format(name=attached.name))
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
            raise UserError(_OVER.format(name=attached.name))
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
                raise UserError(f"“{attached.name}” was not sent: {_FULL}") from None
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


def _sealer(attached: Attached) -> Sealer:
    head = FileHead(attached.name, attached.kind, attached.length)
    return Sealer(attached.key, attached.attachment, head, attached.size, chunk_of(attached.size))


def silent(done: int, total: int) -> None:
    """Nobody wants to know how far it is."""
