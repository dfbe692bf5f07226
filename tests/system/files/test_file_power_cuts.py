"""Whoever cuts the power while a file is attached, fetched or taken back, at whatever step: one state or the other."""

import itertools
from contextlib import suppress
from pathlib import Path

import pytest

from pourparler_clients.errors import UserError
from pourparler_clients.examine import files_below, found, traces, vault_pages
from pourparler_clients.files_testing import files, parts
from pourparler_clients.spool import Spool
from pourparler_clients.testing import PASSPHRASE, House, Person, PowerCut

TEXT = "Both villages may use the wells on alternate days.\n" * 8000  # two chunks

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def chunks_are_steps(monkeypatch: pytest.MonkeyPatch, house: House) -> None:
    """A chunk that is kept beside the vault is a step, too: before, in the middle of it, and after."""
    put = Spool.put

    def counted(spool: Spool, number: int, chunk: bytes) -> None:
        person = next((one for one in house.people if one.directory == spool._directory), None)
        if person is None:
            return put(spool, number, chunk)
        person.faults.step("before a chunk is kept")
        put(spool, number, chunk[: len(chunk) // 2])
        person.faults.step("in the middle of a chunk")
        put(spool, number, chunk)
        person.faults.step("after a chunk was kept")
        return None

    monkeypatch.setattr(Spool, "put", counted)


def at_the_service(data: Path) -> set[str]:
    return {path.name for path in (data / "attachments").iterdir()}


def named(person: Person) -> set[str]:
    """Attachments at the service that a living message names."""
    return {message.attached.attachment.hex() for message in files(person) if message.attached is not None}


async def test_power_cut_at_any_step_of_attaching_says_it_once_or_leaves_nothing(
    house: House, data: Path, tmp_path: Path
) -> None:
    ada, ben = await house.room("ada", "ben")
    path, outcomes, steps = tmp_path / "minutes.txt", set(), set()
    path.write_text(TEXT)
    needles = set(traces(TEXT[:50]))
    said, before = 0, at_the_service(data)
    for cut in itertools.count():
        ada.faults.cut = len(ada.faults.steps) + cut
        dead = False
        try:
            await ada.channel.uploads.attach(path)
            said += 1
        except PowerCut as step:
            dead = True
            image = ada.faults.image
            assert image is not None
            assert not found(needles, [*files_below(image), *vault_pages(image, PASSPHRASE)])
            steps.add(str(step).partition(" /")[0])
            ada = await house.again(ada)
            waits = ada.channel.uploads.waiting()
            assert len(parts(ada)) == waits  # what was half sealed is gone when the vault is opened
            await ada.channel.uploads.send()
            await ada.sync()
            outcomes.add(len(files(ada)) - said)
            said = len(files(ada))
        ada.faults.cut = None
        await ben.sync()
        assert len(files(ben)) == len(files(ada)) == said
        assert parts(ada) == []
        assert at_the_service(data) - before == named(ada) == named(ben)
        assert len(ada.device.vault.rows("SELECT * FROM room WHERE seq IS NOT NULL")) == said
        if not dead:
            break
    assert outcomes == {0, 1}
    assert {"before a commit", "after a commit", "in the middle of a chunk", "before PUT"} <= steps
    assert {"before the answer to PUT", "before the answer to POST"} <= steps
    assert (await ben.channel.downloads.text(files(ben)[0].seq))[1] == TEXT
    assert (await ben.channel.downloads.text(files(ben)[-1].seq))[1] == TEXT


async def test_power_cut_at_any_step_of_fetching_goes_on_and_leaves_nothing_readable(
    house: House, tmp_path: Path
) -> None:
    ada, ben = await house.room("ada", "ben", after_reading=3600)
    path = tmp_path / "minutes.txt"
    path.write_text(TEXT)
    for _ in range(2):  # one to be read again and again, one that nobody reads
        await ada.channel.uploads.attach(path)
    await ben.sync()
    needles = set(traces(TEXT[:50]))
    for cut in itertools.count():
        folder = tmp_path / f"folder-{cut}"
        folder.mkdir()
        ben.faults.cut = len(ben.faults.steps) + cut
        try:
            await ben.channel.downloads.save(files(ben)[0].seq, folder)
        except PowerCut:
            image = ben.faults.image
            assert image is not None
            assert not found(needles, [*files_below(image), *vault_pages(image, PASSPHRASE)])
            ben = await house.again(ben)
            ben.faults.cut = None
            if list(folder.iterdir()):  # it was written; only that it is not needed here any more was not
                assert (folder / "minutes.txt").read_text() == TEXT
            else:
                assert (await ben.channel.downloads.save(files(ben)[0].seq, folder)).read_text() == TEXT
                assert parts(ben) == []
        else:
            break
    ben.faults.cut = None
    assert cut > 8
    assert files(ben)[0].expires_at < files(ben)[1].expires_at
    for message in files(ben):
        assert (await ben.channel.downloads.text(message.seq))[1] == TEXT


async def test_power_cut_at_any_step_of_taking_a_file_back_ends_it_everywhere_in_the_end(
    house: House, data: Path, tmp_path: Path
) -> None:
    ada, ben = await house.room("ada", "ben")
    path = tmp_path / "minutes.txt"
    path.write_text("a short text")
    before = at_the_service(data)
    for cut in itertools.count():
        await ada.channel.uploads.attach(path)
        seq = files(ada)[0].seq
        ada.faults.cut = len(ada.faults.steps) + cut
        dead = False
        try:
            await ada.channel.shorten(seq, 0)
        except PowerCut:
            dead = True
            ada = await house.again(ada)
            await ada.sync()
            if files(ada):
                await ada.channel.shorten(seq, 0)
        ada.faults.cut = None
        await ben.sync()
        assert files(ada) == files(ben) == []
        assert at_the_service(data) == before
        assert ada.device.vault.rows("SELECT * FROM room") == []
        if not dead:
            break
    assert cut > 10


async def test_power_cut_at_any_step_of_letting_go_of_kept_chunks_leaves_no_row_or_file_alone(
    house: House, tmp_path: Path
) -> None:
    ada, _ = await house.room("ada", "ben")
    path = tmp_path / "minutes.txt"
    path.write_text("a short text")
    await ada.channel.uploads.attach(path, life=7200)
    seq = files(ada)[0].seq
    for cut in itertools.count():
        await ada.channel.downloads.fetch(seq)
        assert len(parts(ada)) == 1
        ada.faults.cut = len(ada.faults.steps) + cut
        with suppress(PowerCut):
            ada.channel.downloads.forget(files(ada)[0])
        dead = not ada.faults.alive
        ada = await house.again(ada) if dead else ada
        ada.faults.cut = None
        rows = [file for (file,) in ada.device.vault.rows("SELECT file FROM spool")]
        assert [one.name for one in parts(ada)] == rows
        assert (await ada.channel.downloads.text(seq))[1] == "a short text"
        if not dead:
            break
    ada.clock.offset = 7201
    ada.device.purge()
    assert parts(ada) == []
    with pytest.raises(UserError, match="no file"):
        await ada.channel.downloads.text(seq)
