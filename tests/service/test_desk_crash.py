"""kill -9 at every step: published or not published, one answer for all, and no value that outlives its end."""

import asyncio
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from pourparler_crypto.jr2 import Terms
from pourparler_policies import wire
from pourparler_policies.wire import CaseAnswer, Route
from pourparler_service.casestore import FOLDER, open_cases
from pourparler_service.database import OUTSIDE_BACKUPS, Database, raw
from pourparler_service.desk import Desk
from pourparler_service.desktesting import TERMS, Clock, Signing, copies, keys, prepared
from pourparler_service.outside import Outside
from pourparler_service.settings import Settings
from pourparler_service.testing import ServerProcess
from pourparler_service.writer import Writer

Act = Callable[[Desk], Awaitable[object]]


async def run(data: Path, clock: Clock, act: Act, kill_at: int = 0) -> None:
    """A service's start, an act at its desk, and its end; with `kill_at`, killed before that step on the disk."""
    database = Database(data)
    outside = Outside(database)
    writer = Writer(database, outside, clock)
    store = open_cases(database)
    desk = Desk(Settings(data, clock=clock), store, writer)
    if kill_at:
        arm(kill_at, raw(database.write), store._sql)
    await desk.begin(database.write)
    await act(desk)
    if kill_at:
        os._exit(0)  # all of it was done in fewer steps
    await writer.close()
    desk.close()
    outside.close()
    database.close()


def arm(kill_at: int, *connections: sqlite3.Connection) -> None:
    """Count every step that changes a file, and kill this process before one of them."""
    steps = 0
    lock = threading.Lock()

    def step(*_: object) -> None:
        nonlocal steps
        with lock:
            steps += 1
            if steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        return lambda *args: (step(), real(*args))[1]

    for name in ("pwrite", "fdatasync", "fsync"):
        setattr(os, name, counted(getattr(os, name)))
    for connection in connections:
        connection.set_trace_callback(lambda said: None if said.startswith("SELECT") else step())


