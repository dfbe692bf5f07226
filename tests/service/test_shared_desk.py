"""One desk of two processes: one answer for all, whichever is asked; nothing early, twice, or after its end."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from pourparler_policies import wire
from pourparler_policies.wire import CaseAnswer, Route
from pourparler_service.desktesting import START, TERMS, Clock, Signing, copies, keys, prepared
from pourparler_service.postgres.testing import administer, databases
from pourparler_service.testing import ServerProcess, problem, settings_of, threaded


@pytest.fixture(scope="module")
def place(postgres: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    folder = tmp_path_factory.mktemp("desk")
    with databases(folder) as name:
        yield folder, name


@contextlib.contextmanager
def pair(data: Path, clock: Clock, **settings: object) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(2):
            one = replace(settings_of(data), clock=clock, **settings)  # type: ignore[arg-type]
            url = stack.enter_context(threaded(one))
            clients.append(stack.enter_context(httpx.Client(base_url=url, timeout=30)))
        yield clients[0], clients[1]


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def both(place: tuple[Path, str], clock: Clock) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    with pair(place[0], clock) as clients:
        yield clients


@pytest.fixture
def desks(both: tuple[httpx.Client, httpx.Client], clock: Clock) -> tuple[httpx.Client, httpx.Client]:
    clock.now = START
    return both


def listed(client: httpx.Client) -> list[bytes]:
    return [one.digest for one in wire.Board.model_validate_json(client.get(Route.BOARD_LIST).content).posted]


def living(name: str) -> int:
    return int(administer("SELECT count(*) FROM living", name + "_apart")[0][0])


def test_deposits_at_either_complete_one_case_and_publish_it_once(
    desks: tuple[httpx.Client, httpx.Client], clock: Clock
) -> None:
    one, two = desks
    signing = Signing((signers := keys(3)), copies(signers))
    assert signing.open(one).status_code == signing.open(two).status_code == 204
    signing.deposit(one, signing.masks[0])
    signing.deposit(two, signing.masks[1])
    assert signing.ask(one) == signing.ask(two) == wire.Case(answer=CaseAnswer.OPEN)
    signing.deposit(one, signing.masks[2])
    complete = wire.Case(answer=CaseAnswer.COMPLETE, masks=signing.masks)
    assert signing.ask(one) == signing.ask(two) == complete
    for desk, share in zip((two, one, two), signing.shares, strict=True):
        signing.deposit(desk, share)
    assert signing.ask(two) == complete
    clock.now = TERMS.not_before
    with ThreadPoolExecutor(2) as pool:  # both at once
        answers = list(pool.map(signing.ask, desks))
    assert answers[0] == answers[1]
    assert (answers[0].answer, answers[0].shares) == (CaseAnswer.PUBLISHED, signing.shares)
    digests = [text.digest for text in signing.texts]
    for desk in desks:
        assert sorted(one for one in listed(desk) if one in digests) == sorted(digests)


def test_of_a_last_mask_and_a_withdrawal_at_once_one_is_true_for_all(
    desks: tuple[httpx.Client, httpx.Client], clock: Clock
) -> None:
    one, two = desks
    for _ in range(6):
        clock.now = START
        signing = prepared(2)
        signing.open(one)
        signing.deposit(one, signing.masks[0])
        acts = ((one, Route.CASE_DEPOSIT, signing.masks[1]), (two, Route.CASE_WITHDRAWAL, signing.masks[0]))
        with ThreadPoolExecutor(2) as pool:
            told = [pool.submit(signing.send, *act) for act in acts]
        assert [one.result().status_code for one in told] == [204, 204]
        assert signing.ask(one) == signing.ask(two)
        clock.now = TERMS.sign_by
        assert signing.ask(one).answer == signing.ask(two).answer


def test_what_lapsed_is_gone_from_the_rows_and_from_their_file(
    desks: tuple[httpx.Client, httpx.Client], clock: Clock, place: tuple[Path, str]
) -> None:
    one, two = desks
    signing = prepared(3)
    signing.open(one)
    signing.deposit(two, *signing.masks[:2])
    held = administer("SELECT state FROM living", place[1] + "_apart")
    assert [row for row in held if signing.masks[0] in row[0]]
    file = "SELECT pg_read_binary_file(pg_relation_filepath('living'))"
    toast = (
        "SELECT pg_read_binary_file(pg_relation_filepath(reltoastrelid)) FROM pg_class WHERE relname = 'living'"
    )
    administer("CHECKPOINT", place[1] + "_apart")
    assert any(signing.masks[0] in administer(where, place[1] + "_apart")[0][0] for where in (file, toast))
    clock.now = TERMS.sign_by
    assert signing.ask(two).answer == signing.ask(one).answer == CaseAnswer.LAPSED
    administer("CHECKPOINT", place[1] + "_apart")
    for where in (file, toast):
        assert not any(mask in administer(where, place[1] + "_apart")[0][0] for mask in signing.masks)
    assert (
        problem(one.get(signing.path(Route.CASE).replace(signing.path(Route.CASE)[-10:-2], "AAAAAAAA")))
        == "not-found"
    )


def test_a_withdrawal_takes_every_mask_out_of_the_file_at_once(
    desks: tuple[httpx.Client, httpx.Client], place: tuple[Path, str]
) -> None:
    signing = prepared(3)
    signing.open(desks[0])
    signing.deposit(desks[1], *signing.masks[:2])
    signing.send(desks[0], Route.CASE_WITHDRAWAL, signing.masks[0]).raise_for_status()
    administer("CHECKPOINT", place[1] + "_apart")
    file = administer("SELECT pg_read_binary_file(pg_relation_filepath('living'))", place[1] + "_apart")[0][0]
    assert not any(mask in file for mask in signing.masks)
    assert signing.ask(desks[1]).answer is CaseAnswer.OPEN


def test_a_row_says_nothing_of_how_many_have_deposited(
    desks: tuple[httpx.Client, httpx.Client], place: tuple[Path, str]
) -> None:
    """To who sees sizes: a replica's traffic, a monitoring."""
    signing = prepared(3)
    signing.open(desks[0])
    size = "SELECT pg_column_size(state), pg_column_size(reply), pg_column_size(fixed), due_at FROM living"
    told = []
    for mask in (None, *signing.masks[:2]):
        if mask is not None:
            signing.deposit(desks[1], mask)
        told.append(administer(size + f" WHERE due_at = {TERMS.sign_by}", place[1] + "_apart"))
    assert told[0]
    assert told[0] == told[1] == told[2]


