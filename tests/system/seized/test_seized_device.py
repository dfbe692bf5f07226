"""The seized device: images of every file, taken before, at and after the end of what was said, and examined
afterwards with passphrases, with no regard for clocks, by `pourparler_clients.examine`.

One story is told once: people talk, messages expire, everything is copied meanwhile. The tests look at the copies. The
same attacks succeed where the promise does not hold and does not claim to: those tests are controls.
"""

import asyncio
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pourparler_clients.device import Device
from pourparler_clients.errors import PourparlerError, Unreachable
from pourparler_clients.examine import (
    attachments_in,
    files_below,
    found,
    open_attachments,
    open_entries,
    open_texts,
    pieces,
    possible_halves,
    stored_texts,
    traces,
    vault_pages,
)
from pourparler_clients.files_testing import files
from pourparler_clients.outbox import Kind
from pourparler_clients.papers import compose
from pourparler_clients.spool import PART_FILES
from pourparler_clients.store import ChannelStore
from pourparler_clients.testing import CHEAP, PASSPHRASE, House, Person, breaks, channel_row
from pourparler_clients.vault import DATABASE_NAME, Vault
from pourparler_crypto.note import PressKey
from pourparler_crypto.releasekey import ReleaseKey
from pourparler_policies.limits import DAY, HANDSHAKE_BURST
from pourparler_policies.sounding.facts import Phase
from pourparler_service.database import OUTSIDE_BACKUPS
from pourparler_service.examine import PIECES, kept_entries, open_files, open_kept
from pourparler_service.grants import issue
from pourparler_service.testing import ServerProcess, running

LIFE = 16  # seconds that a text lives in this story: long enough to be read and copied on a slow machine
READ = ("Both villages may use the wells on alternate days.", "We could live with that, from the spring on.")
DRAFT = "A text that waits while the line is down."
UNDER_WAY = "A text that was sealed, and never arrived."
LASTING = "The date of the next meeting."
OFFLINE = "Read where there is no connection."
PAPER = "The two sides will measure the water in the wells together, every spring."
REMARK = "I cannot defend the word together at home."
SOUNDED = ("The upper village gives up its claim to the second well.", "Both villages pay for the new pump.")
UNASKED = "The lower village takes its guards away from the road."
EXPIRED = (*READ, DRAFT, UNDER_WAY, PAPER, REMARK, *SOUNDED, UNASKED)
PAPER_LIFE = 40  # seconds: it is tabled and read before the messages of the story are said
LONGEST_PAPER = 60  # seconds: the shortest rule of a charter, by which a sounding's packages end too
# Names of files and what is in them: one that everybody has and one device has fetched, one that is half attached.
FETCHED = ("a map of the wells.txt", "The second well lies behind the old school of the upper village.")
ATTACHED = ("names for the list.txt", "Nobody of those who signed the earlier list may be named again.")
MOMENTS = ("before", "at", "after")


@dataclass
class Evidence:
    """What was copied, and what copies of vaults could still do online."""

    root: Path
    sealed: list[bytes] = field(default_factory=list)  # every sealed entry that was ever sent
    opened_online: dict[str, list[str]] = field(default_factory=dict)
    expires_at: int = 0

    def vaults(self, *moments: str) -> list[Path]:
        return sorted(path for moment in moments for path in (self.root / moment).glob("vault-*"))

    def service(self, moment: str) -> Path:
        return self.root / moment / "service"

    def take(self, moment: str, house: House, data: Path) -> None:
        for person in house.people:
            if not person.closed:
                person.copy(self.root / moment / f"vault-{person.name}")
        shutil.copytree(data, self.service(moment))
        backup = shutil.ignore_patterns(OUTSIDE_BACKUPS)
        shutil.copytree(data, self.root / moment / "backup", ignore=backup)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return asyncio.run(story(tmp_path_factory.mktemp("seized")))


async def story(root: Path) -> Evidence:
    evidence = Evidence(root)
    with running(root / "data", "--newcomer-handshakes", str(HANDSHAKE_BURST)) as server:
        house = House(server.url, lambda: issue(server.data)[0], root / "people")
        try:
            await talk(house, evidence, server.data)
            await wait_for_the_ends(house, evidence, server.data)
            await go_online(evidence, "copied and run again", "vault-ben", offset=-86400)
            server.stop()
            await restore_the_backup(evidence, server)
        finally:
            await house.close()
    return evidence


