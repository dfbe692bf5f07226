"""A device that is left alone locks: the vault is closed, and nothing of it stays in a process."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pourparler_clients.testing import PASSPHRASE, Commands, House
from pourparler_clients.vault import Vault


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    commands = Commands(tmp_path_factory.mktemp("commands"))
    yield commands
    commands.close()


async def a_channel(house: House) -> Path:
    ada, ben = await house.person("ada"), await house.person("ben")
    await house.found(ada, ben)
    await ada.close()
    return ada.directory


async def test_talk_locks_when_nobody_writes_and_when_told_to(house: House, commands: Commands) -> None:
    vault = await a_channel(house)
    talk = commands.start("talk", "--vault", vault, "--json", "--lock-after", "1s", passphrase=PASSPHRASE)
    talk.event(event="ready")
    talk.event(event="locked")
    talk.end()
    Vault.open(vault, PASSPHRASE).close()  # no process has it open any more
    talk = commands.start("talk", "--vault", vault, "--json", passphrase=PASSPHRASE)
    talk.event(event="ready")
    talk.write(json.dumps({"do": "lock"}))
    talk.event(event="locked")
    talk.end()
    Vault.open(vault, PASSPHRASE).close()


async def test_clearing_tells_the_services_if_asked_to(house: House, commands: Commands) -> None:
    vault = await a_channel(house)
    done = commands("clear", "--vault", vault, "--yes", "--tell", "--json", passphrase=PASSPHRASE)
    assert done.records == [{"state": "cleared", "still_open": False, "told": 1}]
    assert not vault.exists()
