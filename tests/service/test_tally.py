"""Tallies: nothing shows before the close, then one total, and of all that was handed in nothing is left."""

import asyncio
import contextlib
import os
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from pourparler_crypto.sounding import Counted, Tally, answered, dealt
from pourparler_crypto.sounding.tally import MAX_PACKAGES, MAX_PARTIES, MAX_TALLY
from pourparler_crypto.sounding.testing import CLOSES, OPENS, Table
from pourparler_policies import limits, wire
from pourparler_policies.wire import Problem, Route, TallyAnswer
from pourparler_service.caps import Caps
from pourparler_service.casestore import CaseStore
from pourparler_service.database import OUTSIDE_BACKUPS, Database
from pourparler_service.desktesting import Clock
from pourparler_service.settings import Settings
from pourparler_service.tally import FOLDER, Tallies, open_tallies
from pourparler_service.testing import ServerProcess, b64, body, problem, threaded

START = OPENS - 1000
DURING = OPENS + 1
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def client(tmp_path: Path, clock: Clock) -> Iterator[httpx.Client]:
    with threaded(Settings(tmp_path, clock=clock)) as url, httpx.Client(base_url=url, timeout=30) as one:
        yield one


def table(parties: int = 2, packages: int = 1) -> Table:
    return Table(parties, packages, os.urandom(32))


def bring(client: httpx.Client, tally: Tally) -> httpx.Response:
    return client.post(Route.TALLIES, content=body(wire.OpenTally(tally=tally.encode())), headers=JSON)


def path(tally: Tally, route: Route = Route.TALLY) -> str:
    return route.replace("{handle}", b64(tally.handle))


def hand_in(client: httpx.Client, tally: Tally, token: bytes, values: bytes) -> httpx.Response:
    asked = wire.HandIn(slot=token, values=values)
    return client.post(path(tally, Route.TALLY_SLOT), content=body(asked), headers=JSON)


def ask(client: httpx.Client, tally: Tally) -> wire.Tally:
    told = client.get(path(tally))
    told.raise_for_status()
    return wire.Tally.model_validate_json(told.content)


def common(client: httpx.Client, tally: Tally) -> int | None:
    told = ask(client, tally)
    assert told.package is not None
    assert told.value is not None
    return tally.common(Counted(told.package, told.value))


def seen(answer: httpx.Response) -> str:
    """Everything of an answer but the second in which it was given."""
    headers = [one for one in answer.headers.raw if one[0].lower() != b"date"]
    return repr((answer.status_code, headers, answer.content))


def listing(data: Path) -> str:
    """Names and sizes of all files, and the rows of every table with the length of every value."""
    found: list[object] = []
    for file in sorted(data.rglob("*")):
        if file.is_file() and not file.name.endswith("-shm"):
            found.append((str(file.relative_to(data)), file.stat().st_size))
    for file in sorted(data.rglob("*.sqlite3")):
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()
            found.append([[len(v) if isinstance(v, bytes | str) else v for v in row] for row in rows])
        connection.close()
    return repr(found)


def holds(data: Path, secret: bytes) -> bool:
    return any(secret in file.read_bytes() for file in data.rglob("*") if file.is_file())


def test_the_limits_of_the_wire_are_those_of_the_cryptography() -> None:
    assert (limits.MAX_PACKAGES, limits.MAX_TALLY) == (MAX_PACKAGES, MAX_TALLY)


def test_the_protocol_says_the_answers_and_limits_of_tallies() -> None:
    text = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
    part = text.partition("### Tallies")[2].partition("\n### ")[0]
    assert re.findall(r"^\| `([a-z]+)` \|", part, re.MULTILINE) == [answer.value for answer in TallyAnswer]
    words = " ".join(part.split())
    assert f"2 to {MAX_PARTIES} sides and 1 to {MAX_PACKAGES} packages, at most {MAX_TALLY} bytes" in words
    assert f"repeated for {limits.ANSWER_LIFE // limits.DAY} days" in words


