"""For tests of files: attachments as a hostile member would make them, and messages about them that say anything.

What is forged here is sealed with the real primitives and posted through the real log: only honesty is missing.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pourparler_crypto.attachment import FileHead, Sealer
from pourparler_policies import payload, wire
from pourparler_policies.limits import DAY, chunk_of
from pourparler_policies.payload import Attached

from .messages import Message
from .spool import PART_FILES
from .testing import Person
from .uploads import kind_of, size_for


def announced(data: bytes, name: str = "minutes.txt", **changes: Any) -> Attached:
    """An honest message about a file, but for what `changes`; its digest is still to be made."""
    fields: dict[str, Any] = {
        "id": os.urandom(16),
        "life": DAY,
        "attachment": os.urandom(16),
        "token": os.urandom(32),
        "key": os.urandom(32),
        "size": size_for(len(data)),
        "digest": bytes(32),
        "name": name,
        "kind": kind_of(name),
        "length": len(data),
    }
    return Attached(**{**fields, **changes})


def sealed(attached: Attached, data: bytes, head: FileHead | None = None) -> list[bytes]:
    """The chunks of an attachment under a message's key, with another head than the message says if one is given."""
    head = head or FileHead(attached.name, attached.kind, attached.length)
    sealer = Sealer(attached.key, attached.attachment, head, attached.size, chunk_of(attached.size))
    chunks = []
    while not sealer.done:
        taken, data = data[: sealer.wants], data[sealer.wants :]
        chunks.append(sealer.seal(taken))
    return chunks


def digest_of(chunks: Sequence[bytes]) -> bytes:
    """SHA-256 of all chunks, as a message names it."""
    return hashlib.sha256(b"".join(chunks)).digest()


async def put(person: Person, attached: Attached, chunks: Sequence[bytes | None]) -> None:
    """Makes room at the service and puts these chunks there; None: this one is left out."""
    log = person.log
    request = wire.CreateAttachment(
        attachment=attached.attachment,
        token_hash=hashlib.sha256(attached.token).digest(),
        size=attached.size,
        life=attached.life,
        delete_hash=bytes(32),
    )
    async with person.line.connect(log.row.url, log.row.token) as api:
        await api.create_attachment(person.channel.id, request)
    async with person.line.connect(log.row.url, attached.token) as api:
        for number, chunk in enumerate(chunks):
            if chunk is not None:
                await api.put_chunk(attached.attachment, number, chunk)


async def post(person: Person, attached: Attached) -> None:
    """Says that there is this file, whatever there is."""
    until = person.clock() + attached.life
    person.log.lives.add_draft(payload.encode_events([attached]), attached.life, until)
    await person.sync()


def files(person: Person) -> list[Message]:
    """The files that a device lists."""
    return person.channel.downloads.list()


def parts(person: Person) -> list[Path]:
    """Files with kept chunks beside a vault."""
    return sorted(person.directory.glob(PART_FILES))
