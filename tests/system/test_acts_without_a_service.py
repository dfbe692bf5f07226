"""At a border there is no network: what needs one says so, and what to do; what needs none does it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pourparler_clients.testing import PASSPHRASE, Commands, House
from pourparler_clients.vault import Vault

SAID = "Both villages may use the wells on alternate days."


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    commands = Commands(tmp_path_factory.mktemp("commands"))
    yield commands
    commands.close()


async def cut_off(house: House) -> Path:
    """The vault of somebody in a channel, whose service is not there."""
    ada, _ = await house.room("ada", "ben")
    await ada.say(SAID)
    with ada.device.vault.transaction():
        ada.device.vault.execute("UPDATE channel SET url = 'http://127.0.0.1:9'")
    await ada.close()
    return ada.directory


def texts(directory: Path) -> list[tuple[int]]:
    vault = Vault.open(directory, PASSPHRASE)
    found = vault.rows("SELECT seq FROM message")
    vault.close()
    return found


@pytest.mark.parametrize(("act", "told"), [("leave", "You have not left yet"), ("close", "Nothing is ended yet")])
async def test_who_cannot_leave_or_end_a_channel_now_is_told_that_nothing_happened_and_what_works(
    act: str, told: str, house: House, commands: Commands
) -> None:
    vault = await cut_off(house)
    done = commands(act, "--yes", "--vault", vault, passphrase=PASSPHRASE)
    assert done.status == 2
    assert told in done.errors
    assert "`pourparler leave --here`" in done.errors
    assert len(texts(vault)) == 1
    # Nor does it happen by itself later, when somebody only wanted to read.
    opened = Vault.open(vault, PASSPHRASE)
    assert opened.rows("SELECT 1 FROM draft UNION ALL SELECT 1 FROM outbox") == []
    opened.close()
    assert commands("leave", "--here", "--yes", "--vault", vault, passphrase=PASSPHRASE).status == 0
    assert texts(vault) == []
