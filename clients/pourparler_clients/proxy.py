"""How a device reaches services: directly, or through the SOCKS proxy (Tor) that its vault names.

1. With a proxy nothing goes past it: no lookup of a name, no second try without it. Only a service on this machine is
   reached directly, for no proxy could reach that.
2. Each connection has credentials of its own, for which Tor makes a circuit of its own (IsolateSOCKSAuth, its default):
   a desk's deposit, a drop box and a channel do not meet at one exit (DESIGN 4.1, 6.3).
3. An onion address is reached through a proxy or not at all.

RFC 1928 and 1929 (SOCKS 5), Tor's rend-spec-v3 (addresses).
"""

import base64
import binascii
import hashlib
import os
from typing import Final
from urllib.parse import urlsplit

from .errors import UserError

TOR: Final = "socks5h://127.0.0.1:9050"  # where a Tor that the system runs listens; Tor Browser's has port 9150
LOCAL: Final = ("127.0.0.1", "localhost", "::1")
_ONION: Final = ".onion"
_FORM: Final = f"a proxy looks like {TOR}: a SOCKS 5 proxy, with its port and without a password"


def check_proxy(text: str) -> str:
    """The proxy's address as it is stored. Raises UserError unless it is a SOCKS 5 proxy with host and port."""
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise UserError(_FORM) from None
    odd = parts.query or parts.fragment or parts.username or parts.password or parts.path.strip("/")
    if parts.scheme not in ("socks5", "socks5h") or not host or not port or odd or len(text) > 300:
        raise UserError(_FORM)
    return f"socks5h://{f'[{host}]' if ':' in host else host}:{port}"


def isolation() -> tuple[str, str]:
    """User name and password of one connection: they open nothing, and only keep circuits apart."""
    return os.urandom(8).hex(), os.urandom(8).hex()


def is_onion(host: str) -> bool:
    """Whether a host name ends in .onion (RFC 7686)."""
    return host.rstrip(".").lower().endswith(_ONION)


def check_onion(host: str) -> None:
    """Raises UserError unless it is a version 3 onion address: 56 characters that hold a key, and their checksum."""
    name = host.rstrip(".").lower()[: -len(_ONION)].rpartition(".")[2]
    try:
        raw = base64.b32decode(name.upper())
    except (binascii.Error, ValueError):
        raw = b""
    key, checksum, version = raw[:32], raw[32:34], raw[34:]
    right = hashlib.sha3_256(b".onion checksum" + key + version).digest()[:2]
    if len(raw) != 35 or version != b"\x03" or checksum != right:
        raise UserError("this onion address has a letter wrong or missing: compare it with what you were given")
