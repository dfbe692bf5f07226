"""Devices that watch run a joint release by themselves: rounds, the desk, the hour."""

import asyncio
from contextlib import suppress

import pytest

from pourparler_clients.signing_testing import (
    DEPOSIT,
    HOUR,
    SIGN,
    Hours,
    Signing,
    release_room,
    stage_of,
    text_between,
)
from pourparler_clients.testing import House, Person
from pourparler_policies.release.device import Cue, Stage
from pourparler_policies.release.events import Appointed


async def watching(person: Person, told: list[str]) -> None:
    async for happening in person.channel.watch():
        told.append(happening.kind)


async def comes(told: dict[str, list[str]], kind: str) -> None:
    for _ in range(400):
        if all(kind in kinds for kinds in told.values()):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(told)


async def test_devices_that_watch_bring_a_lapse_and_then_a_release_to_its_end(
    house: House, hours: Hours, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pourparler_clients.watching.TEND", 0.3)
    monkeypatch.setattr("pourparler_clients.watching.JITTER", 0.05)
    room = await release_room(house, hours, "ada", "ben", "eve")
    room.text = text_between(room.parties, room.now() + 3 * HOUR)
    ada, ben, _ = room.parties
    await room.table()
    await room.initial()
    room.later(400)
    told: dict[str, list[str]] = {person.name: [] for person in room.people}
    tasks = [asyncio.create_task(watching(person, told[person.name])) for person in room.people]
    try:
        await ada.channel.do(made(room))
        await comes(told, "frozen")
        for _ in range(100):
            if {stage_of(p) for p in room.parties} == {Stage.ASKED}:
                break
            await asyncio.sleep(0.05)
        await ada.channel.releases.act(Cue.SIGN)
        await ben.channel.releases.act(Cue.WITHDRAW)
        room.until(room.case.sign_by)
        await comes(told, "lapsed")
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def made(room: Signing) -> Appointed:
    until = room.now() + SIGN
    return Appointed(room.paper, room.held.text.digest, 0, until, until + DEPOSIT)