def test_when_all_have_handed_in_the_total_is_shown_at_the_close_and_not_before(
    client: httpx.Client, clock: Clock
) -> None:
    made = table(3)
    assert bring(client, made.tally).status_code == 204
    clock.now = DURING
    for answer, row in zip(made.answers, made.says(True, True, True), strict=True):
        assert hand_in(client, made.tally, answer.token, row).status_code == 204
    clock.now = CLOSES - 0.001
    assert ask(client, made.tally) == wire.Tally(answer=TallyAnswer.OPEN)
    clock.now = CLOSES
    assert common(client, made.tally) == 0
    told = ask(client, made.tally)
    clock.now += limits.DAY
    assert ask(client, made.tally) == told


@pytest.mark.parametrize("words", [(True, False), (True, None), (None, None), (False, False)])
def test_whoever_declines_or_stays_away_the_total_fits_nothing(
    client: httpx.Client, clock: Clock, words: tuple[bool | None, ...]
) -> None:
    made = table(2)
    bring(client, made.tally)
    clock.now = DURING
    for answer, word, row in zip(made.answers, words, made.says(*words), strict=True):
        if word is not None:
            hand_in(client, made.tally, answer.token, row)
    clock.now = CLOSES
    assert common(client, made.tally) is None


def test_dealt_across_channels_one_common_package_at_most_is_shown(client: httpx.Client, clock: Clock) -> None:
    tally, shares = dealt.deal(2, 3, OPENS, CLOSES, os.urandom(32))
    bring(client, tally)
    clock.now = DURING
    for share, words in zip(shares, ((True, True, False), (False, True, True)), strict=True):
        given = answered(tally, dealt.prepare(tally, share), words)
        hand_in(client, tally, given.token, given.ready)
    clock.now = CLOSES
    assert common(client, tally) == 1
    assert set(ask(client, tally).model_dump(exclude_none=True)) == {"answer", "package", "value"}


# What tells who has come, or how many


def test_until_the_close_everybody_is_told_the_same_bytes_and_no_row_or_size_changes(
    client: httpx.Client, clock: Clock, tmp_path: Path
) -> None:
    made = table(3, 2)
    bring(client, made.tally)
    clock.now = DURING
    looks = {(seen(client.get(path(made.tally))), listing(tmp_path))}
    answers = set()
    for answer, row in zip(made.answers, made.says(True, False, True), strict=True):
        for _ in range(2):
            answers.add(seen(hand_in(client, made.tally, answer.token, row)))
            looks.add((seen(client.get(path(made.tally))), listing(tmp_path)))
    assert len(looks) == 1
    assert len(answers) == 1
    assert FOLDER in listing(tmp_path)  # the look went where it had to go
    other = table(2)
    bring(client, other.tally)
    assert seen(client.get(path(other.tally))) == next(iter(looks))[0]


def test_too_late_is_answered_like_in_time_and_the_sender_reads_the_answer(
    client: httpx.Client, clock: Clock
) -> None:
    made = table(2)
    bring(client, made.tally)
    rows = made.says(True, True)
    clock.now = DURING
    first = hand_in(client, made.tally, made.answers[0].token, rows[0])
    clock.now = CLOSES
    late = hand_in(client, made.tally, made.answers[1].token, rows[1])
    assert seen(first) == seen(late)
    assert common(client, made.tally) is None


def test_the_first_that_fills_a_slot_stays_and_a_second_changes_nothing(
    client: httpx.Client, clock: Clock
) -> None:
    made = table(2)
    bring(client, made.tally)
    clock.now = DURING
    rows = made.says(True, True)
    hand_in(client, made.tally, made.answers[0].token, rows[0])
    hand_in(client, made.tally, made.answers[0].token, made.tally.filling())
    hand_in(client, made.tally, made.answers[1].token, rows[1])
    clock.now = CLOSES
    assert common(client, made.tally) == 0


