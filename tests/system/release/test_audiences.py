"""Texts that are not for the board: complete at the parties' devices, and read by nobody at the service."""

import base64
from pathlib import Path

import httpx
import pytest

from pourparler_clients.examine import files_below, found
from pourparler_clients.signing_testing import HOUR, Hours, key_of, release_room, stage_of, text_between
from pourparler_clients.testing import House
from pourparler_crypto.card import CardKey
from pourparler_crypto.note import Audience, Note, open_brief, seal_brief
from pourparler_policies.release.device import Stage

WORDS = "Between us alone: the eastern wells are shared from May on."


@pytest.mark.parametrize("audience", [Audience.PARTIES, Audience.CARD], ids=["the parties", "one reader"])
async def test_it_is_complete_for_all_at_once_on_no_board_and_in_no_file_of_the_service(
    house: House, hours: Hours, data: Path, service: str, audience: Audience
) -> None:
    official = CardKey.generate()
    card = official.card("Heron").fingerprint if audience is Audience.CARD else b""
    room = await release_room(house, hours, "ada", "ben", beside={"ada": ["amy"]})
    async with httpx.AsyncClient(base_url=service) as http:
        before = (await http.get("/v1/board")).text
        room.text = text_between(room.parties, room.now() + HOUR, WORDS, audience=audience, card=card)
        await room.ready()
        await room.sign()
        await room.through(lambda: all(stage_of(person) is Stage.COMPLETE for person in room.signers))
        needles = {
            WORDS.encode(),
            room.text.foot.release.hex().encode(),
            *(key_of(p).public for p in room.parties),
        }
        for _ in range(3):  # every y and rho is at the desk
            await room.visit()
        assert not found(needles, files_below(data))
        room.until(room.case.not_before)
        await room.through(room.over)
        assert not found(needles, files_below(data))
        assert (await http.get("/v1/board")).text == before
        assert (await http.get("/")).text.find("eastern wells") < 0
    (encoded,) = set(room.notes())
    assert len(room.notes()) == 3
    note = Note.parse(encoded)
    note.check()
    if audience is Audience.CARD:
        assert open_brief(seal_brief(note, official.card("Heron")), official, "Heron") == note


async def test_parallel_copies_are_completed_together_each_side_first_in_its_own(
    house: House, hours: Hours, service: str
) -> None:
    room = await release_room(house, hours, "ada", "ben", "eve", beside={"ben": ["bea"]})
    room.text = text_between(room.parties, room.now() + HOUR, in_copies=True)
    await room.ready()
    await room.sign()
    await room.published()
    assert len(room.notes()) == 3 * 4
    notes = sorted((Note.parse(one) for one in set(room.notes())), key=lambda n: n.communique.foot.copy)
    assert [note.communique.foot.copy for note in notes] == [1, 2, 3]
    for note, person in zip(notes, room.parties, strict=True):
        note.check()
        assert note.communique.foot.signatories[0].name == f"Side {person.name}"
        assert note.communique.words == room.text.words
    async with httpx.AsyncClient(base_url=service) as http:
        posted = (await http.get("/v1/board")).json()["posted"]
    release = base64.b64encode(room.text.foot.release).decode().replace("+", "-").replace("/", "_")
    assert sorted(one["number"] for one in posted if one["release"] == release) == [1, 2, 3]


async def test_a_silent_desk_keeps_a_private_text_from_nobody(house: House, hours: Hours) -> None:
    room = await release_room(house, hours, "ada", "ben")
    room.text = text_between(room.parties, room.now() + HOUR, WORDS, audience=Audience.PARTIES, in_copies=True)
    await room.ready()
    await room.sign()
    await room.through(lambda: all(stage_of(person) is Stage.COMPLETE for person in room.signers))
    for person in room.people:
        person.line.before_request = no_desk
    room.until(room.case.not_before + 1)
    await room.through(lambda: len(room.notes()) == 4)
    assert len(set(room.notes())) == 2


def no_desk(method: str, path: str) -> None:
    if "/desk" in path:
        raise httpx.ConnectError("the desk is gone")
