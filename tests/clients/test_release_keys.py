"""Release keys in a vault: a name chooses exactly one, nothing is lost by a mistake, a forgotten one is gone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pourparler_clients import releasekeys
from pourparler_clients.device import Device
from pourparler_clients.errors import UserError
from pourparler_clients.examine import vault_pages
from pourparler_clients.testing import CHEAP, PASSPHRASE
from pourparler_clients.vault import Vault
from pourparler_crypto.errors import UsageError
from pourparler_crypto.note import ReleaseKey


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    Device.create(tmp_path / "vault", PASSPHRASE, "Cedar", CHEAP).vault.close()
    return tmp_path / "vault"


@pytest.fixture
def vault(directory: Path) -> Iterator[Vault]:
    vault = Vault.open(directory, PASSPHRASE)
    yield vault
    vault.close()


def test_keys_are_kept_by_name_and_found_by_their_public_half(vault: Vault) -> None:
    south, north = (releasekeys.add(vault, name, ReleaseKey.generate()) for name in ("south", "north"))
    assert releasekeys.all(vault) == [north, south]
    assert releasekeys.by_public(vault, south.press.public) == south
    assert releasekeys.by_public(vault, bytes(32)) is None
    assert releasekeys.choose(vault, "north") == north
    for held in (north, south):
        assert held.press.public == held.key.public
        assert held.key.seed.hex() not in repr(held)
        assert repr(held.key.seed) not in repr(held)


def test_a_vault_holds_no_key_twice_and_no_name_twice(vault: Vault) -> None:
    held = releasekeys.add(vault, "north", ReleaseKey.generate())
    for name, key, sentence in [
        ("north", held.key, "in the vault already, as north"),
        ("other", held.key, "in the vault already, as north"),
        ("north", ReleaseKey.generate(), "another release key called north"),
    ]:
        with pytest.raises(UserError, match=sentence):
            releasekeys.add(vault, name, key)
    with pytest.raises(UsageError, match="lower-case letters"):
        releasekeys.add(vault, "Nörth", ReleaseKey.generate())
    assert releasekeys.all(vault) == [held]


def test_no_key_is_guessed(vault: Vault) -> None:
    with pytest.raises(UserError, match="no release key in this vault yet"):
        releasekeys.choose(vault, None)
    north = releasekeys.add(vault, "north", ReleaseKey.generate())
    assert releasekeys.choose(vault, None) == north
    releasekeys.add(vault, "north-2027", ReleaseKey.generate())
    with pytest.raises(UserError, match="several release keys"):
        releasekeys.choose(vault, None)
    with pytest.raises(UserError, match="no release key here has this name"):
        releasekeys.choose(vault, "nort")
    assert releasekeys.choose(vault, "north") == north


def test_a_forgotten_key_is_in_no_page_of_the_vault_and_no_other_is_touched(directory: Path, vault: Vault) -> None:
    gone = releasekeys.add(vault, "gone", ReleaseKey.generate())
    stays = releasekeys.add(vault, "stays", ReleaseKey.generate())
    pages = b"".join(vault_pages(directory, PASSPHRASE))
    assert gone.key.seed in pages  # what is searched for below can be found
    assert releasekeys.forget(vault, gone.press.public)
    assert not releasekeys.forget(vault, gone.press.public)
    assert releasekeys.all(vault) == [stays]
    pages = b"".join(vault_pages(directory, PASSPHRASE))
    assert stays.key.seed in pages
    assert gone.key.seed not in pages
    assert gone.press.public not in pages


def test_a_vault_from_before_there_were_release_keys_takes_one_and_loses_nothing(directory: Path) -> None:
    vault = Vault.open(directory, PASSPHRASE)
    vault._db.execute("DROP TABLE release_key")
    vault._db.execute("PRAGMA user_version = 1")
    vault.close()
    device = Device.open(directory, PASSPHRASE)
    assert device.card.name == "Cedar"
    held = releasekeys.add(device.vault, "north", ReleaseKey.generate())
    device.vault.close()
    vault = Vault.open(directory, PASSPHRASE)
    assert releasekeys.all(vault) == [held]
    vault.close()
