"""Expired bytes are in no file of the data directory: not in a page, not in a gap of one, not in the log."""

import secrets
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pourparler_policies import limits, wire
from pourparler_policies.wire import Route
from pourparler_service.examine import PIECES, kept_entries
from pourparler_service.settings import Settings
from pourparler_service.testing import (
    ServerProcess,
    b64,
    bearer,
    body,
    found_channel,
    problem,
    running,
    settings_of,
    threaded,
)

START = 1_800_000_000.0


def kept(data: Path) -> bytes:
    return b"".join(one.read_bytes() for one in data.rglob("*") if one.is_file())


def wait_for(holds: Callable[[], bool]) -> None:
    """Until it holds, or the test's timeout strikes."""
    while not holds():
        time.sleep(0.05)


def stored(data: Path, *requests: wire.Append) -> list[bytes]:
    """Pieces of what the files have of these entries, which they do not have as they were sent."""
    entries = {request.entry for request in requests}
    pieces = [piece for one in kept_entries(data) if one.entry in entries for piece in one.pieces()]
    assert len(pieces) == PIECES * len(requests)
    return pieces


def none_of(pieces: list[bytes], data: Path) -> bool:
    files = kept(data)
    return not [piece for piece in pieces if piece in files]


def marked(size: int) -> tuple[bytes, bytes]:
    """Sealed bytes that hold a random mark all over, so that a fragment would be found too."""
    mark = secrets.token_bytes(16)
    return mark, mark * (size // 16)


@pytest.mark.embedded
def test_on_a_real_clock_expired_bytes_leave_the_files_and_the_living_stay(
    client: httpx.Client, data: Path
) -> None:
    author, reader = found_channel(client, data, 2)
    first = author.append(sealed=marked(4096)[1], life=4)
    ends = author.send(client, first).json()["expires_at"]
    second = author.append(sealed=marked(4096)[1], life=60)
    last = author.send(client, second).json()
    gone, stays = stored(data, first), stored(data, second)
    wait_for(lambda: none_of(gone, data))
    assert time.time() >= ends
    files = kept(data)
    assert all(piece in files for piece in stays)
    assert [one["seq"] for one in reader.page(client, 1).json()["entries"]] == [last["seq"]]


def test_an_expired_entry_is_not_served_even_when_the_purger_has_not_come(place: Path) -> None:
    now = [START]
    with (
        threaded(settings_of(place, clock=lambda: now[0])) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        author, reader = found_channel(client, place, 2)
        author.send(client, life=10)
        now[0] += 9
        assert len(reader.page(client, 1).json()["entries"]) == 1
        now[0] += 1
        assert reader.page(client, 1).json()["entries"] == []


def test_a_short_page_passes_over_expired_entries_to_the_living(place: Path) -> None:
    """An empty page says that nothing lives up to the head: it must not be empty for another reason."""
    now = [START]
    with (
        threaded(settings_of(place, clock=lambda: now[0])) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        author, reader = found_channel(client, place, 2)
        start = reader.page(client).json()["head"]
        for life in (10, 10, 10, 1000):
            author.send(client, life=life)
        now[0] += 20
        page = reader.page(client, start, 1).json()
        assert [entry["seq"] for entry in page["entries"]] == [page["head"]]


@pytest.mark.embedded
def test_expired_invitations_leave_the_files_too(client: httpx.Client, data: Path) -> None:
    (author,) = found_channel(client, data)
    box, token = secrets.token_bytes(16), secrets.token_bytes(32)
    opened = wire.CreateBox(box=box, token_hash=sha256(token).digest(), life=2)
    client.post(author.path(Route.BOXES), content=body(opened), headers=author.headers).raise_for_status()
    mark, sealed = marked(16 * 1024)
    place = Route.BOX_SLOT.format(box=b64(box), slot=0)
    headers = {**bearer(token), "Content-Type": "application/json"}
    client.put(place, content=body(wire.Deposit(sealed=sealed)), headers=headers).raise_for_status()
    assert mark in kept(data)
    wait_for(lambda: mark not in kept(data) and box not in kept(data))
    assert problem(client.get(place, headers=bearer(token))) == "unauthorized"


def test_the_receipt_of_the_last_append_outlives_its_entry(tmp_path: Path) -> None:
    now = [START]
    with (
        threaded(Settings(tmp_path, clock=lambda: now[0])) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        (author,) = found_channel(client, tmp_path, absence_limit=limits.MAX_LIFE)
        asked = author.append(life=5)
        receipt = author.send(client, asked)
        gone = stored(tmp_path, asked)
        now[0] += 100
        wait_for(lambda: none_of(gone, tmp_path))
        assert author.send(client, asked).content == receipt.content
        other = asked.model_copy(update={"sealed": secrets.token_bytes(1024)})
        assert problem(author.send(client, other)) == "wrong-count"
        assert author.page(client).json()["entries"] == []


def test_what_expired_while_the_service_was_off_is_gone_before_it_serves(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    with httpx.Client(base_url=server.url, timeout=20) as client:
        (author,) = found_channel(client, tmp_path)
        asked = author.append(life=4)
        expires_at = author.send(client, asked).json()["expires_at"]
        gone = stored(tmp_path, asked)
    server.kill()
    assert not none_of(gone, tmp_path)
    wait_for(lambda: time.time() > expires_at)
    with running(tmp_path):
        assert none_of(gone, tmp_path)


def test_a_kill_between_expiry_and_purge_leaves_nothing_after_the_restart(tmp_path: Path) -> None:
    """The log of a killed process still holds what it wrote; the next start clears it."""
    server = ServerProcess(tmp_path)
    with httpx.Client(base_url=server.url, timeout=20) as client:
        (author,) = found_channel(client, tmp_path)
        asked = [
            author.append(sealed=marked(size)[1], life=4, count=n + 1) for n, size in enumerate(limits.BUCKETS)
        ]
        for one in asked:
            expires_at = author.send(client, one).json()["expires_at"]
        gone = stored(tmp_path, *asked)
        wait_for(lambda: time.time() > expires_at - 0.05)
    server.kill()
    wait_for(lambda: time.time() > expires_at)
    with running(tmp_path):
        assert none_of(gone, tmp_path)


def test_the_place_of_an_expired_entry_is_used_again(tmp_path: Path) -> None:
    """The file does not grow for ever."""
    now = [START]
    with (
        threaded(Settings(tmp_path, clock=lambda: now[0])) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        (author,) = found_channel(client, tmp_path)
        sizes = []
        for _ in range(4):
            asked = [author.append(life=5, count=author.count + 1 + n) for n in range(100)]
            for one in asked:
                assert author.send(client, one).status_code == 201
            gone = stored(tmp_path, *asked)
            now[0] += 10
            wait_for(lambda gone=gone: none_of(gone, tmp_path))  # type: ignore[misc]
            sizes.append((tmp_path / "pourparler.sqlite3").stat().st_size)
        assert len(set(sizes)) == 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from(limits.BUCKETS[:4]), st.integers(1, 20)),
        st.tuples(st.just("delete"), st.integers(0, 50), st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 10), st.just(0)),
    ),
    min_size=5,
    max_size=40,
)


def test_random_histories_leave_exactly_the_living_bytes(tmp_path_factory: object) -> None:
    """Any mix of sizes, deletions and expiry, in any order: who balances pages leaves no copy behind."""
    import tempfile

    now = [START]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        with (
            threaded(Settings(data, clock=lambda: now[0])) as url,
            httpx.Client(base_url=url, timeout=20) as client,
        ):

            @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
            @given(STEPS)
            def histories(steps: list[tuple[str, int, int]]) -> None:
                secret = secrets.token_bytes(32)
                (author,) = found_channel(client, data)
                living: dict[bytes, tuple[wire.Append, float]] = {}
                gone: list[bytes] = []
                pieces: dict[bytes, list[bytes]] = {}
                for kind, number, life in steps:
                    if kind == "append":
                        mark, sealed = marked(number)
                        asked = author.append(sealed=sealed, life=life, delete_hash=sha256(secret).digest())
                        answer = author.send(client, asked).json()
                        living[mark] = (asked, answer["expires_at"])
                        pieces[mark] = stored(data, asked)
                    elif kind == "delete" and living:
                        mark = list(living)[number % len(living)]
                        asked, _ = living.pop(mark)
                        place = author.path(Route.DELETION, entry=asked.entry)
                        answer = client.post(
                            place, content=body(wire.Deletion(secret=secret)), headers=author.headers
                        )
                        assert answer.status_code in (204, 404)
                        gone.append(mark)
                    elif kind == "wait":
                        now[0] += number
                        gone += [mark for mark, (_, expires_at) in living.items() if expires_at <= now[0]]
                        living = {mark: one for mark, one in living.items() if one[1] > now[0]}
                wait_for(lambda: none_of([piece for mark in gone for piece in pieces[mark]], data))
                files = kept(data)
                assert all(piece in files for mark in living for piece in pieces[mark])
                assert not [mark for mark in pieces if mark in files]  # nothing that was said, as it was sent

            histories()