def test_what_comes_too_early_or_does_not_fit_is_refused_and_changes_nothing(
    client: httpx.Client, clock: Clock
) -> None:
    made = table(2)
    bring(client, made.tally)
    rows = made.says(True, True)
    assert problem(hand_in(client, made.tally, made.answers[0].token, rows[0])) == Problem.MALFORMED
    clock.now = DURING
    for token, values in (
        (os.urandom(32), rows[0]),
        (made.answers[0].token, rows[0] * 2),
        (made.answers[0].token, b"\xff" * 32),
    ):
        assert problem(hand_in(client, made.tally, token, values)) == Problem.MALFORMED
    for answer, row in zip(made.answers, rows, strict=True):
        hand_in(client, made.tally, answer.token, row)
    clock.now = CLOSES
    assert common(client, made.tally) == 0


def test_an_unknown_tally_one_that_has_closed_and_one_too_far_ahead_are_refused(
    client: httpx.Client, clock: Clock
) -> None:
    made = table(2)
    assert problem(client.get(path(made.tally))) == Problem.NOT_FOUND
    assert problem(hand_in(client, made.tally, os.urandom(32), made.tally.filling())) == Problem.NOT_FOUND
    assert problem(client.get(Route.TALLY.replace("{handle}", "none"))) == Problem.NOT_FOUND
    clock.now = CLOSES
    assert problem(bring(client, made.tally)) == Problem.MALFORMED
    clock.now = CLOSES - Caps().longest_case - 1
    assert problem(bring(client, made.tally)) == Problem.OVER_CAP
    broken = wire.OpenTally(tally=made.tally.encode()[:-1])
    assert problem(client.post(Route.TALLIES, content=body(broken), headers=JSON)) == Problem.MALFORMED


def test_a_token_is_refused_and_each_answer_ends_its_connection(client: httpx.Client) -> None:
    made = table(2)
    for answer in (bring(client, made.tally), client.get(path(made.tally))):
        assert answer.headers["Connection"] == "close"
    shown = {**JSON, "Authorization": "Bearer " + b64(bytes(32))}
    assert problem(client.get(path(made.tally), headers=shown)) == Problem.MALFORMED


def test_nobody_opens_tallies_without_end(tmp_path: Path, clock: Clock) -> None:
    caps = Caps(open_cases=3, case_burst=2, case_refill=10)
    with threaded(Settings(tmp_path, caps, clock=clock)) as url, httpx.Client(base_url=url, timeout=30) as client:
        first = table(2)
        for made in (first, table(2)):
            assert bring(client, made.tally).status_code == 204
        refused = bring(client, table(2).tally)
        assert (problem(refused), refused.headers["Retry-After"]) == (Problem.BUDGET, "10")
        assert bring(client, first.tally).status_code == 204  # repeating costs nothing
        clock.now += 10
        assert bring(client, table(2).tally).status_code == 204
        clock.now += 100
        assert problem(bring(client, table(2).tally)) == Problem.OVER_CAP
        clock.now = CLOSES


# What is left


def test_nothing_handed_in_is_readable_in_any_file_and_after_the_close_not_even_with_every_key(
    client: httpx.Client, clock: Clock, tmp_path: Path
) -> None:
    made = table(2, 2)
    bring(client, made.tally)
    clock.now = DURING
    rows = made.says((True, False), (False, True))
    for answer, row in zip(made.answers, rows, strict=True):
        hand_in(client, made.tally, answer.token, row)
    secrets = [row[:32] for row in rows] + [answer.token for answer in made.answers] + [made.tally.handle]
    assert not any(holds(tmp_path, one) for one in secrets)
    keys = tmp_path / OUTSIDE_BACKUPS / FOLDER / "keys"
    assert any(keys.read_bytes())
    clock.now = CLOSES
    told = ask(client, made.tally)
    assert not any(keys.read_bytes())
    connection = sqlite3.connect(f"file:{keys.with_name('cases.sqlite3')}?mode=ro", uri=True)
    assert connection.execute("SELECT count(*) FROM living").fetchone() == (0,)
    ((reply,),) = connection.execute("SELECT reply FROM ended").fetchall()
    connection.close()
    assert wire.Tally.model_validate_json(reply) == told


