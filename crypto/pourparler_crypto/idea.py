"""Ideas without a name: packets of one size that open only when everybody who took part has given their share.

1. A packet names nobody: it is sealed under a key exported from the MLS epoch, which every member has, and inside
   that to one-time keys of all who take part, *together*: what it holds opens with every one of their secrets, and
   with one missing it does not. So nobody reads a list before all have found their own packets in it.
2. An idea, a ballot and a packet with nothing in it have the same size, and look the same until they are open.
3. Nothing is signed. When the secrets are out, whoever holds the exported key could have made every packet.

The inner layer keeps members from each other for minutes and is X25519 alone; the outer one is as strong as MLS
is here. DESIGN 4.4 (#13); docs/ideas.md says who could gain what by withholding.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError as SodiumError

from pourparler_crypto import hpke
from pourparler_crypto.encoding import lp, pad, unpad
from pourparler_crypto.errors import Malformed, NotAuthentic, UsageError

KEY_LABEL: Final = "pourparler idea key v1"  # exported from the epoch, with the round's id as context
TOKEN_LABEL: Final = "pourparler idea token v1"  # noqa: S105 -- a label
KEY_LENGTH: Final = 32  # bytes of key and token each
PUBLIC_LENGTH: Final = 32  # bytes of a one-time key, and of its secret
PACKET: Final = 4096  # bytes: of every packet of every round
MAX_SEATS: Final = 32  # one-time keys
MAX_CONTENT: Final = 1400  # bytes that a packet holds, also when 32 take part

_NONCE: Final = 24  # bytes: random, and long enough for any number of packets under one key
_AEAD: Final = _NONCE + 16  # bytes that sealing adds
_SHARE: Final = 32  # bytes
_SEALED_SHARE: Final = 32 + _SHARE + 16  # bytes: encapsulated key, share, tag


def one_time_key(random: Callable[[int], bytes] = os.urandom) -> tuple[bytes, bytes]:
    """Secret and public half (32 bytes each) of a key that serves one round."""
    return hpke.X25519.generate(random)


def public_of(secret: bytes) -> bytes:
    """The public half (32 bytes) of a one-time key's secret."""
    return hpke.X25519.public_of(secret)


def check_secret(secret: bytes, public: bytes) -> None:
    """Raises NotAuthentic unless `secret` is the other half of `public`."""
    if len(secret) != PUBLIC_LENGTH or public_of(secret) != public:
        raise NotAuthentic("this is not the secret of the one-time key")


def setting(channel: bytes, round_: bytes, keys: Mapping[bytes, bytes]) -> bytes:
    """SHA-256 of who takes part: channel, round, and each seat's one-time key. Packets of another setting stay shut.

    Raises UsageError unless 1 to 32 take part.
    """
    if not 1 <= len(keys) <= MAX_SEATS:
        raise UsageError(f"1 to {MAX_SEATS} take part in a round")
    parts = [part for seat in sorted(keys) for part in (seat, keys[seat])]
    return hashlib.sha256(lp("pourparler idea setting v1", channel, round_, *parts)).digest()


def seal(
    key: bytes,
    setting_: bytes,
    publics: Sequence[bytes],
    content: bytes,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """A packet of 4096 bytes. `key`: exported; `publics`: every one-time key, in the order of their seats.

    Raises Malformed when one of the keys is none, UsageError when `content` is too long.
    """
    if len(content) > MAX_CONTENT:
        raise UsageError(f"a packet holds at most {MAX_CONTENT} bytes")
    shares = [random(_SHARE) for _ in publics]
    heads = b"".join(
        hpke.seal(hpke.X25519, public, _place("share", setting_), share)
        for public, share in zip(publics, shares, strict=True)
    )
    room = PACKET - 2 * _AEAD - len(heads)
    body = _encrypt(_body_key(shares, setting_), pad(content, room), _place("content", setting_), random)
    return _encrypt(_checked(key), heads + body, _place("packet", setting_), random)


def open_(key: bytes, setting_: bytes, secrets: Sequence[bytes], packet: bytes) -> bytes:
    """What a packet holds. `secrets`: every one, in the order of their seats.

    Raises Malformed when it is no packet, NotAuthentic when it is of another round, setting or key.
    """
    if len(packet) != PACKET:
        raise Malformed(f"a packet has {PACKET} bytes")
    inner = _decrypt(_checked(key), packet, _place("packet", setting_))
    cut = len(secrets) * _SEALED_SHARE
    if cut + _AEAD > len(inner):
        raise Malformed("a packet has a share for everybody who takes part")
    shares = [
        hpke.open_(hpke.X25519, secret, _place("share", setting_), inner[at : at + _SEALED_SHARE])
        for secret, at in zip(secrets, range(0, cut, _SEALED_SHARE), strict=True)
    ]
    return unpad(_decrypt(_body_key(shares, setting_), inner[cut:], _place("content", setting_)))


def list_digest(setting_: bytes, packets: Iterable[bytes]) -> bytes:
    """SHA-256 of a round's packets, whatever their order: what everybody says they have seen. 32 bytes."""
    hashes = sorted(hashlib.sha256(packet).digest() for packet in packets)
    return hashlib.sha256(lp("pourparler idea list v1", setting_, *hashes)).digest()


def order(setting_: bytes, secrets: Sequence[bytes], contents: Iterable[bytes]) -> list[bytes]:
    """The same contents, each once, in an order that nobody could choose: it hangs on everybody's secret."""
    lot = hashlib.sha256(lp("pourparler idea order v1", setting_, *secrets)).digest()
    return sorted(set(contents), key=lambda content: hashlib.sha256(lp(lot, content)).digest())


def handle(channel: bytes, token_hash: bytes, opens_at: int, closes_at: int, places: int, life: int) -> bytes:
    """The round's number at the service, 16 bytes: with other times or another token it would be another round."""
    numbers = [value.to_bytes(8, "big") for value in (opens_at, closes_at, places, life)]
    return hashlib.sha256(lp("pourparler idea round v1", channel, token_hash, *numbers)).digest()[:16]


def _place(what: str, setting_: bytes) -> bytes:
    return lp("pourparler idea v1", what, setting_)


def _body_key(shares: Sequence[bytes], setting_: bytes) -> bytes:
    # HKDF-SHA256 (RFC 5869) over all shares, of which one random one that is unknown makes the key unknown.
    hkdf = HKDF(algorithm=SHA256(), length=KEY_LENGTH, salt=None, info=_place("body", setting_))
    return hkdf.derive(b"".join(shares))


def _encrypt(key: bytes, text: bytes, place: bytes, random: Callable[[int], bytes]) -> bytes:
    nonce = random(_NONCE)
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(text, place, nonce, key)


def _decrypt(key: bytes, sealed: bytes, place: bytes) -> bytes:
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[_NONCE:], place, sealed[:_NONCE], key)
    except SodiumError:
        raise NotAuthentic("the packet does not open: it is of another round, or was altered") from None


def _checked(key: bytes) -> bytes:
    if len(key) != KEY_LENGTH:
        raise UsageError("an exported key has 32 bytes")
    return key
