"""A file in a channel lives, ends and is counted as a message is, and nothing readable of it lies on a disk."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from pourparler_clients.api import Api
from pourparler_clients.errors import Halted, Unreachable, UserError
from pourparler_clients.examine import files_below, found, open_texts, stored_texts, traces, vault_pages
from pourparler_clients.files_testing import announced, files, parts, put
from pourparler_clients.saving import place
from pourparler_clients.spool import Spool
from pourparler_clients.testing import PASSPHRASE, House, Person, breaks
from pourparler_clients.uploads import Source, size_for
from pourparler_clients.vault import clear
from pourparler_crypto.attachment import capacity
from pourparler_policies.errors import Misuse
from pourparler_policies.fold.facts import Close, Erase, Recess
from pourparler_policies.limits import ATTACHMENT_SIZES, DAY, HOUR, MINUTE, chunk_of
from pourparler_service.grants import issue
from pourparler_service.testing import running

TEXT = "Both villages may use the wells on alternate days.\n" * 200
LONG = TEXT * 60  # more than two chunks


def written(root: Path, name: str = "minutes.txt", text: str = TEXT) -> Path:
    path = root / name
    path.write_text(text)
    return path


def at_the_service(data: Path) -> list[Path]:
    return sorted((data / "attachments").iterdir())


async def test_a_file_is_attached_listed_shown_and_saved(pair: list[Person], data: Path, tmp_path: Path) -> None:
    ada, ben = pair
    path, seen = written(tmp_path, text=LONG), []
    await ada.channel.uploads.attach(path, report=lambda *far: seen.append(far))
    assert seen[0] == (0, 4)
    assert seen[-1] == (4, 4)
    (happened,) = [one for one in await ben.sync() if one.kind == "said"]
    message = files(ben)[-1]
    assert happened.message == message
    assert (message.text, message.own, message.attached is not None) == ("minutes.txt", False, True)
    assert message.attached is not None
    assert (message.attached.length, message.attached.kind) == (len(LONG), "text/plain")
    assert await ben.channel.downloads.text(message.seq) == (message, LONG)
    folder = tmp_path / "folder"
    folder.mkdir()
    first = await ben.channel.downloads.save(message.seq, folder)
    second = await ben.channel.downloads.save(message.seq, folder)
    assert [first.name, second.name] == ["minutes.txt", "minutes (2).txt"]
    assert first.read_text() == second.read_text() == LONG
    assert first.stat().st_mode & 0o777 == 0o600
    assert parts(ada) == parts(ben) == []
    assert (await ada.channel.downloads.text(files(ada)[-1].seq))[1] == LONG  # its author sees what the others see
    assert at_the_service(data) != []


async def test_nothing_readable_of_a_file_is_on_any_disk_while_it_is_sent_and_fetched(
    pair: list[Person], data: Path, tmp_path: Path
) -> None:
    ada, ben = pair
    path = written(tmp_path, "the wells of both villages.txt", LONG)
    needles = {*traces(TEXT[:50]), *traces(path.name)}
    for method, person in (("PUT", ada), ("GET", ben)):
        breaks(method, "/chunks/2", reached=False)(person.line)
        with pytest.raises(Unreachable, match="goes on"):
            if method == "PUT":
                await ada.channel.uploads.attach(path)
            else:
                await ben.channel.downloads.fetch(files(ben)[-1].seq)
        assert len(parts(person)) == 1
        assert parts(person)[0].stat().st_mode & 0o777 == 0o600
        image = person.copy(tmp_path / f"image-{person.name}")
        assert not found(needles, [*files_below(image), *vault_pages(image, PASSPHRASE)])
        # With the service's halves the key is there to be had: the search looks in the right place.
        halves = person.log.store.hours.at_hand().values()
        assert found(needles, open_texts(stored_texts(image, PASSPHRASE), halves))
        if method == "PUT":
            await ada.channel.uploads.send()
            await ben.sync()
    # What a device keeps is not what the service has: nobody joins the two without a key.
    attached = files(ben)[-1].attached
    assert attached is not None
    stored = (data / "attachments" / attached.attachment.hex()).read_bytes()
    pieces = {stored[start : start + 32] for start in range(0, 4 * 262144, 4096)} - {bytes(32)}
    assert not found(pieces, [*files_below(tmp_path / "image-ada"), *files_below(tmp_path / "image-ben")])
    assert (await ben.channel.downloads.text(files(ben)[-1].seq))[1] == LONG


async def test_sending_and_fetching_go_on_where_they_stopped_also_in_another_process(
    house: House, tmp_path: Path
) -> None:
    ada, ben = await house.room("ada", "ben")
    breaks("PUT", "/chunks/2", reached=True)(ada.line)
    with pytest.raises(Unreachable, match="goes on with `pourparler attach`"):
        await ada.channel.uploads.attach(written(tmp_path, text=LONG))
    assert files(ada) == []
    ada = await house.again(ada)
    assert ada.channel.uploads.waiting() == 1
    assert await ada.channel.uploads.send() == 1
    assert sum(method == "PUT" for method, _ in ada.line.requests) == 1
    await ben.sync()
    breaks("GET", "/chunks/2", reached=False)(ben.line)
    with pytest.raises(Unreachable):
        await ben.channel.downloads.text(files(ben)[0].seq)
    ben = await house.again(ben)
    assert (await ben.channel.downloads.text(files(ben)[0].seq))[1] == LONG
    fetched = [path.rpartition("/")[2] for method, path in ben.line.requests if "/chunks/" in path]
    assert fetched == ["2", "3"]


async def test_only_its_own_token_and_a_connection_of_its_own_go_with_chunks(
    pair: list[Person], tmp_path: Path
) -> None:
    ada, ben = pair
    opened: list[tuple[bytes | None, str]] = []

    def watched(person: Person) -> None:
        def connect(url: str, bearer: bytes | None) -> Api:
            opened.append((bearer, person.name))
            return person.line.connect(url, bearer)

        person.channel._connect = connect

    watched(ada)
    watched(ben)
    await ada.channel.uploads.attach(written(tmp_path))
    await ben.sync()
    await ben.channel.downloads.text(files(ben)[-1].seq)
    attached = files(ben)[-1].attached
    assert attached is not None
    assert opened == [(attached.token, "ada"), (attached.token, "ben")]
    assert attached.token not in (ada.log.row.token, ben.log.row.token)


# Ends


async def test_a_file_ends_with_its_life_everywhere_and_takes_what_was_fetched_with_it(
    house: House, tmp_path: Path
) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.channel.uploads.attach(written(tmp_path, text=LONG), life=HOUR)
    await ben.sync()
    (message,) = files(ben)
    assert message.expires_at <= ben.clock() + HOUR
    await ben.channel.downloads.fetch(message.seq)
    assert len(parts(ben)) == 1
    for person in (ada, ben):
        person.clock.offset = HOUR + 1
        person.device.purge()
        assert files(person) == []
        assert parts(person) == []
        assert person.device.vault.rows("SELECT * FROM room") == []
        assert person.device.vault.rows("SELECT * FROM spool") == []
    with pytest.raises(UserError, match="no file of this number"):
        await ben.channel.downloads.text(message.seq)


async def test_a_file_that_ends_while_it_is_fetched_is_gone_at_once(house: House, tmp_path: Path) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.channel.uploads.attach(written(tmp_path, text=LONG), life=HOUR)
    await ben.sync()

    def its_end_comes(done: int, total: int) -> None:
        if done == 2:
            ben.clock.offset = HOUR + 1
            ben.device.purge()

    with pytest.raises(UserError, match="no longer there"):
        await ben.channel.downloads.fetch(files(ben)[0].seq, its_end_comes)
    assert parts(ben) == []


async def test_what_was_not_sent_in_its_life_is_erased_and_never_said(house: House, tmp_path: Path) -> None:
    ada, ben = await house.room("ada", "ben")
    breaks("PUT", "/chunks/0", reached=False)(ada.line)
    with pytest.raises(Unreachable):
        await ada.channel.uploads.attach(written(tmp_path), life=HOUR)
    assert len(parts(ada)) == 1
    ada.clock.offset = HOUR
    ada.device.purge()
    assert parts(ada) == []
    assert await ada.channel.uploads.send() == 0
    await ben.sync()
    assert files(ada) == files(ben) == []


async def test_a_file_that_took_long_to_be_sent_ends_when_it_would_have_ended(
    house: House, tmp_path: Path
) -> None:
    ada, ben = await house.room("ada", "ben")
    breaks("GET", "/entries", reached=False)(ada.line)  # all of it was sent, and nothing said yet
    with pytest.raises(Unreachable):
        await ada.channel.uploads.attach(written(tmp_path), life=2 * HOUR)
    ada.clock.offset = HOUR
    await ada.sync()
    await ben.sync()
    (message,) = files(ben)
    assert message.expires_at - message.received_at <= HOUR


async def test_a_file_that_its_author_takes_back_ends_at_the_service_and_on_every_device(
    house: House, data: Path, tmp_path: Path
) -> None:
    ada, ben, cleo = await house.room("ada", "ben", "cleo")
    before = set(at_the_service(data))
    await ada.channel.uploads.attach(written(tmp_path))
    await ada.channel.uploads.attach(written(tmp_path, "stays.txt"))
    await ben.sync()
    (message, _) = files(ben)
    await ben.channel.downloads.fetch(message.seq)
    assert len(set(at_the_service(data)) - before) == 2
    await ada.channel.shorten(message.seq, 0)
    assert len(set(at_the_service(data)) - before) == 1
    with pytest.raises(UserError, match="no longer there"):  # whoever has not heard of it yet
        ben.channel.downloads.forget(message)
        await ben.channel.downloads.text(message.seq)
    await ben.sync()
    await cleo.sync()
    for person in (ada, ben, cleo):
        assert [one.text for one in files(person)] == ["stays.txt"]
        assert parts(person) == []
    assert cleo.log.row.missed == 1  # that it was a file, and which, is not said


async def test_a_shorter_life_holds_for_a_file_here_and_at_the_service(
    house: House, data: Path, tmp_path: Path
) -> None:
    ada, ben = await house.room("ada", "ben")
    before = set(at_the_service(data))
    await ada.channel.uploads.attach(written(tmp_path))
    await ben.sync()
    await ada.channel.shorten(files(ada)[0].seq, HOUR)
    await ben.sync()
    assert files(ben)[0].expires_at <= ben.clock() + HOUR
    assert (await ben.channel.downloads.text(files(ben)[0].seq))[1] == TEXT
    ada.clock.offset = HOUR
    await ada.sync()
    assert set(at_the_service(data)) == before


@pytest.mark.parametrize("subject", ["erase", "recess"])
async def test_ending_a_session_erases_its_files_also_at_the_service(
    subject: str, house: House, data: Path, tmp_path: Path
) -> None:
    ada, ben = await house.room("ada", "ben")
    before = set(at_the_service(data))
    await ada.channel.uploads.attach(written(tmp_path))
    await ben.channel.uploads.attach(written(tmp_path, "ours.txt"))
    await ada.sync()
    await ada.channel.downloads.fetch(files(ada)[1].seq)
    await house.agree(ada, Erase(ada.log.row.cursor) if subject == "erase" else Recess(ada.clock() + 30 * DAY))
    for person in (ada, ben):
        await person.sync()
        assert files(person) == []
        assert parts(person) == []
    assert set(at_the_service(data)) == before


@pytest.mark.parametrize("how", ["left", "closed", "forgotten"])
async def test_who_is_out_of_the_channel_keeps_nothing_of_its_files(
    how: str, house: House, tmp_path: Path
) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.channel.uploads.attach(written(tmp_path))
    await ben.sync()
    await ben.channel.downloads.fetch(files(ben)[0].seq)
    breaks("PUT", "/chunks/0", reached=False)(ben.line)
    with pytest.raises(Unreachable):
        await ben.channel.uploads.attach(written(tmp_path))
    assert len(parts(ben)) == 2
    if how == "left":
        await ben.channel.leave()
    elif how == "closed":
        await house.agree(ada, Close())
    else:
        await ben.device.forget(ben.channel.id)
    assert parts(ben) == []
    for table in ("room", "spool", "draft", "message"):
        assert ben.device.vault.rows(f"SELECT * FROM {table}") == []


async def test_life_after_reading_begins_when_a_file_is_opened_not_when_its_name_is_shown(
    house: House, tmp_path: Path
) -> None:
    ada, ben = await house.room("ada", "ben", after_reading=MINUTE)
    await ada.channel.uploads.attach(written(tmp_path))
    await ben.sync()
    assert len(await ben.channel.read(files(ben))) == 1
    assert files(ben)[0].expires_at > ben.clock() + DAY
    await ben.channel.downloads.fetch(files(ben)[0].seq)
    assert files(ben)[0].expires_at > ben.clock() + DAY
    await ben.channel.downloads.text(files(ben)[0].seq)
    assert files(ben)[0].expires_at <= ben.clock() + MINUTE
    assert (await ben.channel.downloads.text(files(ben)[0].seq))[1] == TEXT  # stored anew under its shorter end


async def test_a_file_whose_shorter_key_is_not_at_hand_is_not_shown_yet(house: House, tmp_path: Path) -> None:
    ada, ben = await house.room("ada", "ben", after_reading=MINUTE)
    await ada.channel.uploads.attach(written(tmp_path))
    await ben.sync()
    breaks("POST", "/halves", reached=False, times=1000)(ben.line)
    ben.clock.offset = HOUR
    with pytest.raises(Unreachable, match="connect, and try again"):
        await ben.channel.downloads.text(files(ben)[0].seq)
    ben.line.before_request = None
    assert (await ben.channel.downloads.text(files(ben)[0].seq))[1] == TEXT


async def test_files_that_ended_unread_are_counted_like_messages(house: House, tmp_path: Path) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.channel.uploads.attach(written(tmp_path), life=4)
    await ada.say("a word", life=4)
    await asyncio.sleep(max(0.0, ada.log.store.messages.shown(0)[-1].expires_at + 1 - time.time()))
    await ben.sync()
    assert (files(ben), ben.log.row.missed) == ([], 2)


async def test_a_file_that_was_given_up_is_nowhere(pair: list[Person], data: Path, tmp_path: Path) -> None:
    ada, ben = pair
    before, listed = set(at_the_service(data)), files(ben)
    rooms = ada.device.vault.rows("SELECT * FROM room")
    breaks("PUT", "/chunks/1", reached=True)(ada.line)
    with pytest.raises(Unreachable):
        await ada.channel.uploads.attach(written(tmp_path, text=LONG))
    assert set(at_the_service(data)) != before
    assert await ada.channel.uploads.give_up() == 1
    await ada.sync()
    await ben.sync()
    assert set(at_the_service(data)) == before
    assert (parts(ada), files(ben), ada.device.vault.rows("SELECT * FROM room")) == ([], listed, rooms)


async def test_while_there_is_an_alarm_nothing_of_a_file_is_sent(pair: list[Person], tmp_path: Path) -> None:
    ada, _ = pair
    breaks("PUT", "/chunks/0", reached=False)(ada.line)
    with pytest.raises(Unreachable):
        await ada.channel.uploads.attach(written(tmp_path))
    with ada.log.step():
        ada.log.alarm("it could be a fork")
    before = len(ada.line.requests)
    with pytest.raises(Halted):
        await ada.channel.uploads.send()
    with pytest.raises(Halted):
        await ada.channel.uploads.attach(written(tmp_path))
    assert len(ada.line.requests) == before
    ada.log.resume()
    assert await ada.channel.uploads.send() == 1


async def test_clearing_a_device_takes_kept_chunks_with_it(house: House, tmp_path: Path) -> None:
    ada, _ = await house.room("ada", "ben")
    breaks("PUT", "/chunks/0", reached=False)(ada.line)
    with pytest.raises(Unreachable):
        await ada.channel.uploads.attach(written(tmp_path))
    await ada.close()
    assert len(parts(ada)) == 1
    (tmp_path / "name").hardlink_to(parts(ada)[0])  # sees the bytes where they lay
    kept = (tmp_path / "name").read_bytes()
    clear(ada.directory)
    assert not ada.directory.exists()
    assert not found({kept[:32], kept[30000:30032]}, [(tmp_path / "name").read_bytes()])


# What cannot be attached


async def test_what_cannot_be_attached_is_refused_in_one_sentence_and_changes_nothing(
    pair: list[Person], tmp_path: Path
) -> None:
    ada, _ = pair
    uploads, before = ada.channel.uploads, len(files(ada))
    empty, big = tmp_path / "empty.txt", tmp_path / "big.bin"
    empty.touch()
    with big.open("wb") as file:
        file.truncate(100 * 1024 * 1024 + 1024 * 1024)
    os.mkfifo(tmp_path / "pipe")
    for path, why in (
        (tmp_path / "nowhere.txt", "cannot be read"),
        (tmp_path, "not a file"),
        (tmp_path / "pipe", "not a file"),
        (Path("/dev/null"), "not a file"),
        (empty, "is empty"),
        (big, "at most 100 MiB"),
    ):
        with pytest.raises(UserError, match=why):
            await uploads.attach(path)
    hidden = written(tmp_path, ".hidden")
    with pytest.raises(Misuse, match="rename the file"):
        await uploads.attach(hidden)
    await uploads.attach(hidden, name="shown.txt")
    with pytest.raises(UserError, match="lives 1 to"):
        await uploads.attach(written(tmp_path), life=365 * DAY)
    assert [one.text for one in files(ada)][before:] == ["shown.txt"]
    assert (parts(ada), uploads.waiting()) == ([], 0)


async def test_a_file_that_changes_while_it_is_read_is_not_attached(
    pair: list[Person], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, _ = pair
    path = written(tmp_path, text=LONG)
    read = Source.read

    for change in (lambda: path.write_text(LONG[:-1]), lambda: path.write_text(LONG + "more")):

        def changing(source: Source, size: int, change: object = change) -> bytes:
            change()  # type: ignore[operator]
            return read(source, size)

        monkeypatch.setattr(Source, "read", changing)
        with pytest.raises(UserError, match="was changed while it was read"):
            await ada.channel.uploads.attach(path)
        path.write_text(LONG)
    assert (parts(ada), ada.channel.uploads.waiting()) == ([], 0)


async def test_a_full_disk_loses_nothing_and_leaves_nothing_half_done(
    pair: list[Person], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, ben = pair
    put = Spool.put

    def full(spool: Spool, number: int, chunk: bytes) -> None:
        if number == 2:
            raise OSError(28, "No space left on device")
        put(spool, number, chunk)

    path = written(tmp_path, text=LONG)
    with monkeypatch.context() as full_disk:
        full_disk.setattr(Spool, "put", full)
        with pytest.raises(OSError, match="No space"):
            await ada.channel.uploads.attach(path)
        assert (parts(ada), ada.channel.uploads.waiting()) == ([], 0)
    await ada.channel.uploads.attach(path)
    await ben.sync()
    with monkeypatch.context() as full_disk:
        full_disk.setattr(Spool, "put", full)
        with pytest.raises(OSError, match="No space"):
            await ben.channel.downloads.fetch(files(ben)[-1].seq)
    assert (await ben.channel.downloads.text(files(ben)[-1].seq))[1] == LONG
    assert sum(url.endswith("/chunks/0") for _, url in ben.line.requests) == 1


@pytest.mark.parametrize(
    ("cap", "bytes_", "why"),
    [
        ("--largest-attachment", 131072, "takes files of at most 128 KiB"),
        ("--attachments-a-channel", ATTACHMENT_SIZES[-1], "room for the files of this channel is full"),
    ],
)
async def test_the_operators_limits_are_told_in_one_sentence(
    cap: str, bytes_: int, why: str, tmp_path: Path
) -> None:
    with running(tmp_path / "small", cap, str(bytes_)) as small:
        house = House(small.url, lambda: issue(small.data)[0], tmp_path / "people")
        (ada, _) = await house.opened("ada", "ben")
        # The quota is counted when room is made, whole or not: the largest class fills it.
        await put(ada, announced(b"x", size=bytes_), [])
        with pytest.raises(UserError, match=why):
            await ada.channel.uploads.attach(written(tmp_path, text=LONG))
        assert (parts(ada), ada.channel.uploads.waiting()) == ([], 0)
        await house.close()


def test_the_smallest_class_that_fits_is_taken_and_the_largest_holds_100_mib() -> None:
    for size in ATTACHMENT_SIZES:
        room = capacity(size, chunk_of(size))
        assert size_for(room) == size
        if size != ATTACHMENT_SIZES[-1]:
            assert size_for(room + 1) > size
    assert size_for(100 * 1024 * 1024) == ATTACHMENT_SIZES[-1]


# What is saved


async def test_a_copy_takes_the_place_of_no_other_and_follows_no_link(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("mine")
    (folder / "a (2).txt").symlink_to(tmp_path / "elsewhere")
    assert place(folder, "a.txt", lambda: [b"theirs"]).name == "a (3).txt"
    assert (folder / "a.txt").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("nameless", [True, False])
def test_a_copy_that_breaks_off_leaves_nothing(
    nameless: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE")

    def breaking() -> object:
        yield b"half of it"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        place(tmp_path, "a.txt", breaking)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    path = place(tmp_path, "a.txt", lambda: [b"one, ", b"two"])
    assert path.read_bytes() == b"one, two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert place(tmp_path, "a.txt", lambda: [b"three"]).name == "a (2).txt"


async def test_nothing_is_saved_into_the_vaults_own_folder_or_into_none(
    pair: list[Person], tmp_path: Path
) -> None:
    ada, _ = pair
    await ada.channel.uploads.attach(written(tmp_path))
    message = files(ada)[-1]
    for folder, why in ((ada.directory, "the vault's folder"), (tmp_path / "nowhere", "is not a folder")):
        with pytest.raises(UserError, match=why):
            await ada.channel.downloads.save(message.seq, folder)
