"""Whoever lies about a file, its author, another member or the service: nothing false is shown, saved or kept."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from pourparler_clients import downloads
from pourparler_clients.errors import PourparlerError, Refused, Spoiled, Unreachable, UserError
from pourparler_clients.files_testing import announced, digest_of, files, parts, post, put, sealed
from pourparler_clients.store import State
from pourparler_clients.testing import House, Person, Rewrite
from pourparler_crypto.attachment import FileHead
from pourparler_policies.limits import ATTACHMENT_CHUNK, ATTACHMENT_SIZES

TEXT = (
    "Both villages may use the wells on alternate days.\n" * 12000
).encode()  # three chunks of 256 KiB, and padding
SMALL = b"A short text."

People = list[Person]


async def refused(person: Person, folder: Path, error: type[PourparlerError], why: str) -> None:
    """The newest file is neither shown nor saved, and nothing of it is kept."""
    seq, before = files(person)[-1].seq, parts(person)
    folder.mkdir(exist_ok=True)
    with pytest.raises(error, match=why):
        await person.channel.downloads.text(seq)
    with pytest.raises(error, match=why):
        await person.channel.downloads.save(seq, folder)
    assert list(folder.iterdir()) == []
    if error is Spoiled:
        assert parts(person) == before
    person.channel.downloads.forget(files(person)[-1])
    assert person.state is State.OPEN


# The author


@pytest.mark.parametrize(
    ("inside", "why"),
    [
        ({"name": "other.txt"}, "its author plays false"),
        ({"length": len(SMALL) - 1}, "its author plays false"),
        ({"length": 60_000}, "its author plays false"),
        ({"type": "application/pdf"}, "its author plays false"),
    ],
)
async def test_a_file_that_is_inside_not_what_it_is_called_outside(
    inside: dict[str, object], why: str, pair: People, tmp_path: Path
) -> None:
    ada, ben = pair
    attached = announced(SMALL)
    head = replace(FileHead(attached.name, attached.kind, attached.length), **inside)
    data = SMALL if head.length <= len(SMALL) else SMALL.ljust(head.length, b"x")
    chunks = sealed(attached, data[: head.length], head)
    await put(ada, attached, chunks)
    await post(ada, attached.model_copy(update={"digest": digest_of(chunks)}))
    await ben.sync()
    await refused(ben, tmp_path / "folder", Spoiled, why)


async def test_a_file_of_another_digest_than_was_said(pair: People, tmp_path: Path) -> None:
    ada, ben = pair
    attached = announced(SMALL)
    await put(ada, attached, sealed(attached, SMALL))
    await post(ada, attached.model_copy(update={"digest": os.urandom(32)}))
    await ben.sync()
    await refused(ben, tmp_path / "folder", Spoiled, "another file than its author's message names")


@pytest.mark.parametrize(
    "change",
    [
        lambda one, _: [one[0], one[2], one[1], one[3]],
        lambda one, _: [one[0], one[1], one[1], one[3]],
        lambda one, _: [one[1], one[0], one[2], one[3]],
        lambda one, _: [one[0], one[1], one[3], one[2]],
        lambda one, other: [one[0], other[1], one[2], one[3]],
        lambda one, other: other,
        lambda one, _: [one[0], one[1], bytes(ATTACHMENT_CHUNK), one[3]],
    ],
    ids=["reordered", "replayed", "first moved", "end moved", "of another", "another", "zeros"],
)
async def test_chunks_that_were_moved_repeated_or_exchanged(
    change: Callable[[list[bytes], list[bytes]], list[bytes]], pair: People, tmp_path: Path
) -> None:
    ada, ben = pair
    attached = announced(TEXT)
    other = announced(TEXT, key=attached.key, size=attached.size)
    chunks = change(sealed(attached, TEXT), sealed(other, TEXT))
    await put(ada, attached, chunks)
    await post(ada, attached.model_copy(update={"digest": digest_of(chunks)}))
    await ben.sync()
    await refused(ben, tmp_path / "folder", Spoiled, "not what was attached")


async def test_a_file_of_which_the_service_does_not_have_all(pair: People, tmp_path: Path) -> None:
    ada, ben = pair
    attached = announced(TEXT)
    chunks = sealed(attached, TEXT)
    await put(ada, attached, [*chunks[:-1], None])
    await post(ada, attached.model_copy(update={"digest": digest_of(chunks)}))
    await ben.sync()
    await refused(ben, tmp_path / "folder", UserError, "does not have all of this file")


async def test_a_file_that_never_was_at_the_service(pair: People, tmp_path: Path) -> None:
    ada, ben = pair
    await post(ada, announced(SMALL))
    await ben.sync()
    await refused(ben, tmp_path / "folder", UserError, "no longer there")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../.ssh/authorized_keys", "_.._.._.ssh_authorized_keys"),
        ("minutes\u202etxt.exe", "minutes_txt.exe"),
        ("\x1b]0;title\x07.txt", "_]0;title_.txt"),
        ("nul.txt", "_nul.txt"),
        ("x" * 255, "x" * 255),
    ],
)
async def test_a_name_that_could_do_harm_is_shown_and_used_without_it(
    name: str, shown: str, pair: People, tmp_path: Path
) -> None:
    ada, ben = pair
    attached = announced(SMALL, name)
    # What names a path inside is no head of a file for any library: a forger has to call it otherwise there.
    harmless_inside = not set("/\x1b\x07") & set(name)
    head = FileHead(name if harmless_inside else "x", attached.kind, attached.length)
    chunks = sealed(attached, SMALL, head)
    await put(ada, attached, chunks)
    await post(ada, attached.model_copy(update={"digest": digest_of(chunks)}))
    await ben.sync()
    message = files(ben)[-1]
    assert message.text == shown
    folder = tmp_path / "folder"
    folder.mkdir()
    if harmless_inside:
        path = await ben.channel.downloads.save(message.seq, folder)
        assert (path.name, path.parent, path.read_bytes()) == (shown, folder, SMALL)
    else:
        await refused(ben, folder, Spoiled, "its author plays false")
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]


async def test_a_binary_or_very_long_file_is_not_shown_on_a_terminal(pair: People) -> None:
    ada, ben = pair
    for data, why in (
        (b"\x89PNG\r\n\x1a\n\0\0", "not plain text"),
        (b"MZ\0", "not plain text"),
        (b"\xff\xfe", "not"),
    ):
        attached = announced(data, "picture.txt")
        chunks = sealed(attached, data)
        await put(ada, attached, chunks)
        await post(ada, attached.model_copy(update={"digest": digest_of(chunks)}))
        await ben.sync()
        with pytest.raises(UserError, match=why):
            await ben.channel.downloads.text(files(ben)[-1].seq)
    for length in (
        2 * 1024 * 1024,
        len(SMALL),
    ):  # who hides a large file behind a small length costs nobody the line
        await post(ada, announced(SMALL, length=length, size=ATTACHMENT_SIZES[6]))
        await ben.sync()
        asked = len(ben.line.requests)
        with pytest.raises(UserError, match="too large to be shown"):
            await ben.channel.downloads.text(files(ben)[-1].seq)
        assert len(ben.line.requests) == asked


# The service, alone and with a member


def chunks_are(change: Callable[[int, bytes], tuple[int, bytes]]) -> Rewrite:
    """A service that answers for chunks otherwise than it should: number and bytes -> status and bytes."""

    def rewrite(method: str, path: str, status: int, data: bytes) -> tuple[int, bytes]:
        if method == "GET" and "/chunks/" in path:
            return change(int(path.rpartition("/")[2]), data)
        return status, data

    return rewrite


@pytest.mark.parametrize(
    ("lie", "error", "why"),
    [
        (lambda n, data: (200, data[:-1] + bytes([data[-1] ^ 1])), Spoiled, "not what was attached"),
        (lambda n, data: (200, data if n != 2 else bytes(len(data))), Spoiled, "not what was attached"),
        (lambda n, data: (200, data[:-1]), Spoiled, "not what was attached"),
        (lambda n, data: (200, b""), Spoiled, "not what was attached"),
        (lambda n, data: (200, data + b"x"), Refused, "larger than any answer"),
        (lambda n, data: (200, data * 50), Refused, "larger than any answer"),
        (lambda n, data: (500, b"<html>"), Refused, "status 500"),
        (lambda n, data: (404, b"{}"), Refused, "status 404"),
        (lambda n, data: (502, b""), Unreachable, "does not answer"),
    ],
)
async def test_a_service_that_gives_out_something_else(
    lie: Callable[[int, bytes], tuple[int, bytes]],
    error: type[PourparlerError],
    why: str,
    pair: People,
    tmp_path: Path,
) -> None:
    ada, ben = pair
    (tmp_path / "minutes.txt").write_bytes(TEXT)
    await ada.channel.uploads.attach(tmp_path / "minutes.txt")
    await ben.sync()
    ben.line.rewrite = chunks_are(lie)
    await refused(ben, tmp_path / "folder", error, why)
    ben.line.rewrite = None  # and what was refused did not spoil what is right
    assert (await ben.channel.downloads.text(files(ben)[-1].seq))[1].encode() == TEXT


async def test_a_member_that_has_the_key_cannot_give_another_file_to_one_of_the_others_with_the_services_help(
    pair: People, tmp_path: Path
) -> None:
    ada, ben = pair
    (tmp_path / "minutes.txt").write_bytes(SMALL)
    await ada.channel.uploads.attach(tmp_path / "minutes.txt")
    await ben.sync()
    attached = files(ben)[-1].attached
    assert attached is not None
    false = sealed(attached, SMALL[::-1])  # everything right but the file: the same key, id, name and length
    ben.line.rewrite = chunks_are(lambda n, _: (200, false[n]))
    await refused(ben, tmp_path / "folder", Spoiled, "another file than its author's message names")


class Endless(httpx.AsyncByteStream):
    def __init__(self, pause: float) -> None:
        self.pause = pause
        self.given = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(self.pause)
            self.given += 1024
            yield bytes(1024)


@pytest.mark.parametrize(("pause", "error"), [(0, Refused), (0.05, Unreachable)])
async def test_a_chunk_that_never_ends_is_left(
    pause: float, error: type[PourparlerError], pair: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, ben = pair
    (tmp_path / "minutes.txt").write_bytes(TEXT)
    await ada.channel.uploads.attach(tmp_path / "minutes.txt")
    await ben.sync()
    stream, send = Endless(pause), ben.line.handle_async_request

    async def endless(request: httpx.Request) -> httpx.Response:
        if "/chunks/" in request.url.path:
            return httpx.Response(200, stream=stream, request=request)
        return await send(request)

    monkeypatch.setattr(ben.line, "handle_async_request", endless)
    monkeypatch.setattr(downloads, "_PATIENCE", 1.0)
    await refused(ben, tmp_path / "folder", error, "larger than any answer" if not pause else "takes too long")
    assert stream.given <= 2 * (ATTACHMENT_CHUNK + 2048)


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        ({"missing": [0, 1, 2, 3, 300]}, "cannot be read any more"),
        ({"missing": [0] * 9}, "contradicts itself"),
        ({"size": 65536}, "contradicts itself"),
        ({"missing": [404]}, "not what the protocol demands"),
        ({"missing": [-1]}, "not what the protocol demands"),
        ({"expires_at": 0}, "life was over"),
    ],
)
async def test_a_service_that_lies_to_who_sends_a_file(
    lie: dict[str, object], why: str, pair: People, tmp_path: Path
) -> None:
    ada, ben = pair
    before = files(ben)

    def rewrite(method: str, path: str, status: int, data: bytes) -> tuple[int, bytes]:
        if method == "GET" and "/v1/attachments/" in path and status == 200:
            return status, json.dumps({**json.loads(data), **lie}).encode()
        return status, data

    ada.line.rewrite = rewrite
    (tmp_path / "minutes.txt").write_bytes(TEXT)
    with pytest.raises(PourparlerError, match=why):
        await ada.channel.uploads.attach(tmp_path / "minutes.txt")
    ada.line.rewrite = None
    await ada.channel.uploads.send()
    await ben.sync()
    for message in [one for one in files(ben) if one not in before]:
        assert (await ben.channel.downloads.text(message.seq))[1].encode() == TEXT
    assert parts(ada) == []


async def test_who_may_not_speak_yet_attaches_nothing_that_is_shown(house: House, tmp_path: Path) -> None:
    ada, ben = await house.opened("ada", "ben")
    (tmp_path / "minutes.txt").write_bytes(SMALL)
    with pytest.raises(PourparlerError, match="being founded"):
        await ada.channel.uploads.attach(tmp_path / "minutes.txt")
    assert files(ada) == []
    await house.seat(ada, ben)  # then it is said, as a message that waited is
    await ada.sync()
    await ben.sync()
    assert [one.text for one in files(ben)] == ["minutes.txt"]
