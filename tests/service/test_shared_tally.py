"""One tally of two processes: what is handed in at either counts once, and nothing shows before the close."""

import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path

import httpx

from pourparler_crypto.sounding import Counted
from pourparler_crypto.sounding.testing import CLOSES, OPENS, Table
from pourparler_policies import wire
from pourparler_policies.wire import Route, TallyAnswer
from pourparler_service.casestore import name_of
from pourparler_service.desktesting import Clock
from pourparler_service.postgres.testing import administer, databases
from pourparler_service.testing import b64, body, settings_of, threaded

JSON = {"Content-Type": "application/json"}


def test_handed_in_at_either_it_is_counted_once_and_told_alike(postgres: None, tmp_path: Path) -> None:
    clock = Clock(OPENS - 1000)
    made, few, spoilt = Table(3, 1, os.urandom(32)), Table(2, 1, os.urandom(32)), Table(2, 1, os.urandom(32))
    with databases(tmp_path) as name, contextlib.ExitStack() as stack:
        urls = [stack.enter_context(threaded(replace(settings_of(tmp_path), clock=clock))) for _ in range(2)]
        one, two = (stack.enter_context(httpx.Client(base_url=url, timeout=30)) for url in urls)

        def place(table: Table, route: Route = Route.TALLY) -> str:
            return route.replace("{handle}", b64(table.tally.handle))

        def ask(client: httpx.Client, table: Table) -> wire.Tally:
            return wire.Tally.model_validate_json(client.get(place(table)).content)

        for client, table in ((one, made), (two, made), (one, few), (two, spoilt)):
            opening = body(wire.OpenTally(tally=table.tally.encode()))
            assert client.post(Route.TALLIES, content=opening, headers=JSON).status_code == 204
        gone = name_of(spoilt.tally.handle).hex()  # the first to be due, and no tally any more
        administer(f"UPDATE tallying SET fixed = '', due_at = 0 WHERE name = '\\x{gone}'", name + "_apart")
        clock.now = OPENS + 1
        says = made.says(True, True, True)
        size = "SELECT pg_column_size(state), pg_column_size(fixed), reply FROM tallying ORDER BY name"
        before = administer(size, name + "_apart")
        for turn in range(2):  # the second time changes nothing
            for number, (answer, row) in enumerate(zip(made.answers, says, strict=True)):
                client = (one, two)[(number + turn) % 2]
                asked = body(wire.HandIn(slot=answer.token, values=row))
                told = client.post(place(made, Route.TALLY_SLOT), content=asked, headers=JSON)
                assert told.status_code == 204
        assert administer(size, name + "_apart") == before
        assert ask(one, made) == ask(two, made) == wire.Tally(answer=TallyAnswer.OPEN)
        clock.now = CLOSES
        left = "SELECT count(*) FROM tallying"
        while administer(left, name + "_apart") != [(1,)]:  # nobody need ask, and what is spoilt holds up no other
            time.sleep(0.05)
        answers = [ask(client, made) for client in (two, one)]
        assert answers[0] == answers[1]
        assert answers[0].package is not None
        assert answers[0].value is not None
        assert made.tally.common(Counted(answers[0].package, answers[0].value)) == 0
        assert ask(two, few) == ask(one, few)
        assert ask(one, few).answer is TallyAnswer.COUNTED
        unknown = place(Table(2, 1, os.urandom(32)))
        assert one.get(unknown).status_code == 404
