"""Attachments: resumable by chunk, durable when acknowledged, within the quota, overwritten when they are over."""

import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from pourparler_crypto.attachment import FileHead, Opener, Sealer, capacity
from pourparler_policies import limits
from pourparler_policies.limits import ATTACHMENT_CHUNK, ATTACHMENT_SIZES, DAY, HOUR
from pourparler_policies.wire import Route
from pourparler_service import tables
from pourparler_service.caps import Caps
from pourparler_service.settings import Settings
from pourparler_service.testing import (
    ServerProcess,
    TestAttachment,
    TestDevice,
    bearer,
    found_channel,
    problem,
    running,
    threaded,
)

START = 1_800_000_000
SMALL = ATTACHMENT_SIZES[0]  # one chunk of 64 KiB
FOUR = 4 * ATTACHMENT_CHUNK  # four chunks of 256 KiB


def kept(data: Path) -> bytes:
    return b"".join(one.read_bytes() for one in data.rglob("*") if one.is_file())


def wait_for(holds: Callable[[], bool]) -> None:
    """Until it holds, or the test's timeout strikes."""
    while not holds():
        time.sleep(0.02)


def marked(size: int = ATTACHMENT_CHUNK) -> tuple[bytes, bytes]:
    """A chunk that holds a random mark all over, so that a fragment would be found too."""
    mark = secrets.token_bytes(16)
    return mark, mark * (size // 16)


def stored(data: Path, attachment: TestAttachment) -> list[bytes]:
    """Pieces of what its file has, which is not what was sent."""
    held = (data / "attachments" / attachment.attachment.hex()).read_bytes()
    pieces = [held[start:][:16] for start in range(0, len(held) - 16, 8192)]
    return [piece for piece in pieces if any(piece)]


def none_of(pieces: list[bytes], data: Path) -> bool:
    files = kept(data)
    return len(pieces) > 0 and not [piece for piece in pieces if piece in files]


@contextmanager
def service(data: Path, now: list[float], **caps: int) -> Iterator[httpx.Client]:
    with (
        threaded(Settings(data, caps=Caps(**caps), clock=lambda: now[0])) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        yield client


@pytest.fixture
def now() -> list[float]:
    return [float(START)]


@pytest.fixture
def device(client: httpx.Client, data: Path) -> TestDevice:
    return found_channel(client, data)[0]


# --- sending and fetching --------------------------------------------------------------------------------------


def test_a_file_goes_up_and_comes_down_as_it_was(client: httpx.Client, device: TestDevice) -> None:
    key, file = secrets.token_bytes(32), secrets.token_bytes(700_000)
    size = next(one for one in ATTACHMENT_SIZES if capacity(one, limits.chunk_of(one)) >= len(file))
    assert size == FOUR
    one = device.attach(client, size)
    sealer = Sealer(key, one.attachment, FileHead("map.png", "image/png", len(file)), size, limits.chunk_of(size))
    rest = file
    for number in range(4):
        data, rest = rest[: sealer.wants], rest[sealer.wants :]
        assert one.put(client, number, sealer.seal(data)).status_code == 204
    assert one.missing(client) == []
    opener = Opener(key, one.attachment, size, limits.chunk_of(size))
    assert b"".join(opener.open(one.get(client, number).content) for number in range(4)) == file
    opener.finish()


@pytest.mark.parametrize("size", ATTACHMENT_SIZES[:5])
def test_each_size_has_its_chunks(client: httpx.Client, device: TestDevice, size: int) -> None:
    one = device.attach(client, size)
    assert one.missing(client) == list(range(size // limits.chunk_of(size)))
    assert one.put(client, 0, bytes(limits.chunk_of(size))).status_code == 204  # zeros are bytes like others
    assert one.missing(client) == list(range(1, size // limits.chunk_of(size)))


def test_chunks_come_in_any_order_and_an_upload_goes_on_where_it_broke(
    client: httpx.Client, device: TestDevice
) -> None:
    one = device.attach(client, FOUR)
    chunks = [secrets.token_bytes(ATTACHMENT_CHUNK) for _ in range(4)]
    for number in (3, 1):
        assert one.put(client, number, chunks[number]).status_code == 204
    assert problem(one.get(client, 0)) == "not-found"
    assert one.missing(client) == [0, 2]
    for number in one.missing(client):
        assert one.put(client, number, chunks[number]).status_code == 204
    assert [one.get(client, number).content for number in range(4)] == chunks
    assert one.get(client, 0).headers["content-type"] == "application/octet-stream"


def test_a_chunk_is_written_once_and_its_retry_is_harmless(client: httpx.Client, device: TestDevice) -> None:
    one = device.attach(client, SMALL)
    chunk = secrets.token_bytes(SMALL)
    for _ in range(2):
        assert one.put(client, 0, chunk).status_code == 204
    assert problem(one.put(client, 0, secrets.token_bytes(SMALL))) == "id-reused"
    assert one.get(client, 0).content == chunk


def test_room_is_made_once_and_its_retry_is_harmless(client: httpx.Client, device: TestDevice, data: Path) -> None:
    one = TestAttachment(SMALL)
    for _ in range(2):
        assert device.make_room(client, one.request()).status_code == 204
    for changes in ({"size": FOUR}, {"life": 5}, {"token_hash": bytes(32)}, {"delete_hash": bytes(32)}):
        assert problem(device.make_room(client, one.request(**changes))) == "id-reused"
    (other,) = found_channel(client, data)
    assert problem(other.make_room(client, one.request())) == "id-reused"


def test_what_is_no_chunk_is_refused_and_nothing_is_kept(client: httpx.Client, device: TestDevice) -> None:
    one = device.attach(client, FOUR)
    for size in (0, 1, ATTACHMENT_CHUNK - 1):
        assert problem(one.put(client, 0, bytes(size))) == "malformed"
    assert problem(one.put(client, 0, bytes(ATTACHMENT_CHUNK + 1))) == "too-large"
    path = one.path(Route.ATTACHMENT_CHUNK)
    wrong = {**bearer(one.token), "Content-Type": "application/json"}
    assert problem(client.put(path, content=bytes(ATTACHMENT_CHUNK), headers=wrong)) == "media-type"
    packed = {**bearer(one.token), "Content-Type": "application/octet-stream", "Content-Encoding": "gzip"}
    assert problem(client.put(path, content=bytes(ATTACHMENT_CHUNK), headers=packed)) == "media-type"
    for number in (4, 403, 404, 10**20):
        assert problem(one.put(client, number, bytes(ATTACHMENT_CHUNK))) == "not-found"
    for number in ("00", "-1", "+1", "1.0", "x", "%30%30"):
        place = one.path(Route.ATTACHMENT_CHUNK).removesuffix("0") + number
        assert problem(client.get(place, headers=bearer(one.token))) == "not-found"
    assert one.missing(client) == [0, 1, 2, 3]


@pytest.mark.parametrize("size", [0, 1, SMALL + 1, 3 * SMALL, 2 * ATTACHMENT_SIZES[-1]])
def test_a_size_that_is_no_class_is_malformed(client: httpx.Client, device: TestDevice, size: int) -> None:
    asked = TestAttachment(SMALL).request().model_copy(update={"size": size})
    assert problem(device.make_room(client, asked)) == "malformed"


# --- who may ---------------------------------------------------------------------------------------------------


def test_only_a_device_makes_room_and_only_the_attachments_token_opens_it(
    client: httpx.Client, device: TestDevice
) -> None:
    one = device.attach(client, SMALL)
    stranger = TestDevice(device.channel)
    assert problem(stranger.make_room(client, TestAttachment(SMALL).request())) == "unauthorized"
    for token in (device.token, secrets.token_bytes(32)):
        other = TestAttachment(SMALL, one.attachment, token, one.secret)
        for answer in (
            other.put(client, 0, bytes(SMALL)),
            other.get(client, 0),
            other.state(client),
            other.delete(client),
        ):
            assert problem(answer) == "unauthorized"
    unknown = TestAttachment(SMALL)
    told = {unknown.state(client).content, TestAttachment(SMALL, one.attachment).state(client).content}
    assert len(told) == 1  # a wrong token and no attachment at all get the same answer


@pytest.mark.embedded
def test_only_the_delete_secret_deletes(client: httpx.Client, device: TestDevice, data: Path) -> None:
    """Whoever reads the message has the token. A reader must not destroy what the others have not seen."""
    one = device.attach(client, SMALL)
    mark, chunk = marked(SMALL)
    one.put(client, 0, chunk)
    gone = stored(data, one)
    assert mark not in kept(data)
    assert problem(one.delete(client, one.token)) == "not-found"
    assert one.get(client, 0).content == chunk
    assert not none_of(gone, data)
    assert one.delete(client).status_code == 204
    assert none_of(gone, data)
    assert one.attachment not in kept(data)
    assert not (data / "attachments" / one.attachment.hex()).exists()
    assert problem(one.delete(client)) == "unauthorized"
    assert problem(one.get(client, 0)) == "unauthorized"
    assert problem(one.put(client, 0, chunk)) == "unauthorized"


def test_nothing_that_is_stored_joins_an_attachment_to_a_device() -> None:
    assert set(tables.ATTACHMENT.c.keys()) == {
        "key", "attachment", "channel_key", "token_hash", "size", "life", "expires_at", "delete_hash",
        "key_end",
    }  # fmt: skip


# --- quota -----------------------------------------------------------------------------------------------------


def test_the_operators_caps_hold(tmp_path: Path, now: list[float]) -> None:
    with service(tmp_path, now, largest_attachment=FOUR, longest_life=DAY) as client:
        (device,) = found_channel(client, tmp_path)
        caps = client.get(Route.SERVICE).json()["caps"]
        assert (caps["largest_attachment"], caps["attachments_a_channel"]) == (FOUR, 1024**3)
        device.attach(client, FOUR, DAY)
        assert problem(device.make_room(client, TestAttachment(2 * FOUR).request())) == "over-cap"
        assert problem(device.make_room(client, TestAttachment(SMALL).request(DAY + 1))) == "over-cap"


def test_a_channel_has_a_quota_that_words_do_not_share_and_what_is_over_gives_back(
    tmp_path: Path, now: list[float]
) -> None:
    largest = ATTACHMENT_SIZES[-1]
    with service(tmp_path, now, attachments_a_channel=largest) as client:
        one, other = found_channel(client, tmp_path, 2)
        big = one.attach(client, ATTACHMENT_SIZES[-2])
        one.attach(client, ATTACHMENT_SIZES[-3], life=10)
        for device in (one, other):  # the quota is the channel's, so nobody gets round it by another device
            assert problem(device.make_room(client, TestAttachment(ATTACHMENT_SIZES[-3]).request())) == "over-cap"
        assert one.send(client).status_code == 201
        now[0] += 10
        wait_for(lambda: one.make_room(client, TestAttachment(ATTACHMENT_SIZES[-3]).request()).status_code == 204)
        big.delete(client).raise_for_status()
        one.attach(client, ATTACHMENT_SIZES[-2])
        (elsewhere,) = found_channel(client, tmp_path)
        elsewhere.attach(client, largest)


# --- over ------------------------------------------------------------------------------------------------------


@pytest.mark.embedded
def test_on_a_real_clock_expired_attachments_leave_the_files_and_the_living_stay(
    client: httpx.Client, device: TestDevice, data: Path
) -> None:
    gone, stays = device.attach(client, FOUR, life=4), device.attach(client, FOUR)
    marks = [marked() for _ in range(4)]
    for number in range(3):  # the fourth is missing: what was never whole goes too
        gone.put(client, number, marks[number][1]).raise_for_status()
    stays.put(client, 0, marks[3][1]).raise_for_status()
    pieces, living = stored(data, gone), stored(data, stays)
    assert not none_of(pieces, data)
    wait_for(lambda: not (data / "attachments" / gone.attachment.hex()).exists())
    assert none_of(pieces, data)
    files = kept(data)
    assert all(piece in files for piece in living)
    assert not [mark for mark, _ in marks if mark in files]
    assert problem(gone.get(client, 0)) == "unauthorized"
    assert stays.get(client, 0).content == marks[3][1]


@pytest.mark.embedded
def test_the_bytes_are_overwritten_where_they_lay_before_the_file_goes(
    tmp_path: Path, client: httpx.Client, device: TestDevice, data: Path
) -> None:
    """Unlinking alone leaves the blocks. A second name of the same file shows what became of them."""
    one = device.attach(client, FOUR)
    for number in (0, 2):
        one.put(client, number, secrets.token_bytes(ATTACHMENT_CHUNK)).raise_for_status()
    (tmp_path / "name").hardlink_to(data / "attachments" / one.attachment.hex())
    one.delete(client).raise_for_status()
    left = (tmp_path / "name").read_bytes()
    assert left
    assert left.count(0) == len(left)


def test_an_expired_attachment_is_not_served_even_when_the_purger_has_not_come(
    tmp_path: Path, now: list[float]
) -> None:
    with service(tmp_path, now) as client:
        (device,) = found_channel(client, tmp_path)
        one = device.attach(client, SMALL, life=10)
        one.put(client, 0, bytes(SMALL)).raise_for_status()
        now[0] += 9
        assert one.get(client, 0).status_code == 200
        now[0] += 1
        for answer in (one.get(client, 0), one.put(client, 0, bytes(SMALL)), one.state(client)):
            assert problem(answer) == "unauthorized"


@pytest.mark.embedded
def test_attachments_end_with_their_channel(client: httpx.Client, data: Path) -> None:
    one, other = found_channel(client, data, 2)
    attached = one.attach(client, SMALL)
    _, chunk = marked(SMALL)
    attached.put(client, 0, chunk).raise_for_status()
    gone = stored(data, attached)
    assert client.delete(one.path(Route.OWN_DEVICE), headers=one.headers).status_code == 204
    assert attached.get(client, 0).content == chunk  # the author left; the others still read
    assert client.delete(other.path(Route.OWN_DEVICE), headers=other.headers).status_code == 204
    assert none_of(gone, data)
    assert problem(attached.get(client, 0)) == "unauthorized"


def test_what_expired_or_lost_its_row_while_the_service_was_off_is_gone_before_it_serves(
    tmp_path: Path, now: list[float]
) -> None:
    mark, chunk = marked(SMALL)
    with service(tmp_path, now) as client:
        (device,) = found_channel(client, tmp_path)
        expires, stays = device.attach(client, SMALL, life=10), device.attach(client, SMALL)
        for one in (expires, stays):
            one.put(client, 0, chunk).raise_for_status()
    gone, living = stored(tmp_path, expires), stored(tmp_path, stays)
    assert not none_of(gone, tmp_path)
    lost_mark, lost = marked(SMALL)
    (tmp_path / "attachments" / secrets.token_hex(16)).write_bytes(lost)  # a kill came before it was wiped
    now[0] += 10
    with service(tmp_path, now) as client:
        assert {one.name for one in (tmp_path / "attachments").iterdir()} == {stays.attachment.hex()}
        assert lost_mark not in kept(tmp_path)
        assert stays.get(client, 0).content == chunk
    assert none_of(gone, tmp_path)
    files = kept(tmp_path)
    assert all(piece in files for piece in living)
    assert mark not in files


def test_a_foreign_file_among_them_is_left_alone(tmp_path: Path, now: list[float]) -> None:
    (tmp_path / "attachments").mkdir(parents=True)
    (tmp_path / "attachments" / "lost+found").mkdir()
    (tmp_path / "attachments" / "README").write_text("not ours")
    with service(tmp_path, now):
        assert (tmp_path / "attachments" / "README").read_text() == "not ours"


@pytest.mark.embedded
def test_a_chunk_under_way_cannot_bring_an_erased_attachment_back(client: httpx.Client, data: Path) -> None:
    """Sent again and again while it is deleted. Whatever the order, no file is left."""
    (device,) = found_channel(client, data)
    for _ in range(10):
        one = device.attach(client, SMALL)
        stop = threading.Event()

        def send(one: TestAttachment = one, stop: threading.Event = stop) -> None:
            with httpx.Client(base_url=client.base_url, timeout=20) as own:
                while not stop.is_set():
                    one.put(own, 0, bytes(SMALL - 1) + b"\x01")

        thread = threading.Thread(target=send)
        thread.start()
        time.sleep(random.uniform(0, 0.02))
        assert one.delete(client).status_code == 204
        stop.set()
        thread.join()
        assert not (data / "attachments" / one.attachment.hex()).exists()


# --- crashes and memory ----------------------------------------------------------------------------------------


def test_no_acknowledged_chunk_is_lost_by_a_kill_and_none_comes_back_torn(tmp_path: Path) -> None:
    chunks = [secrets.token_bytes(ATTACHMENT_CHUNK) for _ in range(64)]
    server = ServerProcess(tmp_path)
    with httpx.Client(base_url=server.url, timeout=20) as client:
        (device,) = found_channel(client, tmp_path)
        one = device.attach(client, 64 * ATTACHMENT_CHUNK)
    for pause in (0.05, 0.1, 0.2):
        acknowledged: list[int] = []

        def send(url: str = server.url, acknowledged: list[int] = acknowledged) -> None:
            try:
                with httpx.Client(base_url=url, timeout=20) as client:
                    for number in one.missing(client):
                        if one.put(client, number, chunks[number]).status_code == 204:
                            acknowledged.append(number)
            except httpx.TransportError:
                return

        thread = threading.Thread(target=send)
        thread.start()
        time.sleep(pause)
        server.kill()
        thread.join()
        server = ServerProcess(tmp_path)
        with httpx.Client(base_url=server.url, timeout=20) as client:
            missing = one.missing(client)
            assert not set(acknowledged) & set(missing)
            assert all(one.get(client, n).content == chunks[n] for n in range(64) if n not in missing)
    assert server.stop() == (0, "")


def test_a_full_disk_refuses_the_chunk_and_loses_nothing(tmp_path: Path) -> None:
    import resource

    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=20) as client:
        (device,) = found_channel(client, tmp_path)
        one = device.attach(client, FOUR)
        first, second = (secrets.token_bytes(ATTACHMENT_CHUNK) for _ in range(2))
        one.put(client, 0, first).raise_for_status()
        before = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (2 * ATTACHMENT_CHUNK - 5, before[1]))
        assert problem(one.put(client, 1, second)) == "unavailable"
        assert one.missing(client) == [1, 2, 3]
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, before)
        assert one.put(client, 1, second).status_code == 204
        assert [one.get(client, number).content for number in range(2)] == [first, second]


@pytest.mark.slow
def test_the_largest_attachment_costs_the_server_no_memory(tmp_path: Path) -> None:
    def peak(pid: int) -> int:
        (line,) = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM")]
        return int(line.split()[1]) * 1024

    size = ATTACHMENT_SIZES[-1]
    chunk = secrets.token_bytes(ATTACHMENT_CHUNK)
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        (device,) = found_channel(client, tmp_path)
        warm = device.attach(client, FOUR)
        for number in range(4):
            warm.put(client, number, chunk).raise_for_status()
            warm.get(client, number).raise_for_status()
        before = peak(server.process.pid)
        one = device.attach(client, size)
        for number in range(size // ATTACHMENT_CHUNK):
            one.put(client, number, chunk).raise_for_status()
        assert one.missing(client) == []
        for number in range(size // ATTACHMENT_CHUNK):
            assert one.get(client, number).content == chunk
        assert one.delete(client).status_code == 204
        assert peak(server.process.pid) - before < 24 * ATTACHMENT_CHUNK
    assert [path.name for path in (tmp_path / "attachments").iterdir()] == [warm.attachment.hex()]


@pytest.mark.embedded
def test_the_files_are_for_this_user_alone(client: httpx.Client, device: TestDevice, data: Path) -> None:
    one = device.attach(client, SMALL, life=HOUR)
    one.put(client, 0, bytes(SMALL)).raise_for_status()
    assert not (data / "attachments").stat().st_mode & 0o077
    assert not (data / "attachments" / one.attachment.hex()).stat().st_mode & 0o077
