"""Who erases a device in the midst of a signature is told what that does to the others, and asked once more."""

from pathlib import Path

from pourparler_clients.signing_testing import Hours, release_room, stage_of
from pourparler_clients.testing import PASSPHRASE, Commands, House
from pourparler_policies.release.device import Stage


async def test_a_device_with_an_unfinished_signature_is_erased_only_after_a_second_yes(
    house: House, hours: Hours, tmp_path: Path
) -> None:
    room = await release_room(house, hours, "ada", "ben")
    ada = room.parties[0]
    await room.ready()
    await room.sign(ada)
    assert stage_of(ada) is Stage.SIGNED
    # The commands look at the vault alone: their clock is not that of the service.
    await ada.close()
    (tmp_path / "commands").mkdir()
    commands = Commands(tmp_path / "commands")
    vault = ("--vault", ada.directory)
    for arguments in (("leave", "--here", "--yes"), ("clear", "--tell", "--yes")):
        done = commands(*arguments, *vault, passphrase=PASSPHRASE)
        assert done.status == 2, done
        assert "a joint text is being signed on this device" in done.errors
        assert (ada.directory / "header").exists() or any(ada.directory.iterdir())
    assert "nobody\ncan tell here whether" in commands("clear", *vault).errors
    assert commands("leave", "--here", "--yes", "--yes", *vault, passphrase=PASSPHRASE).status == 0
    assert commands("clear", "--yes", *vault).status == 0
    commands.close()
