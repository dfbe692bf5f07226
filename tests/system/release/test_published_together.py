"""A joint text is signed by all or by nobody, and published at its hour (DESIGN 6, promise 4)."""

import subprocess
from pathlib import Path

import httpx
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pourparler_clients.demo.processes import DemoError
from pourparler_clients.demo.release import read_at
from pourparler_clients.examine import files_below, found, traces
from pourparler_clients.signing_testing import WORDS, Hours, release_room, stage_of
from pourparler_clients.testing import House
from pourparler_crypto.note import Communique, Note
from pourparler_policies import wire
from pourparler_policies.release.device import Stage


def board(house: House, place: str = "/v1/board") -> httpx.Response:
    return httpx.get(house.url + place, trust_env=False)


def posted(house: House, text: Communique) -> list[wire.Posted]:
    """What the board shows of a text."""
    shown = wire.Board.model_validate_json(board(house).content).posted
    return [one for one in shown if one.digest == text.digest]


def checked_by_others(note: bytes, place: Path) -> int:
    """Verifies every signature with `cryptography` and with OpenSSL's program; returns how many there are."""
    read = Note.parse(note)
    text, count = read.communique.text, 0
    (place / "text").write_bytes(text)
    for number, (key, signature) in enumerate(zip(read.communique.keys, read.signatures, strict=True)):
        public = Ed25519PublicKey.from_public_bytes(key)
        public.verify(signature, text)
        with pytest.raises(InvalidSignature):
            public.verify(signature, text + b" ")
        der = bytes.fromhex("302a300506032b6570032100") + key  # RFC 8410, 4
        (place / f"key-{number}").write_bytes(der)
        (place / f"signature-{number}").write_bytes(signature)
        files = {"-inkey": f"key-{number}", "-in": "text", "-sigfile": f"signature-{number}"}
        named = [word for option, name in files.items() for word in (option, str(place / name))]
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-rawin", *named]
        done = subprocess.run(command, capture_output=True, check=True)
        assert b"Verified Successfully" in done.stdout
        count += 1
    return count


async def test_two_parties_sign_and_both_hold_the_note_that_the_board_shows(
    house: House, hours: Hours, data: Path, tmp_path: Path
) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada, ben = room.parties
    await room.ready()
    answers: list[bytes] = []
    for person in room.people:
        person.line.rewrite = lambda method, path, status, body: (answers.append(body), (status, body))[1]
    await room.sign(ada)  # one has signed, and the other has not
    await room.visit(ben)
    assert [stage_of(p) for p in room.parties] == [Stage.SIGNED, Stage.ASKED]
    assert room.notes() == []
    state = ada.log.signing.whole(ada.log.signing.kept)  # type: ignore[arg-type]
    mask, y = state.mask, state.y  # type: ignore[union-attr]
    assert not found({*traces(WORDS), y}, [*answers, *files_below(data)])
    assert not found({mask}, answers)
    assert posted(house, room.text) == []
    await room.sign(ben)
    await room.through(lambda: all(stage_of(p) is Stage.COMPLETE for p in room.parties))
    # Every word has been given. Before the hour there is still no note, nothing on the board, and no text there.
    assert room.notes() == []
    assert posted(house, room.text) == []
    assert not found(traces(WORDS), files_below(data))
    room.until(room.case.not_before - 5)
    await room.visit()
    assert room.notes() == []
    assert posted(house, room.text) == []
    with pytest.raises(DemoError, match="does not show the text"):
        read_at(house.url, Note(room.text, (bytes(64),) * 2))
    room.until(room.case.not_before)
    await room.through(room.over)
    first, second = room.notes()
    assert first == second
    assert checked_by_others(first, tmp_path) == 2
    assert found(traces(WORDS), files_below(data))  # the search works
    assert [one.signatories for one in posted(house, room.text)] == [["Side ada", "Side ben"]]
    assert board(house, f"/board/{room.text.digest.hex()}/note").content == first
    assert all(room.was_told(person, "released") for person in room.people)
    assert read_at(house.url, Note.parse(first))  # as the demonstration tells its reader


async def test_three_parties_and_somebody_who_only_goes_between(
    house: House, hours: Hours, tmp_path: Path
) -> None:
    room = await release_room(house, hours, "ada", "ben", "eve", present=["mia"], words="Three sides agree.")
    (mia,) = room.people[3:]
    await room.table(author=mia)
    await room.initial()
    await room.appoint(by=mia)
    await room.through(lambda: all(stage_of(p) is Stage.ASKED for p in room.parties))
    assert stage_of(mia) is None
    await room.sign(*room.parties[:2])
    await room.visit()
    assert room.notes() == []
    await room.sign(room.parties[2])
    await room.published()
    assert len(set(room.notes())) == 1
    assert len(room.notes()) == 3
    assert checked_by_others(room.notes()[0], tmp_path) == 3
    assert mia.log.signing.papers.notes() == []
    assert room.was_told(mia, "released")


async def test_what_one_device_holds_before_all_have_signed_completes_nothing(house: House, hours: Hours) -> None:
    room = await release_room(house, hours, "ada", "ben", words="Nothing yet.")
    await room.ready()
    await room.sign(room.parties[0])
    for person in room.parties:
        state = person.log.signing.whole(person.log.signing.kept)  # type: ignore[arg-type]
        bodies = state.bodies  # type: ignore[union-attr]
        for public, body in zip(room.text.keys, bodies, strict=True):
            point, response = body[:32], body[64:96]
            with pytest.raises(InvalidSignature):
                Ed25519PublicKey.from_public_bytes(public).verify(point + response, room.text.text)
