"""Texts that have ended leave no piece of themselves in any page of the vault."""

import random
import re
from pathlib import Path

from pourparler_clients.device import Device
from pourparler_clients.ending import SPOKEN
from pourparler_clients.examine import vault_pages
from pourparler_clients.hours import ALONE, DRAFT, IDEA, NOTE, REMARK, SEED, SOUNDED, SPACE, WORDS
from pourparler_clients.messages import Message
from pourparler_clients.store import ChannelStore
from pourparler_clients.testing import CHEAP, PASSPHRASE, channel_row
from pourparler_clients.vault import Vault
from pourparler_policies.limits import MAX_SEQ

CHANNEL = bytes(16)
# What a device needs to end a channel with the others: who they are, keys, what it still says, or ends at the service.
NEEDED = {
    *("record", "chain", "consent", "member", "complaint", "vault_half", "seed", "patience"),
    *("outbox", "sent", "room"),
}
CASCADES = {"spool"}  # with its draft or message
SIZES = (3, 20, 90, 300, 520, 1500)  # tokens of eight bytes: within a page, about a page, over several


def tokens(pages: list[bytes]) -> set[int]:
    """Which texts are recognised by any eight bytes of theirs."""
    return {int(number) for page in pages for number in re.findall(rb"<([0-9]{6})>", page)}


def fill(vault: Vault, chosen: random.Random, numbers: range) -> None:
    store = ChannelStore(vault, CHANNEL)
    for number in numbers:
        text = f"<{number:06}>" * chosen.choice(SIZES)
        with vault.transaction():
            store.messages.add(Message(number, bytes(16), b"%016d" % number, "", ALONE, 0, 2**40, own=False))
            # As if it were not sealed, so that any eight bytes of it are recognised.
            vault.execute("UPDATE message SET text = ? WHERE seq = ?", text.encode(), number)


def end(vault: Vault, numbers: set[int]) -> None:
    with vault.transaction():
        for number in numbers:
            vault.execute("UPDATE message SET expires_at = 1 WHERE seq = ?", number)


def test_thousands_of_texts_that_ended_in_any_order_leave_no_piece(tmp_path: Path) -> None:
    chosen = random.Random(7)
    Device.create(tmp_path / "vault", PASSPHRASE, "Cedar", CHEAP).vault.close()
    device = Device.open(tmp_path / "vault", PASSPHRASE)
    with device.vault.transaction():
        ChannelStore(device.vault, CHANNEL).insert(channel_row(CHANNEL, "Two wells"))
    alive: set[int] = set()
    for round_ in range(4):
        numbers = range(round_ * 500, round_ * 500 + 500)
        fill(device.vault, chosen, numbers)
        alive |= set(numbers)
        ended = set(chosen.sample(sorted(alive), len(alive) * 2 // 3))
        end(device.vault, ended)
        alive -= ended
        assert device.purge() == len(ended)
        assert tokens(list(vault_pages(tmp_path / "vault", PASSPHRASE))) == alive
    device.vault.close()


def test_what_was_erased_without_a_purge_is_gone_when_the_vault_is_closed(tmp_path: Path) -> None:
    chosen = random.Random(8)
    vault = Vault.create(tmp_path / "vault", PASSPHRASE, CHEAP)
    with vault.transaction():
        ChannelStore(vault, CHANNEL).insert(channel_row(CHANNEL, "Two wells"))
    alive: set[int] = set()
    for start in range(0, 1200, 300):
        fill(vault, chosen, range(start, start + 300))
        alive |= set(range(start, start + 300))
        ended = chosen.sample(sorted(alive), len(alive) * 2 // 3)
        with vault.transaction():
            for number in ended:
                vault.execute("DELETE FROM message WHERE seq = ?", number)
        alive -= set(ended)
    vault.close()
    assert tokens(list(vault_pages(tmp_path / "vault", PASSPHRASE))) == alive


def test_number_of_a_channel_stays_when_its_keys_are_updated_and_another_goes(tmp_path: Path) -> None:
    vault = Vault.create(tmp_path / "vault", PASSPHRASE, CHEAP)
    ids = [bytes([9 - place]) * 16 for place in range(3)]
    for place, channel in enumerate(ids):
        with vault.transaction():
            ChannelStore(vault, channel).insert(channel_row(channel, f"title {place}", updated_at=place))
    first = ChannelStore(vault, ids[0])
    changed = first.row()
    assert changed is not None
    changed.updated_at = 10**9
    with vault.transaction():
        first.save(changed)
    assert ChannelStore.all(vault) == ids
    with vault.transaction():
        first.delete()
    rows = [ChannelStore(vault, channel).row() for channel in ids[1:]]
    assert [one.number for one in rows if one] == [2, 3]
    vault.close()


def test_every_table_of_a_channel_is_erased_when_its_end_begins_or_is_needed_for_its_end(tmp_path: Path) -> None:
    """Whoever adds a table says which."""
    Device.create(tmp_path / "vault", PASSPHRASE, "Cedar", CHEAP).vault.close()
    device = Device.open(tmp_path / "vault", PASSPHRASE)
    names = [name for (name,) in device.vault.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    of_channels = {
        name
        for name in names
        if any(row[1] == "channel" for row in device.vault.rows(f"PRAGMA table_info({name})"))
    }
    assert set(SPOKEN) | NEEDED | CASCADES == of_channels
    assert not set(SPOKEN) & NEEDED
    with device.vault.transaction():
        store = ChannelStore(device.vault, CHANNEL)
        store.insert(channel_row(CHANNEL, "Two wells"))
        store.erase_spoken(SPOKEN)
    device.vault.close()


def test_numbers_under_which_things_are_sealed_are_of_one_kind_only() -> None:
    kinds = (0, DRAFT, IDEA, SEED, WORDS, REMARK, NOTE, SOUNDED)
    assert len(set(kinds)) == len(kinds)
    assert all(kind % SPACE == 0 and kind + SPACE <= 2**63 for kind in kinds)
    assert MAX_SEQ < SPACE
    assert SPACE >= 2**48
