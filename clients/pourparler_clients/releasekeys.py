"""A party's release keys in the vault: made for joint releases alone, and apart from the card and its channels.

1. A key leaves the vault in two ways only: sealed under a passphrase of its own (`crypto.note.backup`), or as the
   signatures of a joint release.
2. No two keys of a vault have one name: a name chooses exactly one of them, to show, to back up, to forget.
3. A key that was forgotten is overwritten before `forget` returns, in the file and in its journal.
"""

from dataclasses import dataclass

from pourparler_crypto.note import PressKey, ReleaseKey

from .errors import UserError
from .vault import Vault


@dataclass(frozen=True, slots=True, repr=False)
class Held:
    """A release key of this vault: its secret half, and its public half with the name that others know."""

    key: ReleaseKey
    press: PressKey


def add(vault: Vault, name: str, key: ReleaseKey) -> Held:
    """Keeps a key under its press key's name. Raises UsageError for a name that cannot be one, UserError when the
    vault has this key, or another one of this name.
    """
    held = Held(key, PressKey(name, key.public))
    with vault.transaction():
        for other in all(vault):
            if other.press.public == held.press.public:
                raise UserError(f"this key is in the vault already, as {other.press.name}")
            if other.press.name == name:
                raise UserError(f"this vault has another release key called {name}: choose another name")
        vault.execute(
            "INSERT INTO release_key (public, name, seed) VALUES (?, ?, ?)", held.press.public, name, key.seed
        )
    return held


def all(vault: Vault) -> list[Held]:  # noqa: A001 -- read as releasekeys.all
    """Every release key of this vault, by name."""
    return [_held(row) for row in vault.rows("SELECT name, seed FROM release_key ORDER BY name")]


def by_public(vault: Vault, public: bytes) -> Held | None:
    """The key with this public half (32 bytes), if it is here."""
    row = vault.row("SELECT name, seed FROM release_key WHERE public = ?", public)
    return None if row is None else _held(row)


def choose(vault: Vault, name: str | None) -> Held:
    """The key of this name, or the only one. Raises UserError; nothing is guessed."""
    held = all(vault)
    if not held:
        raise UserError("there is no release key in this vault yet: make one with `pourparler release-key new`")
    if name is None and len(held) > 1:
        raise UserError("there are several release keys: name one (see `pourparler release-key list`)")
    found = [one for one in held if name in (None, one.press.name)]
    if not found:
        raise UserError("no release key here has this name: see `pourparler release-key list`")
    return found[0]


def forget(vault: Vault, public: bytes) -> bool:
    """Erases a key for good; whether it was here."""
    with vault.transaction():
        erased = vault.execute("DELETE FROM release_key WHERE public = ?", public) > 0
    if erased:
        vault.empty_journal()
    return erased


def _held(row: tuple[str, bytes]) -> Held:
    name, seed = row
    key = ReleaseKey(seed)
    return Held(key, PressKey(name, key.public))
