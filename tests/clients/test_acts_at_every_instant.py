"""Whatever instant the power goes while a device is locked, cleared, rid of a channel or given another passphrase, its
vault is in one state or the other. Every instant: between any two system calls, and in the midst of a write.
"""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pourparler_clients.device import Device
from pourparler_clients.errors import UserError
from pourparler_clients.examine import files_below, found, vault_pages
from pourparler_clients.hours import ALONE
from pourparler_clients.instants_testing import Image, forked, instants, lay, spread, torn
from pourparler_clients.messages import Message
from pourparler_clients.store import ChannelStore
from pourparler_clients.testing import CHEAP, PASSPHRASE, channel_row
from pourparler_clients.vault import DATABASE_NAME, HEADER_NAME, Vault, clear, unlock

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # with POURPARLER_LONG every image is opened

NEW = "another horse battery staple"
CHANNEL, OTHER = bytes(16), bytes([1]) * 16
LIVING, TAKEN_BACK, OVER = range(40), range(100, 160), range(200, 240)
LOG = DATABASE_NAME + "-wal"


def tokens(texts: list[bytes]) -> set[int]:
    return {int(number) for text in texts for number in re.findall(rb"<([0-9]{6})>", text)}


def kept(vault: Vault) -> set[int]:
    """Which texts the vault's tables hold."""
    return tokens([text for (text,) in vault.rows("SELECT text FROM message")])