def test_nothing_is_logged(tmp_path: Path) -> None:
    import time

    now = int(time.time())
    tally, shares = dealt.deal(2, 1, now - 1, now + 1000, os.urandom(32))
    server = ServerProcess(tmp_path)
    with httpx.Client(base_url=server.url, timeout=30) as client:
        bring(client, tally)
        hand_in(client, tally, shares[0].token, shares[0].values)
        hand_in(client, tally, shares[0].token, bytes(64))
        assert ask(client, tally).answer is TallyAnswer.OPEN
    assert server.stop() == (0, "")


# Restarts


@contextlib.asynccontextmanager
async def parts(data: Path, clock: Clock, **settings: object) -> AsyncIterator[tuple[Tallies, CaseStore]]:
    database = Database(data)
    store = open_tallies(database)
    tallies = Tallies(Settings(data, clock=clock, **settings), store)  # type: ignore[arg-type]
    try:
        await tallies.begin()
        yield tallies, store
    finally:
        tallies.close()
        database.close()


async def answer_of(tallies: Tallies, tally: Tally) -> wire.Tally:
    return wire.Tally.model_validate_json(await tallies.reply(tally.handle))


async def test_after_a_restart_what_was_handed_in_counts(tmp_path: Path, clock: Clock) -> None:
    made, rows = table(2), []
    rows = made.says(True, True)
    for place in (0, 1):
        clock.now = START if place == 0 else DURING
        async with parts(tmp_path, clock) as (tallies, _):
            await tallies.open(wire.OpenTally(tally=made.tally.encode()))
            clock.now = DURING
            await tallies.hand_in(
                made.tally.handle, wire.HandIn(slot=made.answers[place].token, values=rows[place])
            )
    clock.now = CLOSES
    async with parts(tmp_path, clock) as (tallies, _):
        told = await answer_of(tallies, made.tally)
    assert told.answer is TallyAnswer.COUNTED
    assert made.tally.common(Counted(told.package or 0, told.value or b"")) == 0


async def test_what_a_backup_may_have_brought_back_and_what_does_not_open_is_told_as_lost(
    tmp_path: Path, clock: Clock
) -> None:
    first, second = table(2), table(2)
    async with parts(tmp_path, clock) as (tallies, _):
        await tallies.open(wire.OpenTally(tally=first.tally.encode()))
    async with parts(tmp_path, clock, restored=True) as (tallies, _):
        assert (await answer_of(tallies, first.tally)).answer is TallyAnswer.LOST
        await tallies.open(wire.OpenTally(tally=second.tally.encode()))
    keys = tmp_path / OUTSIDE_BACKUPS / FOLDER / "keys"
    keys.write_bytes(os.urandom(32))
    async with parts(tmp_path, clock) as (tallies, _):
        assert (await answer_of(tallies, second.tally)).answer is TallyAnswer.LOST
        await tallies.open(wire.OpenTally(tally=second.tally.encode()))  # it stays lost
        assert (await answer_of(tallies, second.tally)).answer is TallyAnswer.LOST


async def test_every_request_of_a_kind_is_the_same_work(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No timing here: what the disk is asked to do is compared, of which the time is made."""
    made = table(2)
    rows = made.says(True, False)
    async with parts(tmp_path, clock) as (tallies, store):
        await tallies.open(wire.OpenTally(tally=made.tally.encode()))
        clock.now = DURING
        costs = set()
        for place in (0, 0, 1, 1):
            done: list[str] = []
            write, wait = os.pwrite, os.fdatasync
            with monkeypatch.context() as patched:
                patched.setattr(os, "pwrite", lambda *args: (done.append("write"), write(*args))[1])  # noqa: B023
                patched.setattr(os, "fdatasync", lambda file: (done.append("wait"), wait(file))[1])  # noqa: B023
                store._sql.set_trace_callback(lambda said: done.append(f"{said.split()[0]} {len(said)}"))  # noqa: B023
                request = wire.HandIn(slot=made.answers[place].token, values=rows[place])
                await asyncio.wait_for(tallies.hand_in(made.tally.handle, request), 30)
                store._sql.set_trace_callback(None)
            costs.add(tuple(done))
    assert len(costs) == 1
    assert next(iter(costs))