async def talk(house: House, evidence: Evidence, data: Path) -> None:
    ada, ben, cleo, fay = await house.room("ada", "ben", "cleo", "fay", papers=LONGEST_PAPER)
    dan, eve = await house.room("dan", "eve", read_offline=True)
    await ada.say(LASTING)
    for name, content in (FETCHED, ATTACHED):
        (evidence.root / name).write_text(content)
    signatories = [
        (name, PressKey(f"{name}.example", ReleaseKey.generate().public)) for name in ("north", "south")
    ]
    text = compose([("en", PAPER)], signatories, int(time.time()) + DAY)
    paper = await ada.channel.releases.table(text, PAPER_LIFE)
    await ben.sync()
    await ben.channel.releases.remark(paper, REMARK)
    for person in (ada, ben, cleo, fay):
        await person.sync()
        held = person.log.signing.papers
        assert held.communique(person.log.folded.papers[paper]) == text
        assert [one.text for one in held.remarks(person.log.folded.papers[paper].text.digest)] == [REMARK]
    await sound(ada, ben, cleo, fay)
    for text in READ:
        await ada.say(text, life=LIFE)
    await dan.say(OFFLINE, life=LIFE)
    await ada.channel.uploads.attach(evidence.root / FETCHED[0], life=LIFE)
    for person in (ben, cleo, eve):  # fay's device is off meanwhile
        await person.sync()
        assert person.texts()[-1] in (FETCHED[0], OFFLINE)
    await ben.channel.downloads.fetch(files(ben)[0].seq)
    breaks("PUT", "/chunks/0", reached=False)(ben.line)
    with pytest.raises(Unreachable):
        await ben.channel.uploads.attach(evidence.root / ATTACHED[0], life=LIFE)
    for name in (FETCHED[0], ATTACHED[0]):
        (evidence.root / name).unlink()
    for person, text, method in ((ben, DRAFT, "GET"), (ada, UNDER_WAY, "POST")):
        breaks(method, "/entries", reached=False, times=9)(person.line)
        with pytest.raises(Unreachable):
            await person.say(text, life=LIFE)
    evidence.expires_at = int(time.time()) + LIFE
    evidence.take("before", house, data)
    evidence.sealed = [entry for person in house.people for entry in person.line.sealed]
    await cleo.channel.leave()
    await fay.channel.sync()
    await go_online(evidence, "of a device that is removed", "vault-cleo")


