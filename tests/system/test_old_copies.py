"""A vault restored from an older copy notices and halts; so does a client whose service went back in time."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pourparler_clients.errors import Halted, Unreachable, UserError
from pourparler_clients.store import State
from pourparler_clients.testing import PASSPHRASE, House, Person, breaks
from pourparler_clients.vault import Vault
from pourparler_policies.limits import HANDSHAKE_BURST
from pourparler_service.grants import issue
from pourparler_service.testing import ServerProcess, running

OLD = "older copy"
BACK = "lost entries"


async def copied(house: House, person: Person, name: str) -> Person:
    """A copy of a vault, opened as on another disk."""
    copy = Person.open(person.copy(house.root / name), person.name)
    house.people.append(copy)
    return copy


async def test_old_copy_whose_next_act_is_to_read_halts_and_keeps_what_it_has(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("before the copy")
    image = ada.copy(house.root / "image")
    await ada.say("after the copy")
    await ada.close()
    old = Person.open(image, "ada")
    house.people.append(old)
    happened = await old.sync()
    assert [h.kind for h in happened] == ["halted"]
    assert OLD in old.log.row.trouble
    assert old.texts() == ["before the copy"]  # a halt erases nothing
    # The newer copy's token still lives, and the halt outlasts a restart.
    ada = await house.again(ada)
    await ada.say("the newer copy goes on")
    old = await house.again(old)
    assert old.state is State.HALTED
    await ben.sync()
    assert ben.texts() == ["before the copy", "after the copy", "the newer copy goes on"]


async def test_old_copy_whose_next_act_is_to_send_halts_and_seals_nothing(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    image = ada.copy(house.root / "image")
    await ada.say("after the copy")
    old = Person.open(image, "ada")
    house.people.append(old)
    with pytest.raises(Halted, match=OLD):
        await old.say("from the old copy")
    assert old.line.sealed == []
    assert old.waiting() == ["from the old copy"]
    with pytest.raises(Halted, match=OLD):
        await old.channel.refresh_keys()
    with pytest.raises(Halted, match=OLD):
        await old.channel.leave()
    await ben.sync()
    assert ben.texts() == ["after the copy"]


async def test_copy_run_at_the_same_time_is_caught_when_it_sends(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    twin = await copied(house, ada, "twin")
    await twin.sync()  # both are in order so far
    await ada.say("the original speaks")
    with pytest.raises(Halted, match=OLD):
        await twin.say("the twin speaks")
    await ben.sync()
    assert ben.texts() == ["the original speaks"]


@pytest.mark.parametrize("handshake", [False, True])
async def test_copy_run_at_the_same_time_is_caught_when_it_reads(handshake: bool, house: House) -> None:
    ada, _ben = await house.room("ada", "ben")
    twin = await copied(house, ada, "twin")
    await twin.sync()
    await (ada.channel.refresh_keys() if handshake else ada.say("the original speaks"))
    assert [h.kind for h in await twin.sync()] == ["halted"]
    assert OLD in twin.log.row.trouble


async def test_copy_taken_while_an_entry_was_under_way_sends_it_once(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    breaks("POST", "/entries", reached=True)(ada.line)
    with pytest.raises(Unreachable):
        await ada.say("under way")
    twin = await copied(house, ada, "twin")
    await ada.sync()
    await twin.sync()
    await ben.sync()
    assert ada.texts() == twin.texts() == ben.texts() == ["under way"]
    await ada.say("next")
    with pytest.raises(Halted, match=OLD):
        await twin.say("and next")


async def test_second_process_on_the_same_vault_is_refused_in_one_sentence(house: House) -> None:
    ada = await house.person("ada")
    with pytest.raises(UserError, match="another process has this vault open"):
        Vault.open(ada.directory, PASSPHRASE)
    await ada.close()
    Vault.open(ada.directory, PASSPHRASE).close()


# The service goes back


@contextlib.asynccontextmanager
async def room_with_backup(root: Path) -> AsyncIterator[tuple[ServerProcess, Path, Person, Person]]:
    """A stopped service, the copy that was made of its data, and two people who had talked before."""
    with running(root / "data", "--newcomer-handshakes", str(HANDSHAKE_BURST)) as server:
        house = House(server.url, lambda: issue(server.data)[0], root)
        try:
            ada, ben = await house.room("ada", "ben")
            await ada.say("in the backup")
            await ben.sync()
            server.stop()
            yield server, Path(shutil.copytree(server.data, root / "backup")), ada, ben
        finally:
            await house.close()


@contextlib.contextmanager
def restarted(server: ServerProcess, data: Path, *options: str) -> Iterator[ServerProcess]:
    with running(data, "--port", server.url.rpartition(":")[2], *options) as following:
        yield following


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--restored",)], ids=["unsaid", "said"])
async def test_service_restored_from_an_older_copy_is_reported_and_a_restart_is_not(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    async with room_with_backup(tmp_path) as (server, backup, ada, ben):
        with restarted(server, server.data):
            await ada.say("lost")
            await ben.sync()
        with restarted(server, backup, *options):
            with pytest.raises(Halted, match=BACK):
                await ada.say("on a log that went back")
            await ben.sync()
            for person in (ada, ben):
                assert person.state is State.HALTED
                assert BACK in person.log.row.trouble
                assert person.texts() == ["in the backup", "lost"]
                with pytest.raises(Halted, match=BACK):
                    await person.channel.refresh_keys()