def say(vault: Vault, channel: bytes, numbers: range, expires_at: int = 2**40) -> None:
    store = ChannelStore(vault, channel)
    with vault.transaction():
        for number in numbers:
            message = Message(number, bytes(16), b"%016d" % number, "", ALONE, 0, expires_at, own=False)
            store.messages.add(message)
            text = f"<{number:06}>" * (20 + 37 * number % 300)
            vault.execute("UPDATE message SET text = ? WHERE seq = ?", text.encode(), number)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A vault with two channels, in one of which there are texts."""
    directory = tmp_path / "vault"
    Device.create(directory, PASSPHRASE, "Cedar", CHEAP).vault.close()
    vault = Vault.open(directory, PASSPHRASE)
    with vault.transaction():
        for channel, title in ((CHANNEL, "Two wells"), (OTHER, "Winter wheat")):
            ChannelStore(vault, channel).insert(channel_row(channel, title))
    say(vault, CHANNEL, LIVING)
    vault.close()
    return directory


def watched(directory: Path, prepare: Callable[[], Callable[[], object]]) -> list[Image]:
    """Every image of the vault while a process does what `prepare` returns."""
    images, status = instants(forked(prepare), directory)
    assert status == 0
    return images


def opened(image: Image, place: Path, key: bytes) -> Device:
    return Device(Vault.unlocked(lay(image, place), key))


def with_torn(images: list[Image], *files: str) -> list[Image]:
    return [*spread(images, 60), *spread(torn(images, *files), 40)]


def test_power_cut_at_every_instant_of_a_lock_loses_nothing_and_brings_nothing_back(
    directory: Path, tmp_path: Path
) -> None:
    _, (key,) = unlock(directory / HEADER_NAME, PASSPHRASE)

    def prepare() -> Callable[[], object]:
        device = Device.open(directory, PASSPHRASE)
        say(device.vault, CHANNEL, TAKEN_BACK)
        say(device.vault, CHANNEL, OVER, expires_at=1)  # their time is over when the device is locked
        with device.vault.transaction():
            for number in TAKEN_BACK:
                device.vault.execute("DELETE FROM message WHERE seq = ?", number)
        return lambda: asyncio.run(device.aclose())

    images = watched(directory, prepare)
    assert len(images) > 50
    assert len(images[0][LOG]) > 100_000 and set(images[-1]) == {HEADER_NAME, DATABASE_NAME}
    for number, image in enumerate(with_torn(images, DATABASE_NAME, LOG)):
        place = tmp_path / str(number)
        device = opened(image, place, key)
        assert kept(device.vault) == {*LIVING}
        assert [row.number for row in device.all_channels()] == [1, 2]
        asyncio.run(device.aclose())
        assert tokens(list(vault_pages(place, PASSPHRASE))) == {*LIVING}
        assert {path.name: path.stat().st_size for path in place.iterdir()} == {
            HEADER_NAME: 188,
            DATABASE_NAME: 2**20,
        }


def test_power_cut_at_every_instant_of_forgetting_a_channel_leaves_it_whole_or_nothing_of_it(
    directory: Path, tmp_path: Path
) -> None:
    """`leave --here`; without the service, as at a border."""
    _, (key,) = unlock(directory / HEADER_NAME, PASSPHRASE)

    def prepare() -> Callable[[], object]:
        device = Device.open(directory, PASSPHRASE)

        async def forget() -> None:
            await device.forget(CHANNEL)
            await device.aclose()

        return lambda: asyncio.run(forget())

    seen = []
    for number, image in enumerate(with_torn(watched(directory, prepare), DATABASE_NAME, LOG)):
        place = tmp_path / str(number)
        device = opened(image, place, key)
        there = [row.id for row in device.all_channels()]
        assert (there, kept(device.vault)) in (([CHANNEL, OTHER], {*LIVING}), ([OTHER], set()))
        seen.append(CHANNEL in there)
        asyncio.run(device.aclose())
        assert tokens(list(vault_pages(place, PASSPHRASE))) == ({*LIVING} if seen[-1] else set())
    assert set(seen) == {True, False}


def test_power_cut_at_every_instant_of_a_new_passphrase_leaves_the_old_one_or_the_new_one(
    directory: Path, tmp_path: Path
) -> None:
    def prepare() -> Callable[[], object]:
        vault = Vault.open(directory, PASSPHRASE)

        def change() -> None:
            vault.change_passphrase(NEW, CHEAP)
            vault.close()

        return change

    images = watched(directory, prepare)
    assert len(images) > 50
    opens, between = [], 0
    for number, image in enumerate(spread(images, 80)):
        place, working = lay(image, tmp_path / str(number)), []
        for passphrase in (PASSPHRASE, NEW):
            try:
                between += len(unlock(place / HEADER_NAME, passphrase)[1]) == 2
                vault = Vault.open(place, passphrase)
            except UserError:
                continue
            working.append(passphrase)
            assert kept(vault) == {*LIVING}
            vault.close()
        assert len(working) == 1
        opens += working
        # Once it was opened, nothing of a change that did not come to its end lies about.
        assert {path.name for path in place.iterdir()} == {HEADER_NAME, DATABASE_NAME}
    assert opens == sorted(opens, key=[PASSPHRASE, NEW].index)
    assert set(opens) == {PASSPHRASE, NEW}
    assert between > 10  # within the change of the file's key


def test_power_cut_at_every_instant_of_clearing_leaves_the_vault_whole_or_no_key_of_it(
    directory: Path, tmp_path: Path
) -> None:
    header = (directory / HEADER_NAME).read_bytes()
    _, (key,) = unlock(directory / HEADER_NAME, PASSPHRASE)
    slots = [header[12:100], header[100:]]
    seen = []
    for number, image in enumerate(spread(watched(directory, lambda: lambda: clear(directory)), 100)):
        place = lay(image, tmp_path / str(number))
        whole = image.get(HEADER_NAME) == header
        seen.append(whole)
        if whole:
            vault = Vault.open(place, PASSPHRASE)
            assert kept(vault) == {*LIVING}
            vault.close()
            continue
        assert not found([key, *slots], files_below(place))
        with pytest.raises(UserError):
            Vault.open(place, PASSPHRASE)
        if image:
            clear(place)  # the person does it again
            assert not place.exists()
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 2


def test_an_instant_at_which_a_vault_would_be_lost_is_seen(directory: Path, tmp_path: Path) -> None:
    """Control: written without a journal, some image of the same lock does not open, or has lost something."""
    _, (key,) = unlock(directory / HEADER_NAME, PASSPHRASE)

    def prepare() -> Callable[[], object]:
        vault = Vault.open(directory, PASSPHRASE)
        vault._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        vault._db.execute("PRAGMA journal_mode = OFF")

        def lose() -> None:
            with vault.transaction():
                for number in list(LIVING)[::2]:
                    vault.execute("DELETE FROM message WHERE seq = ?", number)
            vault.close()

        return lose

    damaged = 0
    for number, image in enumerate(spread(watched(directory, prepare), 60)):
        try:
            device = opened(image, tmp_path / str(number), key)
            damaged += kept(device.vault) not in ({*LIVING}, {*LIVING} - {*list(LIVING)[::2]})
            device.vault.close()
        except Exception:
            damaged += 1
    assert damaged > 0