async def sound(ada: Person, ben: Person, cleo: Person, fay: Person) -> None:
    """A sounding is under way to the end of the story: nobody hands in before its packages' time is over."""
    within = {"answer_within": LONGEST_PAPER // 2, "collect_within": LONGEST_PAPER // 4}
    await fay.sync()
    breaks("POST", "/entries", reached=False)(fay.line)  # what she asks is sealed, and never arrives
    with pytest.raises(Unreachable, match="may still be sent"):
        await fay.channel.soundings.ask([UNASKED], **within)
    under_way = fay.log.store.outbox.outgoing()
    assert under_way is not None
    assert under_way.kind is Kind.SOUNDING
    await ada.channel.soundings.ask(SOUNDED, **within)
    for person in (ben, cleo, ada):
        await person.sync()
        asked = person.channel.soundings.status()
        assert asked is not None
        assert asked.packages == SOUNDED
        assert asked.phase is Phase.TAKING


async def wait_for_the_ends(house: House, evidence: Evidence, data: Path) -> None:
    await asyncio.sleep(max(0.0, evidence.expires_at + 1 - time.time()))
    evidence.take("at", house, data)
    ends = [text.end for path in evidence.vaults("before") for text in stored_texts(path, PASSPHRASE)]
    last = max(end for end in ends if end < evidence.expires_at + 60)
    await asyncio.sleep(max(0.0, last + 2 - time.time()))
    for person in house.people:
        person.device.purge()
    evidence.take("after", house, data)


async def go_online(evidence: Evidence, how: str, image: str, offset: int = 0) -> None:
    """A thief, or the police, opens a copy that was taken before, asks the service, and looks."""
    place = evidence.root / f"online {how}"
    shutil.copytree(evidence.root / "before" / image, place)
    copy = Person.open(place, image, offset=offset)
    channel = copy.channel
    for act in (channel.open_texts, channel.sync):
        try:
            await act()
        except PourparlerError:
            continue
    evidence.opened_online[how] = [
        message.text for message in channel.log.store.messages.shown(0) if channel.log.row.state != "removed"
    ]
    await copy.close()


async def restore_the_backup(evidence: Evidence, server: ServerProcess) -> None:
    """The operator puts the backup of before in place and starts; the copied vault asks it for halves."""
    data = evidence.root / "restored"
    shutil.copytree(evidence.root / "before" / "backup", data)
    with running(data, "--port", server.url.rpartition(":")[2], "--restored"):
        await go_online(evidence, "of a restored service", "vault-ben")
        await go_online(evidence, "of a restored service, the author's", "vault-ada")


def opened_with(vaults: Iterable[Path], *services: Path) -> list[bytes]:
    """What opens with every half that can be found in these files of the service."""
    halves = {half for place in services for half in possible_halves(place)}
    return open_texts([text for path in vaults for text in stored_texts(path, PASSPHRASE)], halves)


def opens(opened: list[bytes]) -> set[str]:
    """Which texts are among what was opened."""
    return {text for text in (*EXPIRED, LASTING, OFFLINE) if found(traces(text), opened)}


def opens_files(evidence: Evidence, opened: list[bytes]) -> set[str]:
    """Which files open, wherever and whenever they lay, with the keys that are in what was opened."""
    return readable(open_attachments(attachments_in(opened), sealed_files(evidence, *MOMENTS)))


def sealed_files(evidence: Evidence, *moments: str) -> list[bytes]:
    """Chunks that devices keep, and attachments at the service."""
    kept = [part for path in evidence.vaults(*moments) for part in sorted(path.glob(PART_FILES))]
    places = [evidence.service(moment) for moment in moments]
    stored = [one for place in places for one in open_files(place, possible_halves(place / OUTSIDE_BACKUPS))]
    return [*(path.read_bytes() for path in kept), *stored]


def readable(opened: list[bytes]) -> set[str]:
    return {content for _, content in (FETCHED, ATTACHED) if found(traces(content), opened)}


def held_by(place: Path, entries: Iterable[bytes]) -> list[bytes]:
    """Those of the sealed entries that are in files of the service: by their middle, for all begin alike."""
    middles = {entry[len(entry) // 2 :][:32]: entry for entry in entries}
    return [middles[piece] for piece in found(middles, files_below(place))]


def unread(evidence: Evidence, *services: Path) -> tuple[set[str], set[str]]:
    """Which texts and files a vault copied unread opens of the backup of before, with every key in these files."""
    backup = evidence.root / "before" / "backup"
    kept = kept_entries(backup)
    keys = {half for place in services for half in possible_halves(place)}
    opened = open_entries(evidence.root / "before" / "vault-fay", PASSPHRASE, open_kept(kept, keys))
    sent = open_attachments(attachments_in(opened), open_files(backup, keys))
    return {text for text in READ if found(traces(text), opened)}, readable(sent)


pytestmark = pytest.mark.slow


# Controls: where the promise does not hold, and says so, the same attack succeeds.


def test_control_a_charter_that_reads_offline_gives_expiry_up_on_a_copied_device(evidence: Evidence) -> None:
    assert OFFLINE in opens(opened_with(evidence.vaults("before")))


def test_control_who_kept_copies_of_the_services_halves_opens_a_vault_that_was_copied_too(
    evidence: Evidence,
) -> None:
    opened = opened_with(evidence.vaults("before"), evidence.service("before"))
    assert opens(opened) >= {*EXPIRED, LASTING}
    assert opens_files(evidence, opened) == {FETCHED[1], ATTACHED[1]}


def test_control_who_kept_a_copy_of_the_services_storage_keys_opens_its_backup_for_a_vault_that_had_not_read(
    evidence: Evidence,
) -> None:
    assert unread(evidence, evidence.service("before")) == ({*READ}, {FETCHED[1]})


def test_control_what_lives_still_opens_after_the_others_ended(evidence: Evidence) -> None:
    assert LASTING in opens(opened_with(evidence.vaults("before", "after"), evidence.service("after")))


# The suite


@pytest.mark.parametrize("moment", MOMENTS)
def test_nothing_expired_opens_with_the_passphrase_and_all_that_the_service_still_has(
    moment: str, evidence: Evidence
) -> None:
    vaults = [path for path in evidence.vaults(moment) if path.name not in ("vault-dan", "vault-eve")]
    assert len(vaults) == (4 if moment == "before" else 3 + (evidence.root / moment / "vault-cleo").exists())
    later = (evidence.service("after"), *(evidence.root / moment / "backup" for moment in MOMENTS))
    opened = opened_with(vaults, *later)
    assert opens(opened) <= {LASTING}
    assert opens_files(evidence, opened) == set()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_vault_that_had_not_read_a_message_opens_it_with_no_backup_and_nothing_that_the_service_still_has(
    moment: str, evidence: Evidence
) -> None:
    backups = [evidence.root / one / "backup" for one in MOMENTS]
    assert held_by(backups[0], evidence.sealed)  # handshakes, as they were sent
    if moment == "after":
        assert unread(evidence, *backups, evidence.service("after")) == (set(), set())
    assert unread(evidence, evidence.root / moment / "backup") == (set(), set())


@pytest.mark.parametrize("moment", MOMENTS)
def test_no_text_stands_in_any_file_as_it_is(moment: str, evidence: Evidence) -> None:
    """Not even a living one: raw bytes, free pages, journals, whatever lies about."""
    texts = (*EXPIRED, LASTING, OFFLINE, *FETCHED, *ATTACHED)
    needles = {trace for text in texts for trace in traces(text)}
    for path in evidence.vaults(moment):
        assert not found(needles, vault_pages(path, PASSPHRASE))
    assert not found(needles, files_below(evidence.root / moment))


def test_of_what_expired_no_sealed_piece_is_left_after_the_end(evidence: Evidence) -> None:
    lasting = {text.end for path in evidence.vaults("after") for text in stored_texts(path, PASSPHRASE)}
    before = [text for path in evidence.vaults("before") for text in stored_texts(path, PASSPHRASE)]
    gone = pieces(text.sealed for text in before if text.end not in lasting)
    assert len(gone) >= 3 * len(EXPIRED)
    for path in evidence.vaults("after"):
        if path.name not in ("vault-cleo",):
            assert not found(gone, vault_pages(path, PASSPHRASE))
    left = held_by(evidence.service("after"), evidence.sealed)
    assert 0 < len(left) <= len(evidence.sealed) - 3  # handshakes: what was said is there in no other form either
    before = {one.entry: one for one in kept_entries(evidence.service("before")) if not one.handshake}
    after = {one.entry for one in kept_entries(evidence.service("after"))}
    gone = {piece for entry, one in before.items() if entry not in after for piece in one.pieces()}
    assert len(gone) >= 3 * PIECES  # what was read, and what another room said
    assert not found(gone, files_below(evidence.service("after")))
    for path in evidence.vaults("before", "at", "after"):
        opened = open_entries(path, PASSPHRASE, left)
        assert not found((trace for text in READ for trace in traces(text)), opened)


def test_what_a_device_keeps_of_a_file_is_gone_after_its_end_and_is_never_what_the_service_has(
    evidence: Evidence,
) -> None:
    kept = [part for path in evidence.vaults("before") for part in path.glob(PART_FILES)]
    assert {part.parent.name for part in kept} == {"vault-ben"}
    assert len(kept) == 2  # one fetched, one half attached
    assert len(sealed_files(evidence, "before")) > 2
    assert sealed_files(evidence, "after") == []
    middles = pieces(part.read_bytes() for part in kept)
    assert not found(middles, files_below(evidence.service("before")))
    assert not found(middles, files_below(evidence.root / "after"))


def test_channel_keys_of_a_device_that_had_read_open_nothing_that_a_backup_has(evidence: Evidence) -> None:
    for path in evidence.vaults(*MOMENTS):
        if path.name != "vault-fay" or "before" not in path.parts:
            opened = open_entries(path, PASSPHRASE, evidence.sealed)
            assert not found((trace for text in EXPIRED for trace in traces(text)), opened)


@pytest.mark.parametrize(
    "how",
    [
        "copied and run again",
        "of a device that is removed",
        "of a restored service",
        "of a restored service, the author's",
    ],
)
def test_a_copy_that_goes_online_gets_nothing_that_is_over_whatever_its_clock_says(
    how: str, evidence: Evidence
) -> None:
    assert set(evidence.opened_online[how]) <= ({LASTING} if how == "copied and run again" else set())


def test_locked_without_its_passphrase_a_vault_says_nothing_but_its_class_of_size(
    evidence: Evidence, tmp_path: Path
) -> None:
    needles = {trace for word in ("Two wells", "Side 0", *EXPIRED, LASTING, *FETCHED) for trace in traces(word)}
    with_channel = evidence.vaults("after")[0]
    vault = Vault.open(Path(shutil.copytree(with_channel, tmp_path / "copy")), PASSPHRASE)
    (channel,) = ChannelStore.all(vault)
    row = ChannelStore(vault, channel).row()
    assert row is not None
    needles |= {channel, row.token, row.credential, row.device}
    vault.close()
    assert not found(needles, files_below(with_channel))
    sizes = set()
    for number in (0, 1, 5):
        Device.create(tmp_path / str(number), PASSPHRASE, "Cedar", CHEAP).vault.close()
        vault = Vault.open(tmp_path / str(number), PASSPHRASE)
        for place in range(number):
            with vault.transaction():
                ChannelStore(vault, bytes([place]) * 16).insert(channel_row(bytes([place]) * 16, f"title {place}"))
        vault.close()
        sizes.add(tuple((path.name, path.stat().st_size) for path in sorted((tmp_path / str(number)).iterdir())))
    assert len(sizes) == 1
    assert (tmp_path / "copy" / DATABASE_NAME).stat().st_size in {2**power for power in range(20, 30)}
