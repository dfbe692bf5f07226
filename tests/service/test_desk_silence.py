"""Before all have signed, nothing tells who has, or how many: not an answer, a row, a size, a file, or a log.

Each property is stated as an observer, and the same observer is turned on a naive desk first, where it finds out.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from pourparler_crypto.jr2.wire import HEADER
from pourparler_policies.wire import CaseAnswer, Route
from pourparler_service.casestore import FOLDER, CaseStore, name_of, open_cases
from pourparler_service.database import OUTSIDE_BACKUPS, Database
from pourparler_service.desk import Desk
from pourparler_service.desktesting import START, TERMS, Clock, Signing, prepared
from pourparler_service.outside import Outside
from pourparler_service.settings import Settings
from pourparler_service.testing import ServerProcess, body, threaded
from pourparler_service.writer import Writer

PARTIES = 4


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(tmp_path: Path, clock: Clock) -> Iterator[httpx.Client]:
    with (
        threaded(Settings(tmp_path, clock=clock)) as url,
        httpx.Client(base_url=url, timeout=30) as one,
    ):
        yield one


def seen(answer: httpx.Response) -> tuple[object, ...]:
    """Everything of an answer but the second in which it was given."""
    return (answer.status_code, [one for one in answer.headers.raw if one[0].lower() != b"date"], answer.content)


def observations(signing: Signing, sign: Callable[[bytes], None], observe: Callable[[], object]) -> list[object]:
    """What is observed before the first, and after each but the last signature."""
    found = [observe()]
    for mask in signing.masks[:-1]:
        sign(mask)
        found.append(observe())
    return found


# --- what is answered ----------------------------------------------------------------------------------------------


def test_a_naive_desk_is_found_out_by_the_same_look_at_its_answers() -> None:
    signing, came = prepared(PARTIES), []

    def naive() -> tuple[int, bytes]:
        return 200, json.dumps({"answer": "open", "missing": PARTIES - len(came)}).encode()

    assert len(set(observations(signing, came.append, naive))) == PARTIES


def test_an_open_case_is_answered_with_the_same_bytes_and_headers_whoever_has_signed(client: httpx.Client) -> None:
    signing = prepared(PARTIES)
    signing.open(client)
    asked = observations(
        signing,
        lambda mask: signing.deposit(client, mask),
        lambda: repr(seen(client.get(signing.path(Route.CASE)))),
    )
    assert len(set(asked)) == 1
    # So is a case of two parties, and one from which somebody withdrew: sizes do not tell them apart either.
    other = prepared(2)
    other.open(client)
    other.send(client, Route.CASE_WITHDRAWAL, other.masks[0])
    assert repr(seen(client.get(other.path(Route.CASE)))) == asked[0]


def test_a_deposit_is_answered_the_same_whatever_the_desk_has(client: httpx.Client, clock: Clock) -> None:
    signing = prepared(PARTIES)
    opened = seen(signing.open(client))
    first = seen(signing.send(client, Route.CASE_DEPOSIT, signing.masks[0]))
    again = seen(signing.send(client, Route.CASE_DEPOSIT, signing.masks[0]))
    early = seen(signing.send(client, Route.CASE_DEPOSIT, signing.shares[2]))
    withdrawn = seen(signing.send(client, Route.CASE_WITHDRAWAL, signing.masks[1]))
    after = seen(signing.send(client, Route.CASE_DEPOSIT, signing.masks[2]))
    stopped = seen(signing.send(client, Route.CASE_STOP, signing.shares[2]))
    opened_again = seen(signing.open(client))
    clock.now = TERMS.sign_by
    late = seen(signing.send(client, Route.CASE_DEPOSIT, signing.masks[3]))
    assert first == again == early == withdrawn == after == stopped == late == opened == opened_again


def test_what_is_refused_is_refused_the_same_whoever_has_signed(client: httpx.Client) -> None:
    signing = prepared(PARTIES)
    signing.open(client)
    wrong = [one[:-1] + bytes([one[-1] ^ 1]) for one in signing.masks]
    asked = observations(
        signing,
        lambda mask: signing.deposit(client, mask),
        lambda: repr([seen(signing.send(client, Route.CASE_DEPOSIT, one)) for one in wrong]),
    )
    assert len(set(asked)) == 1


def test_what_everybody_is_told_differs_only_when_everybody_has_signed(client: httpx.Client) -> None:
    """Else the tests above would pass for a desk that says nothing at all."""
    signing = prepared(PARTIES)
    signing.open(client)
    signing.deposit(client, *signing.masks)
    assert signing.ask(client).answer is CaseAnswer.COMPLETE


# --- what lies on the disk -----------------------------------------------------------------------------------------


def listing(data: Path) -> str:
    """Names and sizes of all files, and the rows of every table with the length of every value."""
    found: list[object] = []
    for path in sorted(data.rglob("*")):
        if path.is_file() and not path.name.endswith("-shm"):
            found.append((str(path.relative_to(data)), path.stat().st_size))
    for path in sorted(data.rglob("*.sqlite3")):
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()
            lengths = [[len(value) if isinstance(value, bytes | str) else value for value in row] for row in rows]
            found.append((path.name, table, lengths))
        connection.close()
    return repr(found)


def test_a_naive_store_is_found_out_by_the_same_look_at_its_files(tmp_path: Path) -> None:
    signing = prepared(PARTIES)
    connection = sqlite3.connect(tmp_path / "naive.sqlite3")
    connection.execute("CREATE TABLE deposit (handle BLOB, party INTEGER, message BLOB)")

    def sign(mask: bytes) -> None:
        connection.execute("INSERT INTO deposit VALUES (?, ?, ?)", (signing.handle, mask[1], mask))
        connection.commit()

    assert len(set(observations(signing, sign, lambda: listing(tmp_path)))) == PARTIES
    assert holds(tmp_path, signing.masks[0][HEADER:])
    connection.close()


def test_no_row_count_or_size_changes_with_a_signature(client: httpx.Client, tmp_path: Path) -> None:
    signing = prepared(PARTIES)
    signing.open(client)
    asked = observations(signing, lambda mask: signing.deposit(client, mask), lambda: listing(tmp_path))
    assert len(set(asked)) == 1
    signing.send(client, Route.CASE_WITHDRAWAL, signing.masks[1])
    assert listing(tmp_path) == asked[0]
    assert FOLDER in asked[0]  # the look went where it had to go


def test_a_repetition_writes_as_much_as_a_signature_and_nothing_of_it_is_in_a_backup(
    client: httpx.Client, tmp_path: Path
) -> None:
    """Two copies of the disk differ after a signature just as they do after a repetition or a share too early."""
    signing = prepared(PARTIES)
    signing.open(client)
    store = tmp_path / OUTSIDE_BACKUPS / FOLDER / "cases.sqlite3"

    def look() -> tuple[str, bytes, bytes]:
        database = hashlib.sha256((tmp_path / "pourparler.sqlite3").read_bytes()).hexdigest()
        database += hashlib.sha256((tmp_path / "pourparler.sqlite3-wal").read_bytes()).hexdigest()
        connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
        fixed, state = connection.execute("SELECT fixed, state FROM living").fetchone()
        connection.close()
        return database, fixed, state

    before = look()
    for message in (signing.masks[0], signing.masks[0], signing.shares[1], signing.masks[1]):
        signing.deposit(client, message)
        after = look()
        assert after[0] == before[0]  # the database, of which there are backups, knows of no deposit
        assert after[1] == before[1]
        assert (after[2] != before[2], len(after[2])) == (True, len(before[2]))
        before = after


def holds(data: Path, secret: bytes) -> bool:
    return any(secret in path.read_bytes() for path in data.rglob("*") if path.is_file())


def test_no_file_shows_a_deposit_or_a_list_of_the_case(client: httpx.Client, tmp_path: Path) -> None:
    signing = prepared(PARTIES)
    signing.open(client)
    signing.deposit(client, *signing.masks[:-1])
    told = [mask[HEADER:] for mask in signing.masks] + [
        signing.handle,
        signing.case.sid,
        signing.opening.bundle[:64],
    ]
    told += [point for row in signing.case.masks + signing.case.locks for point in row]
    assert not any(holds(tmp_path, one) for one in told)
    assert holds(tmp_path, name_of(signing.handle))  # the look finds what is there


def keys_of(data: Path) -> set[bytes]:
    kept = (data / OUTSIDE_BACKUPS / FOLDER / "keys").read_bytes()
    return {kept[i : i + 32] for i in range(0, len(kept), 32)} - {bytes(32)}


@pytest.mark.parametrize("end", ["lapse", "withdrawal", "stop", "publication"])
def test_an_end_destroys_the_key_so_that_no_copy_of_the_rows_opens(
    client: httpx.Client, tmp_path: Path, clock: Clock, end: str
) -> None:
    signing = prepared(2)
    signing.open(client)
    signing.deposit(client, *(signing.masks[:1] if end in ("lapse", "withdrawal") else signing.masks))
    before = keys_of(tmp_path)
    assert len(before) == 1
    if end == "withdrawal":
        signing.send(client, Route.CASE_WITHDRAWAL, signing.masks[0])
        assert len(keys_of(tmp_path)) == 1  # of the case that looks as before, with nothing in it
    elif end == "stop":
        signing.send(client, Route.CASE_STOP, signing.shares[0])
        assert keys_of(tmp_path) == set()
    else:
        signing.deposit(client, *(signing.shares if end == "publication" else []))
        clock.now = TERMS.sign_by if end == "lapse" else TERMS.not_before
        signing.ask(client)
        assert keys_of(tmp_path) == set()
    assert not before & keys_of(tmp_path)


def test_nothing_is_logged_and_nothing_is_said(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    with httpx.Client(base_url=server.url, timeout=30) as client:
        import time

        from pourparler_crypto.jr2 import Terms

        now = int(time.time())
        signing = prepared(3, Terms(now + 1000, now + 2000, now + 3000))
        signing.open(client)
        signing.deposit(client, *signing.masks, *signing.shares[:2])
        signing.send(client, Route.CASE_DEPOSIT, signing.masks[0][:-1] + b"x")
        signing.send(client, Route.CASE_WITHDRAWAL, signing.masks[0])
        assert signing.ask(client).answer is CaseAnswer.COMPLETE
    assert server.stop() == (0, "")


async def test_what_the_table_does_not_keep_is_not_in_the_stored_state_either(tmp_path: Path) -> None:
    """Seen with the keys: a share too early, and everything that comes before or after a withdrawal."""
    async with parts(tmp_path, Clock()) as (desk, store):
        signing = prepared(3)
        await desk.open(signing.opening)
        await desk.deposit(signing.handle, signing.masks[0])
        await desk.deposit(signing.handle, signing.shares[0])
        ((stored,), _) = store.load()
        assert signing.masks[0] in stored.state
        assert signing.shares[0] not in stored.state
        assert signing.opening.bundle in stored.fixed
        await desk.withdraw(signing.handle, signing.masks[1])
        await desk.deposit(signing.handle, signing.masks[2])
        ((left,), _) = store.load()
        assert not any(left.state[1:])
        assert (len(left.state), len(left.fixed)) == (len(stored.state), len(stored.fixed))
        assert signing.opening.bundle not in left.fixed


async def test_nothing_ends_a_case_whose_publication_has_begun(tmp_path: Path) -> None:
    """A clock that is set back in that instant, and a stop: the board has it, so the answer is that it has."""
    clock, signing = Clock(), prepared(2)
    async with parts(tmp_path, clock) as (desk, _):
        await desk.open(signing.opening)
        for message in signing.masks + signing.shares:
            await desk.deposit(signing.handle, message)
        clock.now = TERMS.not_before
        asking = asyncio.create_task(desk.reply(signing.handle))
        await asyncio.sleep(0)  # the publication is under way on the desk's thread
        clock.now = START
        await desk.stop(signing.handle, signing.shares[0])
        assert json.loads(await asking)["answer"] == CaseAnswer.PUBLISHED
        assert await answer(desk, signing) is CaseAnswer.PUBLISHED


# --- how long it takes ---------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def parts(data: Path, clock: Clock, **settings: object) -> AsyncIterator[tuple[Desk, CaseStore]]:
    database = Database(data)
    outside = Outside(database)
    writer = Writer(database, outside, clock)
    store = open_cases(database)
    desk = Desk(Settings(data, clock=clock, **settings), store, writer)  # type: ignore[arg-type]
    try:
        await desk.begin(database.write)
        yield desk, store
    finally:
        await writer.close()
        desk.close()
        outside.close()
        database.close()


async def work(store: CaseStore, monkeypatch: pytest.MonkeyPatch, act: object) -> list[str]:
    """What the disk is asked to do for a request: statements with their lengths, writes and waits."""
    done: list[str] = []
    write, wait = os.pwrite, os.fdatasync
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", lambda *args: (done.append("write"), write(*args))[1])
        patched.setattr(os, "fdatasync", lambda file: (done.append("wait"), wait(file))[1])
        store._sql.set_trace_callback(lambda said: done.append(f"{said.split()[0]} {len(said)}"))
        await act  # type: ignore[misc]
        store._sql.set_trace_callback(None)
    return done


async def test_every_request_of_a_kind_is_the_same_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No timing here: the work itself is compared, of which the time is made."""
    async with parts(tmp_path, Clock()) as (desk, store):
        signing = prepared(PARTIES)
        await desk.open(signing.opening)
        handle, masks, shares = signing.handle, signing.masks, signing.shares

        async def cost(act: object) -> list[str]:
            return await work(store, monkeypatch, act)

        first = await cost(desk.deposit(handle, masks[0]))
        again = await cost(desk.deposit(handle, masks[0]))
        early = await cost(desk.deposit(handle, shares[1]))
        second = await cost(desk.deposit(handle, masks[1]))
        withdrawal = await cost(desk.withdraw(handle, masks[1]))
        spoilt = await cost(desk.deposit(handle, masks[2]))
        second_withdrawal = await cost(desk.withdraw(handle, masks[3]))
        assert first == again == early == second == spoilt
        assert any("wait" in one or "COMMIT" in one for one in first)  # the look sees the disk
        assert withdrawal == second_withdrawal
        last = prepared(2)
        await desk.open(last.opening)
        costs = [await cost(desk.deposit(last.handle, mask)) for mask in last.masks]
        assert costs[0] == costs[1]  # the one that completes it as well


