"""Keys under which the service stores what is said and attached, so that a backup of it opens nothing (0025).

1. Each is 32 random bytes for one *end*, the round instant at which the stored texts of devices end too
   (`pourparler_policies.hours`). It lies with the key halves: outside backups, and destroyed at its end.
2. A key is durable before anything is stored under it.
3. Handshakes are not stored so: who restores a backup goes on with what was agreed, and loses what had been said.

AES-256-GCM under a random nonce of 12 bytes: an end would need four thousand million entries to repeat one.
"""

import hashlib
import secrets
from collections.abc import Iterable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pourparler_policies import hours, limits
from pourparler_policies.wire import Problem

from .halves import HalfStore, Halves
from .problems import Refusal

NONCE: Final = 12  # bytes
OVERHEAD: Final = NONCE + 16  # bytes: nonce and tag
OWNER: Final = hashlib.sha256(b"pourparler storage keys v1").digest()  # of halves that no device asks for
# Every hour of the longest life, every minute of a day, every ten seconds of an hour, with room for a clock's jump.
MOST: Final = 2 * (limits.MAX_LIFE // limits.LONG_STEP + limits.DAY // limits.MIDDLE_STEP + 360)


class KeyNeeded(Refusal):
    """An act found no key for this end: `StorageKeys.make` it, then submit the act again."""

    def __init__(self, end: int) -> None:
        super().__init__(Problem.UNAVAILABLE)
        self.end = end


class StorageKeys:
    """The living keys, in memory. `seal` and `open` may be called from any thread, the rest from the event loop."""

    def __init__(self, store: HalfStore, halves: Halves) -> None:
        self._store, self._halves = store, halves
        self._keys = {end: AESGCM(half) for end, half in store.all_of(OWNER).items()}

    def __contains__(self, end: int) -> bool:
        return end in self._keys

    def end(self, expires_at: int, life: int) -> int:
        """The end of the key for what expires then: never before it, and later only when the clock went back."""
        return hours.end(max(expires_at, self._store.mark + 1), life)

    def require(self, end: int) -> None:
        """Raise KeyNeeded when there is no key for this end yet."""
        if end not in self._keys:
            raise KeyNeeded(end)

    async def make(self, end: int, now: float) -> None:
        """Have a key for this end, durably. Raises Refusal."""
        for half in await self._halves.ask(OWNER, [end], now, MOST):
            self._keys.setdefault(end, AESGCM(half))

    def fetch(self, ends: Iterable[int]) -> None:
        """Have the keys of these ends, where other processes made them. Here there is no other."""

    def seal(self, end: int, place: bytes, plain: bytes) -> bytes:
        """`plain` with `OVERHEAD` bytes more; `place` names what it is. Raises KeyNeeded."""
        key = self._keys.get(end)
        if key is None:
            raise KeyNeeded(end)
        nonce = secrets.token_bytes(NONCE)
        return nonce + key.encrypt(nonce, plain, place)

    def open(self, end: int | None, place: bytes, stored: bytes) -> bytes | None:
        """What was stored; None when its key is gone. With no end it was stored as it is."""
        if end is None:
            return stored
        key = self._keys.get(end)
        if key is None:
            return None
        try:
            return key.decrypt(stored[:NONCE], stored[NONCE:], place)
        except InvalidTag:
            return None

    async def purge(self, now: float) -> None:
        """Forget the keys that the store has destroyed; called after it has."""
        over = max(now, self._store.mark)
        for end in [end for end in self._keys if end <= over]:
            del self._keys[end]
