"""Parsers that take more than bytes, with everything else held fixed; what is behind a seal is sealed anew."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any, cast

import httpx
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pourparler_clients import api, invitations
from pourparler_crypto import complaint
from pourparler_crypto.card import CardKey
from pourparler_crypto.dpa import wire as dpa
from pourparler_crypto.encoding import lp, pad, unlp, unpad
from pourparler_crypto.invitation import Offer
from pourparler_crypto.jr2 import wire as jr2
from pourparler_crypto.mls.codec import Codec
from pourparler_crypto.mls.suites import SUPPORTED_SUITES, suite_of
from pourparler_crypto.mls.tree import RatchetTree
from pourparler_crypto.note.backup import open_backup
from pourparler_crypto.note.brief import open_brief
from pourparler_crypto.sounding.inquiry import Inquiry
from pourparler_policies import invitation
from pourparler_policies.ideas.content import read_ballot
from pourparler_service import access

KEY = CardKey.generate()
_CARD = KEY.card("a reader")


def beside(modules: Iterator[ModuleType]) -> Iterator[tuple[str, Callable[[bytes], object]]]:
    """Name and function of each."""
    for name, one in codecs(modules):
        yield name, lambda data, codec=one: codec.decode(data, "what is tried")
    for kind in jr2.Kind:
        yield f"pourparler_crypto.jr2.wire.read.{kind.name}", lambda data, kind=kind: _of_a_release(kind, data)
    for kind in vars(invitation).values():
        if isinstance(kind, type) and issubclass(kind, invitation._Step) and kind is not invitation._Step:
            name = f"pourparler_policies.invitation.decode.{kind.__name__}"
            yield name, lambda data, kind=kind: invitation.decode(kind, data)
    suite = suite_of(SUPPORTED_SUITES[0])
    yield "pourparler_crypto.mls.tree.RatchetTree.from_bytes", lambda data: RatchetTree.from_bytes(suite, data)
    yield "pourparler_crypto.dpa.wire.peek", dpa.peek
    yield "pourparler_crypto.encoding.unlp", lambda data: [unlp(data, count) for count in (1, 3)]
    yield "pourparler_crypto.encoding.unpad", unpad
    yield "pourparler_crypto.note.backup.open_backup", lambda data: open_backup(_text(data), "a passphrase")
    yield "pourparler_crypto.note.brief.open_brief", lambda data: open_brief(_text(data), KEY, "a reader")
    yield "pourparler_crypto.complaint.open_", _complaint
    yield "pourparler_crypto.invitation.Offer.open_with", _offer
    yield "pourparler_crypto.sounding.inquiry.Inquiry.open_with", _inquiry
    yield "pourparler_policies.ideas.content.read_ballot", lambda data: read_ballot(data, 12)
    yield "pourparler_service.access.unpad", lambda data: access.unpad(data.decode("latin-1"), 32)
    yield (
        "pourparler_clients.invitations.open_invitation",
        lambda data: invitations.open_invitation(_text(data), KEY),
    )
    yield "pourparler_clients.api._events", _events
    yield "pourparler_clients.api._problem", lambda data: api._problem(500, httpx.Headers(), data)


def codecs(modules: Iterator[ModuleType]) -> Iterator[tuple[str, Codec[Any]]]:
    """MLS's forms that are read by themselves."""
    seen = set()
    for module in modules:
        for name, one in vars(module).items():
            if isinstance(one, Codec) and name.endswith("_CODEC") and id(one) not in seen:  # others import it
                seen.add(id(one))
                yield f"{module.__name__}.{name}", one


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _of_a_release(kind: jr2.Kind, data: bytes) -> object:
    return jr2.read(kind, bytes(32), 3, 2, data)


def _complaint(data: bytes) -> object:
    if len(data) > complaint.SIZE - 80:
        return None
    head, nonce, key = complaint.MAGIC + bytes(8), bytes(12), bytes(32)
    padded = pad(data, complaint.SIZE - complaint._HEAD - 16)
    sealed = head + nonce + AESGCM(key).encrypt(nonce, padded, head + bytes(16))
    return complaint.open_(key, bytes(16), sealed)


def _offer(data: bytes) -> object:
    return Offer.open_with(KEY, _CARD.seal(lp("pourparler/invitation/v1", "offer"), pad(data, len(data) + 32)))


def _inquiry(data: bytes) -> object:
    return Inquiry.open_with(KEY, _CARD.seal(b"pourparler/inquiry/v1", data))


class _Answer:
    """As much of an answer as the parser of events asks for, in two pieces."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def aiter_raw(self) -> AsyncIterator[bytes]:
        half = len(self._data) // 2
        for part in (self._data[:half], self._data[half:]):
            yield part


def _events(data: bytes) -> list[tuple[str, bytes]]:
    async def read() -> list[tuple[str, bytes]]:
        return [event async for event in api._events(cast("httpx.Response", _Answer(data)))]

    return asyncio.run(read())