def test_stopped_at_one_while_the_other_is_late_is_stopped(
    desks: tuple[httpx.Client, httpx.Client], clock: Clock
) -> None:
    one, two = desks
    signing = prepared(2)
    signing.open(one)
    signing.deposit(one, *signing.masks)
    signing.deposit(two, *signing.shares)
    signing.send(two, Route.CASE_STOP, signing.shares[0]).raise_for_status()
    clock.now = TERMS.not_before
    assert signing.ask(one) == signing.ask(two) == wire.Case(answer=CaseAnswer.STOPPED)
    assert signing.texts[0].digest not in listed(one)


def test_a_case_that_its_database_lost_has_lapsed_and_so_have_all_when_the_operator_says_restored(
    postgres: None, tmp_path: Path
) -> None:
    clock = Clock()
    with databases(tmp_path) as name:
        lost, stands = prepared(2), prepared(2)
        with pair(tmp_path, clock) as (one, two):
            for signing in (lost, stands):
                signing.open(one)
                signing.deposit(two, signing.masks[0])
        from pourparler_service.casestore import name_of

        administer(f"DELETE FROM living WHERE name = '\\x{name_of(lost.handle).hex()}'", name + "_apart")
        with pair(tmp_path, clock) as (one, two):
            assert lost.ask(one).answer is CaseAnswer.LAPSED
            assert stands.ask(two).answer is CaseAnswer.OPEN
        with threaded(replace(settings_of(tmp_path), clock=clock, restored=True)) as url:
            assert stands.ask(httpx.Client(base_url=url, timeout=30)).answer is CaseAnswer.LAPSED


def test_killed_between_the_board_and_the_end_it_is_published_once(postgres: None, tmp_path: Path) -> None:
    """As a crash there leaves it: the case is full, its publication has begun, the board has the text already."""
    import time

    from pourparler_crypto.jr2 import Terms

    with databases(tmp_path) as name:
        server = ServerProcess(tmp_path)
        now = int(time.time())
        terms = Terms(now + 6, now + 8, now + 9, None)
        signing = prepared(2, terms)
        with httpx.Client(base_url=server.url, timeout=30) as client:
            signing.open(client).raise_for_status()
            signing.deposit(client, *signing.masks)
            signing.deposit(client, *signing.shares)
        administer("CREATE TABLE aside AS SELECT * FROM living", name + "_apart")
        time.sleep(max(0.0, terms.not_before - time.time()))
        with httpx.Client(base_url=server.url, timeout=30) as client:
            published = signing.ask(client)
            assert published.answer is CaseAnswer.PUBLISHED
        server.kill()
        administer("DELETE FROM ended", name + "_apart")
        administer("DELETE FROM posted", name + "_apart")
        administer("INSERT INTO living SELECT * FROM aside", name + "_apart")
        administer("UPDATE living SET publishing = true", name + "_apart")
        with threaded(settings_of(tmp_path)) as again, httpx.Client(base_url=again, timeout=30) as client:
            signing.send(client, Route.CASE_STOP, signing.shares[0])
            assert signing.ask(client) == published
            assert listed(client) == [signing.texts[0].digest]
