"""The examiner's table of columns is the vault's schema: what is new in a vault is tried, searched or explained."""

from pathlib import Path

import pytest

from pourparler_clients.examine_columns import COLUMNS, KEY, SEALED, columns
from pourparler_clients.schema import MIGRATIONS
from pourparler_clients.testing import CHEAP, PASSPHRASE
from pourparler_clients.vault import Vault


def told_by(vault: Vault) -> dict[str, set[str]]:
    """Tables of a vault, and their columns that hold bytes or words."""
    tables = vault.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    found = {}
    for (table,) in tables:
        held = {row[1] for row in vault.rows(f"PRAGMA table_info({table})") if row[2] != "INTEGER"}
        if held:
            found[table] = held
    return found


def unexplained(vault: Vault) -> set[str]:
    """Columns of one and not of the other."""
    schema = {f"{table}.{column}" for table, held in told_by(vault).items() for column in held}
    table = {f"{table}.{column}" for table, held in COLUMNS.items() for column in held}
    return schema ^ table


def test_every_column_of_a_vault_is_tried_as_a_key_searched_as_ciphertext_or_named_with_a_reason(
    tmp_path: Path,
) -> None:
    vault = Vault.create(tmp_path / "vault", PASSPHRASE, CHEAP)
    assert unexplained(vault) == set()
    vault.close()


@pytest.mark.parametrize(
    "change",
    ["CREATE TABLE later (one INTEGER PRIMARY KEY, kept BLOB)", "ALTER TABLE card ADD COLUMN kept BLOB"],
)
def test_control_a_new_table_or_column_is_noticed(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pourparler_clients.vault.MIGRATIONS", [*MIGRATIONS, [change]])
    vault = Vault.create(tmp_path / "vault", PASSPHRASE, CHEAP)
    assert {one.partition(".")[2] for one in unexplained(vault)} == {"kept"}
    vault.close()


def test_every_column_is_a_key_or_sealed_or_has_a_reason_in_words() -> None:
    for table, held in COLUMNS.items():
        for column, part in held.items():
            words = isinstance(part, str) and part not in (KEY, SEALED) and len(part.split()) >= 2
            assert words or (table, column) in {*columns(KEY), *columns(SEALED)}, f"{table}.{column}"


def test_whatever_is_called_sealed_secret_or_key_is_not_explained_away() -> None:
    """`record.key` is the name of a record, `member.keys` and `release_key.public` are public."""
    telling = {
        "sealed",
        "secret",
        "key",
        "half",
        "seed",
        "token",
        "private",
        "envelope",
        "content",
        "packet",
        "share",
    }
    tried = {*columns(KEY), *columns(SEALED), ("record", "key")}
    assert not {(t, c) for t, held in COLUMNS.items() for c in held if c in telling} - tried