# --- what a restart, a loss and a backup do ------------------------------------------------------------------------


async def answer(desk: Desk, signing: Signing) -> CaseAnswer:
    return CaseAnswer(json.loads(await desk.reply(signing.handle))["answer"])


async def test_a_restart_changes_nothing(tmp_path: Path) -> None:
    clock, signing, withdrawn = Clock(), prepared(3), prepared(2)
    async with parts(tmp_path, clock) as (desk, _):
        for one in (signing, withdrawn):
            await desk.open(one.opening)
        await desk.deposit(signing.handle, signing.masks[0])
        await desk.withdraw(withdrawn.handle, withdrawn.masks[0])
    for i, mask in enumerate(signing.masks[1:]):
        async with parts(tmp_path, clock) as (desk, _):
            assert await answer(desk, signing) is CaseAnswer.OPEN
            await desk.deposit(signing.handle, mask)
            await desk.deposit(withdrawn.handle, withdrawn.masks[i])
    for share in signing.shares:
        async with parts(tmp_path, clock) as (desk, _):
            assert await answer(desk, signing) is CaseAnswer.COMPLETE
            assert await answer(desk, withdrawn) is CaseAnswer.OPEN
            await desk.deposit(signing.handle, share)
    clock.now = TERMS.not_before
    async with parts(tmp_path, clock) as (desk, _):
        assert await answer(desk, signing) is CaseAnswer.PUBLISHED
        assert await answer(desk, withdrawn) is CaseAnswer.LAPSED


