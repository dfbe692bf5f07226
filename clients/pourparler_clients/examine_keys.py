"""Every stored key on every stored ciphertext: what opens with whatever looks like a key in seized vaults.

`examine` opens texts as the product would. Here nothing is taken as known but the forms of sealing: whatever has a
key's size, and each 32 bytes anywhere in a short value that holds secrets (`examine_columns`), is a key of anything.
No clock is asked and no date obeyed.
"""

import json
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt
from nacl.exceptions import CryptoError as SodiumError

from pourparler_crypto import complaint, idea
from pourparler_crypto.errors import CryptoError
from pourparler_crypto.hours import hour_key, open_text

from .errors import PourparlerError
from .examine import Stored, examining, stored_texts
from .examine_columns import COLUMNS, KEY, SEALED, columns
from .hours import SEED
from .log import Log
from .store import ChannelStore
from .vault import Vault

_KEY: Final = 32  # bytes
_LARGEST: Final = 512  # bytes of a value in which every place is tried; larger ones are lists of public things
_GCM_NONCE, _X_NONCE = 12, 24  # bytes


@dataclass
class Loot:
    """What lies in seized vaults: `whole` has a key's size, `parts` are 32 bytes of something longer."""

    whole: set[bytes] = field(default_factory=set)
    parts: set[bytes] = field(default_factory=set)
    texts: list[Stored] = field(default_factory=list)
    sealed: set[bytes] = field(default_factory=set)
    channels: set[bytes] = field(default_factory=set)
    rounds: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)  # settings, and their one-time keys


def loot(vaults: Iterable[Path], passphrase: str) -> Loot:
    """Everything of the kind in vaults whose passphrase one has."""
    found = Loot()
    for directory in vaults:
        found.texts += stored_texts(directory, passphrase)
        with examining(directory, passphrase) as vault:
            found.channels |= {*ChannelStore.all(vault)}
            _keys(vault, found)
            found.sealed |= {
                value
                for table, column in columns(SEALED)
                for (value,) in vault.rows(f"SELECT {column} FROM {table}")  # noqa: S608 -- names of the schema
                if value
            }
            found.texts += [
                Stored(channel, number, end, sealed, half)
                for channel, number, end, sealed, half in vault.rows(
                    "SELECT seed.channel, number + ?, end, seed, half FROM seed JOIN vault_half"
                    " ON vault_half.channel = seed.channel",
                    SEED,
                )
            ]
            _rounds(vault, found)
    return found


def _keys(vault: Vault, found: Loot) -> None:
    secret = {*columns(KEY)}
    for table, parts in COLUMNS.items():
        for column in parts:
            for (value,) in vault.rows(f"SELECT {column} FROM {table}"):  # noqa: S608 -- names of the schema
                for one in _values(value) if isinstance(value, bytes) else ():
                    if len(one) in (16, _KEY):
                        found.whole.add(one)
                    elif (table, column) in secret and len(one) <= _LARGEST:
                        found.parts |= {one[at : at + _KEY] for at in range(len(one) - _KEY + 1)}


def _values(value: bytes) -> Iterator[bytes]:
    """A value, and what is written in it as base64 where it is JSON."""
    yield value
    if value.startswith(b"{"):
        with suppress(ValueError):
            for part in json.loads(value).values():
                for decode in (b64decode, urlsafe_b64decode):
                    with suppress(ValueError, TypeError):
                        yield decode(part)


def _rounds(vault: Vault, found: Loot) -> None:
    """Settings of rounds of ideas, and public one-time keys in the order of their seats."""
    for channel in ChannelStore.all(vault):
        with suppress(PourparlerError):
            log = Log(vault, channel, lambda: 0)
            held = [kept.opened for kept in log.rounds.all()]
            for one in (log.folded.round, *held):
                if one is not None and one.parts:
                    publics = tuple(one.parts[seat].key for seat in sorted(one.parts))
                    found.rounds[log.rounds.setting(one)] = publics
                    found.whole |= {part.secret for part in one.parts.values() if part.secret}


def open_all(found: Loot, halves: Iterable[bytes] = (), bodies: Iterable[bytes] = ()) -> list[bytes]:
    """What opens: every text and sealed value of the vaults, and every one of `bodies` (bytes that the service stores),
    under every key. `halves` (32 bytes) are tried as the service's halves, as is whatever has their size. Parts of
    longer values are tried on texts alone.
    """
    opened = []
    whole = sorted(key for key in found.whole if len(key) == _KEY)
    service = {bytes(_KEY), *whole, *halves}
    made: dict[tuple[bytes, bytes, int], list[bytes]] = {}
    for text in found.texts:
        place = (text.half, text.channel, text.end)
        if place not in made:
            made[place] = [hour_key(text.half, half, text.channel, text.end) for half in service]
        for key in (*made[place], *found.parts, *whole):
            with suppress(CryptoError):
                opened.append(open_text(key, text.sealed, text.channel, text.number, text.end))
    # A round's packets lie under two keys, one in the other.
    sealed = [*found.sealed, *bodies, *(text for text in opened if text and len(text) % idea.PACKET == 0)]
    secrets = {idea.public_of(key): key for key in whole}
    for key in found.whole:
        for opener in (_gcm(key), _chacha(key)):
            for one in sealed:
                opened += opener(one)
    for one in sealed:
        if complaint.is_complaint(one):
            opened += _complaints(one, whole, found.channels)
        else:
            for at in range(0, len(one) - idea.PACKET + 1, idea.PACKET):
                opened += _packets(one[at : at + idea.PACKET], whole, secrets, found.rounds)
    return opened


def _gcm(key: bytes) -> Callable[[bytes], list[bytes]]:
    cipher = AESGCM(key)

    def opener(sealed: bytes) -> list[bytes]:
        with suppress(InvalidTag, ValueError):
            return [cipher.decrypt(sealed[:_GCM_NONCE], sealed[_GCM_NONCE:], None)]
        return []

    return opener


def _chacha(key: bytes) -> Callable[[bytes], list[bytes]]:
    def opener(sealed: bytes) -> list[bytes]:
        if len(key) == _KEY and len(sealed) > _X_NONCE + 16:
            with suppress(SodiumError):
                rest = sealed[_X_NONCE:]
                return [crypto_aead_xchacha20poly1305_ietf_decrypt(rest, None, sealed[:_X_NONCE], key)]
        return []

    return opener


def _complaints(sealed: bytes, keys: Iterable[bytes], channels: Iterable[bytes]) -> list[bytes]:
    opened = []
    for key in keys:
        for channel in channels:
            with suppress(CryptoError):
                opened.append(complaint.open_(key, channel, sealed).refused)
    return opened


def _packets(
    packet: bytes, keys: list[bytes], halves: dict[bytes, bytes], rounds: dict[bytes, tuple[bytes, ...]]
) -> list[bytes]:
    """Of a round's packets: those for which every one-time secret is among the keys."""
    opened = []
    for setting, publics in rounds.items():
        if all(public in halves for public in publics):
            secrets = [halves[public] for public in publics]
            for key in keys:
                with suppress(CryptoError):
                    opened.append(idea.open_(key, setting, secrets, packet))
    return opened
