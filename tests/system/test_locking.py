"""A device that is left alone locks: the vault is closed, and nothing of it stays in a process."""

import fcntl
import json
import os
import pty
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pourparler_clients.device import Device
from pourparler_clients.instants_testing import instants, lay, spread, to_be_watched
from pourparler_clients.testing import CHEAP, PASSPHRASE, Commands, House
from pourparler_clients.vault import DATABASE_NAME, HEADER_NAME, Vault, unlock

CLOSED = {HEADER_NAME: 188, DATABASE_NAME: 2**20}  # bytes: no journal, and a size that tells nothing
SAID = "Both villages may use the wells on alternate days."


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


async def a_talk(house: House) -> Path:
    """A vault in which there is a message."""
    ada, _ = await house.room("ada", "ben")
    await ada.say(SAID)
    await ada.close()
    return ada.directory


def sizes(vault: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in vault.iterdir()}


def program(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "pourparler_clients.cli", *map(str, arguments)]


def secret() -> int:
    """A descriptor from which the passphrase is read."""
    reading, writing = os.pipe()
    os.write(writing, PASSPHRASE.encode() + b"\n")
    os.close(writing)
    return reading


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


@pytest.mark.parametrize("command", ["talk", "watch"])
async def test_a_device_that_is_cleared_in_another_window_ends_what_was_open(
    command: str, house: House, commands: Commands
) -> None:
    vault = await a_talk(house)
    talk = commands.start(command, "--vault", vault, "--json", passphrase=PASSPHRASE)
    talk.event(event="ready")
    done = commands("clear", "--vault", vault, "--yes", "--json")
    assert done.records == [{"state": "cleared", "still_open": False, "told": 0}]
    talk.event(event="cleared")
    talk.end()
    assert not vault.exists()


async def test_who_only_watches_is_locked_too(house: House, commands: Commands) -> None:
    vault = await a_channel(house)
    watch = commands.start("watch", "--vault", vault, "--json", "--lock-after", "1s", passphrase=PASSPHRASE)
    watch.event(event="ready")
    watch.event(event="locked")
    watch.end()
    assert sizes(vault) == CLOSED


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
@pytest.mark.parametrize("command", ["talk", "watch"])
async def test_a_closed_terminal_or_a_polite_end_locks(
    number: int, command: str, house: House, commands: Commands
) -> None:
    vault = await a_channel(house)
    talk = commands.start(command, "--vault", vault, "--json", passphrase=PASSPHRASE)
    talk.event(event="ready")
    assert set(sizes(vault)) > set(CLOSED)  # it is open: there is a journal
    os.kill(talk.pid, number)
    talk.end()
    assert sizes(vault) == CLOSED


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_power_cut_at_every_instant_of_an_auto_lock_loses_nothing(house: House, tmp_path: Path) -> None:
    vault, passphrase, ready = await a_talk(house), secret(), threading.Event()
    talk = subprocess.Popen(
        program("talk", "--vault", vault, "--json", "--lock-after", "3s", "--passphrase-fd", str(passphrase)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(passphrase,),
        preexec_fn=to_be_watched,  # noqa: PLW1509 -- no lock is needed in it
    )
    os.close(passphrase)
    events = []

    def listen() -> None:
        for line in talk.stdout or ():
            events.append(json.loads(line)["event"])
            if events[-1] == "ready":
                ready.set()

    listening = threading.Thread(target=listen)
    listening.start()
    images, status = instants(talk.pid, vault, ready.is_set)
    listening.join()
    for pipe in (talk.stdin, talk.stdout):
        if pipe is not None:
            pipe.close()
    talk.wait()
    assert (status, events[-1]) == (0, "locked")
    assert len(images) > 50
    assert {name: len(data) for name, data in images[-1].items()} == CLOSED
    _, (key,) = unlock(vault / HEADER_NAME, PASSPHRASE)
    for number, image in enumerate(spread(images, 60)):
        place = lay(image, tmp_path / "images" / str(number))
        opened = Vault.unlocked(place, key)
        assert opened.rows("SELECT length(text) > 0 FROM message") == [(1,)]
        opened.close()
        assert sizes(place) == CLOSED


async def test_a_lock_wipes_the_screen_and_takes_a_line_that_was_begun(house: House) -> None:
    vault, passphrase = await a_talk(house), secret()
    keyboard, terminal = pty.openpty()
    talk = subprocess.Popen(
        program("talk", "--vault", vault, "--lock-after", "4s", "--passphrase-fd", str(passphrase)),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        pass_fds=(passphrase,),
    )
    os.close(passphrase)
    shown = b""
    while b"you are connected" not in shown:
        shown += os.read(keyboard, 4096)
    assert SAID.encode() in shown
    begun = b"Nobody at home may"
    os.write(keyboard, begun)
    while begun not in shown:  # the terminal has it
        shown += os.read(keyboard, 4096)
    while b"locked" not in shown:
        shown += os.read(keyboard, 4096)
    assert talk.wait(20) == 0
    before, _, after = shown.partition(b"\x1b[H\x1b[2J\x1b[3J")
    assert SAID.encode() in before
    assert after.strip() == "— locked: the passphrase opens it again —".encode()
    # What a shell would read now: the rest of the line only, which is typed after the lock.
    os.write(keyboard, b"ls\n")
    assert os.read(terminal, 4096) == b"ls\n"
    os.close(keyboard)
    os.close(terminal)


def test_no_core_dump_of_an_open_vault_is_written(tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    Device.create(vault, PASSPHRASE, "Cedar", CHEAP).vault.close()
    dumps = []
    for main in ("run()", "sys.exit(main())"):  # the second is a control: the program without its first step
        passphrase, (reading, writing) = secret(), os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.chdir(tmp_path)
                resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
                for descriptor in (passphrase, reading):
                    os.set_inheritable(descriptor, True)
                words = ["passphrase", "--vault", str(vault), "--passphrase-fd", str(passphrase)]
                words += ["--new-passphrase-fd", str(reading)]
                code = f"import sys; from pourparler_clients.cli import main, run; {main}"
                os.execv(sys.executable, [sys.executable, "-c", code, *words])
            finally:
                os._exit(70)
        while not busy(vault):
            time.sleep(0.02)
        os.kill(child, signal.SIGABRT)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGABRT
        dumps.append(os.WCOREDUMP(status))
        for descriptor in (passphrase, reading, writing):
            os.close(descriptor)
        for dump in tmp_path.glob("core*"):
            dump.unlink()
    assert dumps == [False, True]


def busy(vault: Path) -> bool:
    """Whether a process has the vault open."""
    with (vault / HEADER_NAME).open("rb") as header:
        try:
            fcntl.flock(header, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