@pytest.mark.parametrize("loss", ["folder", "keys", "rows", "one byte", "another key"])
async def test_a_case_whose_values_were_lost_has_lapsed(tmp_path: Path, loss: str) -> None:
    clock, signing = Clock(), prepared(2)
    async with parts(tmp_path, clock) as (desk, _):
        await desk.open(signing.opening)
        await desk.deposit(signing.handle, signing.masks[0])
    folder = tmp_path / OUTSIDE_BACKUPS / FOLDER
    if loss in ("folder", "rows"):
        (folder / "cases.sqlite3").unlink()
    if loss in ("folder", "keys"):
        (folder / "keys").unlink()
    if loss == "another key":
        (folder / "keys").write_bytes(os.urandom(32))
    if loss == "one byte":
        connection = sqlite3.connect(folder / "cases.sqlite3")
        (state,) = connection.execute("SELECT state FROM living").fetchone()
        connection.execute("UPDATE living SET state = ?", (state[:-1] + bytes([state[-1] ^ 1]),))
        connection.commit()
        connection.close()
    for _ in range(2):
        async with parts(tmp_path, clock) as (desk, _):
            assert await answer(desk, signing) is CaseAnswer.LAPSED
            await desk.open(signing.opening)  # nobody brings it back, and nobody is half served
            for mask in signing.masks:
                await desk.deposit(signing.handle, mask)
            assert await answer(desk, signing) is CaseAnswer.LAPSED