def killed(data: Path, clock: Clock, act: Act, kill_at: int) -> bool:
    """Whether the child was killed at that step, or came to its end before."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(run(data, clock, act, kill_at))
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def board(data: Path) -> list[bytes]:
    connection = sqlite3.connect(data / "pourparler.sqlite3")
    found = [digest for (digest,) in connection.execute("SELECT digest FROM note ORDER BY key")]
    connection.close()
    return found


def every_step(data: Path, clock: Clock, act: Act, check: Callable[[Path], None]) -> int:
    """Run the act from the same files again and again, killed one step later each time. Returns how many steps."""
    step = 1
    while True:
        again = data.with_name(f"{data.name}-{step}")
        shutil.copytree(data, again)
        was_killed = killed(again, clock, act, step)
        check(again)
        shutil.rmtree(again)
        if not was_killed:
            return step - 1
        step += 1


def at_rest(data: Path, clock: Clock, *acts: Act) -> None:
    async def all_of(desk: Desk) -> None:
        for act in acts:
            await act(desk)

    asyncio.run(run(data, clock, all_of))


def sent(signing: Signing, *messages: bytes) -> list[Act]:
    return [lambda desk, one=one: desk.deposit(signing.handle, one) for one in messages]  # type: ignore[misc]


def told(data: Path, clock: Clock, signing: Signing) -> wire.Case:
    found: list[bytes] = []

    async def ask(desk: Desk) -> None:
        found.append(await desk.reply(signing.handle))

    asyncio.run(run(data, clock, ask))
    return wire.Case.model_validate_json(found[0])


async def tick(desk: Desk) -> None:
    await desk.once()


@pytest.mark.slow
def test_killed_at_any_step_of_a_publication_it_is_published_once_or_not_yet(tmp_path: Path) -> None:
    clock, signers = Clock(), keys(2)
    signing = Signing(signers, copies(signers))
    data = tmp_path / "data"
    at_rest(data, clock, lambda desk: desk.open(signing.opening), *sent(signing, *signing.masks, *signing.shares))
    clock.now = TERMS.not_before
    digests = [text.digest for text in signing.texts]
    seen = set()

    def check(again: Path) -> None:
        before = board(again)
        seen.add(len(before))
        assert before in ([], digests)  # all of the copies or none
        answer = told(again, clock, signing)  # a restart completes what is due
        assert (answer.answer, answer.board) == (CaseAnswer.PUBLISHED, digests)
        assert (answer.masks, answer.shares) == (signing.masks, signing.shares)
        assert board(again) == digests
        assert not any((again / OUTSIDE_BACKUPS / FOLDER / "keys").read_bytes())

    assert every_step(data, clock, tick, check) > 10
    assert seen == {0, 2}  # it was killed before and after


@pytest.mark.slow
@pytest.mark.parametrize("end", ["lapse", "stop", "withdrawal"])
def test_killed_at_any_step_of_an_end_nothing_is_half_there(tmp_path: Path, end: str) -> None:
    clock, signing = Clock(), prepared(2)
    data = tmp_path / "data"
    masks = signing.masks if end == "stop" else signing.masks[:1]
    at_rest(data, clock, lambda desk: desk.open(signing.opening), *sent(signing, *masks))
    act: Act = tick
    if end == "lapse":
        clock.now = TERMS.sign_by
    elif end == "stop":
        act = lambda desk: desk.stop(signing.handle, signing.shares[0])  # noqa: E731
    else:
        act = lambda desk: desk.withdraw(signing.handle, signing.masks[1])  # noqa: E731

    answers = set()

    def check(again: Path) -> None:
        answer = told(again, clock, signing)
        answers.add(answer.answer)
        assert told(again, clock, signing) == answer
        if answer.answer is CaseAnswer.COMPLETE:
            assert answer.masks == signing.masks
        else:
            assert (answer.masks, answer.shares) == (None, None)
        if answer.answer in (CaseAnswer.LAPSED, CaseAnswer.STOPPED):
            assert not any((again / OUTSIDE_BACKUPS / FOLDER / "keys").read_bytes())

    assert every_step(data, clock, act, check) > 5
    assert (
        answers
        == {
            "lapse": {CaseAnswer.LAPSED},
            "stop": {CaseAnswer.COMPLETE, CaseAnswer.STOPPED},
            # Killed between the new key and the new row: lost, so lapsed. Else it looks as if nothing had been.
            "withdrawal": {CaseAnswer.OPEN, CaseAnswer.LAPSED},
        }[end]
    )


@pytest.mark.slow
def test_killed_at_any_step_of_an_opening_or_the_last_signature_the_parties_go_on(tmp_path: Path) -> None:
    clock, signing = Clock(), prepared(2)
    data = tmp_path / "data"
    at_rest(data, clock)

    async def begin(desk: Desk) -> None:
        await desk.open(signing.opening)
        for mask in signing.masks:
            await desk.deposit(signing.handle, mask)

    def check(again: Path) -> None:
        at_rest(again, clock, begin)  # as clients do: the same bytes, until the answer is final
        assert told(again, clock, signing) == wire.Case(answer=CaseAnswer.COMPLETE, masks=signing.masks)

    assert every_step(data, clock, begin, check) > 10


@pytest.mark.long
def test_a_real_server_that_is_killed_again_and_again_publishes_once(tmp_path: Path) -> None:
    """Parties repeat what they have to say until the answer is final; the server dies under them."""
    server = ServerProcess(tmp_path)
    now = int(time.time())
    signing = prepared(3, Terms(now + 30, now + 31, now + 33))
    opened = False
    stages = [signing.masks[:2], signing.masks, signing.shares]
    final = None
    for kills in range(4):
        with httpx.Client(base_url=server.url, timeout=30) as client:
            assert opened is (client.get(signing.path(Route.CASE)).status_code == 200)
            signing.open(client).raise_for_status()
            opened = True
            for stage in stages[: kills + 1]:
                signing.deposit(client, *stage)
            answer = signing.ask(client).answer
            assert answer is (CaseAnswer.OPEN if kills == 0 else CaseAnswer.COMPLETE)
        server.kill()
        server = ServerProcess(tmp_path)
    deadline = time.monotonic() + 120
    while final is None and time.monotonic() < deadline:
        with httpx.Client(base_url=server.url, timeout=30) as client:
            told = signing.ask(client)
            final = told if told.answer is not CaseAnswer.COMPLETE else None
        if final is None:
            server.kill()
            server = ServerProcess(tmp_path)
    assert final is not None
    assert (final.answer, final.board) == (CaseAnswer.PUBLISHED, [signing.texts[0].digest])
    assert board(tmp_path) == [signing.texts[0].digest]
    assert server.stop() == (0, "")
