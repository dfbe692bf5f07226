"""Visits to the desk: what this device owes it, and what it answers to everybody.

1. Every request goes without a token and on a connection of its own: the desk must not learn which device of which
   channel signs (DESIGN 6.3, #28).
2. What is owed is sent at every visit until the answer is final: the desk may lose what it holds before it opens.
3. An answer moves this device only when all that it shows fits (`signing.py`).
4. A desk that knows no such case when nobody can bring it any more has said "lapsed".
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from pourparler_policies import wire
from pourparler_policies.release.device import Duty, Stage
from pourparler_policies.release.facts import Answer
from pourparler_policies.wire import Problem

from .api import Api
from .errors import Refused
from .happenings import Happening
from .log import Log
from .signing import Kept, Signing

Connect = Callable[[str, bytes | None], Api]

_ASKS = frozenset(
    {
        *(Stage.ASKED, Stage.SIGNED, Stage.WITHDRAWN, Stage.COMPLETE, Stage.AGAIN, Stage.WAITING),
        *(Stage.STOPPING, Stage.UNLOCKED, Stage.TOO_LATE, Stage.BARRED),
    }
)


async def visit(log: Log, signing: Signing, connect: Connect) -> tuple[bool, list[Happening]]:
    """One visit, if this device's stage in a case calls for one. Returns whether the desk has given a final answer,
    and what follows from it for the person.

    Raises Unreachable, or Refused when the desk says no for another reason than that the case is new to it.
    """
    kept = signing.kept
    if kept is None or kept.own.stage not in _ASKS or not kept.handle:
        return False, []
    refused: Refused | None = None
    try:
        await _open(log, signing, kept, connect)
    except Refused as refusal:  # another may have brought it; if nobody could, the person is told why
        refused = refusal
    await _deliver(log, signing, kept, connect)
    try:
        async with connect(log.row.url, None) as api:
            told = await api.case(kept.handle)
    except Refused as refusal:
        if refusal.problem is not Problem.NOT_FOUND:
            raise
        if log.clock() < kept.own.sign_by:
            if refused is not None:
                raise refused from None
            return False, []
        told = wire.Case(answer=wire.CaseAnswer.LAPSED)
    answer = Answer(told.answer)
    with log.step():
        happened = signing.heard(answer, told.masks or [], told.shares or [], log.clock())
    return answer in (Answer.LAPSED, Answer.STOPPED, Answer.PUBLISHED), happened


async def _open(log: Log, signing: Signing, kept: Kept, connect: Connect) -> None:
    """Every signer's device brings the case as soon as its own check has passed, and not when its person signs."""
    if not kept.bundle or kept.own.stage is Stage.BARRED:
        return
    case = signing.case()
    if case is None:
        return
    async with connect(log.row.url, None) as api:
        await api.open_case(wire.OpenCase(case=case, bundle=kept.bundle))
    with log.step():
        signing.save(replace(kept, bundle=b""))


async def _deliver(log: Log, signing: Signing, kept: Kept, connect: Connect) -> None:
    duties: list[tuple[Duty, str, bytes]] = []
    owed = signing.owed(kept)
    if Duty.SIGN in owed:
        duties.append((Duty.SIGN, wire.Route.CASE_DEPOSIT, kept.message))
    if Duty.WITHDRAW in owed:
        duties.append((Duty.WITHDRAW, wire.Route.CASE_WITHDRAWAL, kept.masks))
    if Duty.DEPOSIT in owed:
        duties.append((Duty.DEPOSIT, wire.Route.CASE_DEPOSIT, kept.message))
    if Duty.STOP in owed:
        duties.append((Duty.STOP, wire.Route.CASE_STOP, kept.message))
    for _, route, message in duties:
        with suppress(Refused):  # too late for it: the case's answer says so
            async with connect(log.row.url, None) as api:
                await api.case_message(route, kept.handle, message)