async def test_when_the_operator_says_that_it_was_restored_every_living_case_lapses(tmp_path: Path) -> None:
    """Nobody can know whether the desk's own files went back in time too, and what was deleted came back."""
    clock, signing, done = Clock(), prepared(2), prepared(2)
    async with parts(tmp_path, clock) as (desk, _):
        for one in (done, signing):
            await desk.open(one.opening)
            for mask in one.masks:
                await desk.deposit(one.handle, mask)
        await desk.stop(done.handle, done.shares[0])
    async with parts(tmp_path, clock, restored=True) as (desk, _):
        assert await answer(desk, signing) is CaseAnswer.LAPSED
        assert await answer(desk, done) is CaseAnswer.STOPPED


async def test_a_database_that_is_older_than_the_desk_loses_no_case_and_no_publication(tmp_path: Path) -> None:
    """A backup of this morning: the desk's own files are of now, since no backup has them."""
    clock, published, signing = Clock(), prepared(2), prepared(2)
    async with parts(tmp_path, clock):
        pass
    morning = (tmp_path / "pourparler.sqlite3").read_bytes()
    later = prepared(2, type(TERMS)(TERMS.sign_by, TERMS.deposit_by, TERMS.not_before + 5000))
    async with parts(tmp_path, clock) as (desk, _):
        for one in (published, later):
            await desk.open(one.opening)
            for message in one.masks + one.shares:
                await desk.deposit(one.handle, message)
        clock.now = TERMS.not_before
        assert await answer(desk, published) is CaseAnswer.PUBLISHED
    (tmp_path / "pourparler.sqlite3").write_bytes(morning)
    async with parts(tmp_path, clock) as (desk, _):
        assert await answer(desk, published) is CaseAnswer.PUBLISHED
        assert await answer(desk, later) is CaseAnswer.COMPLETE
        connection = sqlite3.connect(f"file:{tmp_path / 'pourparler.sqlite3'}?mode=ro", uri=True)
        rows = connection.execute("SELECT digest, published_at FROM note").fetchall()
        connection.close()
        assert rows == [(published.texts[0].digest, TERMS.not_before)]
    assert TERMS.not_before > START
    with pytest.raises(Exception, match="not-found"):
        async with parts(tmp_path, clock) as (desk, _):
            await desk.reply(signing.handle)


async def test_requests_at_once_come_out_as_one_after_the_other(tmp_path: Path) -> None:
    clock, signings = Clock(), [prepared(3) for _ in range(4)]
    async with parts(tmp_path, clock) as (desk, _):
        await asyncio.gather(*[desk.open(one.opening) for one in signings for _ in range(3)])
        await asyncio.gather(
            *[desk.deposit(one.handle, mask) for mask in reversed(signings[0].masks) for one in signings[:1]],
            *[desk.deposit(one.handle, mask) for one in signings[1:] for mask in one.masks * 2],
        )
        assert {await answer(desk, one) for one in signings} == {CaseAnswer.COMPLETE}
        await asyncio.gather(*[desk.deposit(one.handle, share) for one in signings for share in one.shares])
        clock.now = TERMS.not_before
        told = await asyncio.gather(*[desk.reply(one.handle) for one in signings for _ in range(5)])
        assert len(set(told)) == len(signings)
    assert body(signings[0].opening)
