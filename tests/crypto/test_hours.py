"""A stored text opens with both halves of its hour's key, at its place, and with nothing else."""

import hashlib
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pourparler_crypto.errors import Malformed, NotAuthentic, UsageError
from pourparler_crypto.hours import OVERHEAD, hour_key, open_text, seal_text

CHANNEL = bytes(range(16))
END = 1_800_003_600


def halves() -> tuple[bytes, bytes]:
    return secrets.token_bytes(32), secrets.token_bytes(32)


@given(text=st.binary(max_size=2000), seq=st.integers(0, 2**53), end=st.integers(0, 2**40))
def test_a_text_opens_with_both_halves(text: bytes, seq: int, end: int) -> None:
    key = hour_key(*halves(), CHANNEL, end)
    sealed = seal_text(key, text, CHANNEL, seq, end)
    assert len(sealed) == len(text) + OVERHEAD
    assert open_text(key, sealed, CHANNEL, seq, end) == text


def opens(key: bytes, sealed: bytes) -> bool:
    try:
        open_text(key, sealed, CHANNEL, 7, END)
    except NotAuthentic:
        return False
    return True


def test_one_half_alone_opens_nothing() -> None:
    """The attack: a vault copied before the end, searched after it. The service's half is gone from the world."""
    vault, service = halves()
    text = b"We could live with the northern well."

    # Naive: the vault's half is the key. Whoever has the copy reads on for ever.
    naive = seal_text(vault, text, CHANNEL, 7, END)
    assert open_text(vault, naive, CHANNEL, 7, END) == text

    sealed = seal_text(hour_key(vault, service, CHANNEL, END), text, CHANNEL, 7, END)
    known = {
        "vault": [vault, bytes(32), bytes(reversed(vault)), hashlib.sha256(vault).digest()],
        "service": [service, bytes(32), bytes(reversed(service)), hashlib.sha256(service).digest()],
    }
    for candidates in known.values():
        keys = candidates + [hour_key(a, b, CHANNEL, END) for a in candidates for b in candidates]
        assert not [key for key in keys if opens(key, sealed)]
    assert not opens(hour_key(service, vault, CHANNEL, END), sealed)
    assert opens(hour_key(vault, service, CHANNEL, END), sealed)


def test_every_half_every_end_and_every_channel_has_a_key_of_its_own() -> None:
    vault, service = halves()
    other_vault, other_service = halves()
    keys = {
        hour_key(vault, service, CHANNEL, END),
        hour_key(other_vault, service, CHANNEL, END),
        hour_key(vault, other_service, CHANNEL, END),
        hour_key(vault, service, CHANNEL, END + 3600),
        hour_key(vault, service, bytes(16), END),
    }
    assert len(keys) == 5


@pytest.mark.parametrize(
    ("channel", "seq", "end"), [(bytes(16), 7, END), (CHANNEL, 8, END), (CHANNEL, 7, END + 10)]
)
def test_a_text_moved_to_another_place_does_not_open(channel: bytes, seq: int, end: int) -> None:
    key = hour_key(*halves(), CHANNEL, END)
    sealed = seal_text(key, b"Cedar agrees.", CHANNEL, 7, END)
    with pytest.raises(NotAuthentic):
        open_text(key, sealed, channel, seq, end)


def test_any_altered_byte_is_noticed() -> None:
    key = hour_key(*halves(), CHANNEL, END)
    sealed = seal_text(key, b"no", CHANNEL, 7, END)
    for place in range(len(sealed)):
        altered = bytearray(sealed)
        altered[place] ^= 1
        with pytest.raises(NotAuthentic):
            open_text(key, bytes(altered), CHANNEL, 7, END)
    with pytest.raises(Malformed):
        open_text(key, sealed[: OVERHEAD - 1], CHANNEL, 7, END)


def test_the_same_text_never_looks_the_same() -> None:
    key = hour_key(*halves(), CHANNEL, END)
    assert len({seal_text(key, b"yes", CHANNEL, 7, END)[:24] for _ in range(100)}) == 100


def test_the_key_is_the_one_of_the_formula() -> None:
    """RFC 5869 by hand: an implementation in another language must find the same."""
    import hmac

    vault, service = bytes(32), bytes(range(32))
    label = b"pourparler hour v1"
    info = len(label).to_bytes(4, "big") + label + (16).to_bytes(4, "big") + CHANNEL
    info += (8).to_bytes(4, "big") + END.to_bytes(8, "big")
    extracted = hmac.digest(service, vault, "sha256")
    assert hour_key(vault, service, CHANNEL, END) == hmac.digest(extracted, info + b"\x01", "sha256")


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_halves_and_keys_of_another_size_are_refused(size: int) -> None:
    good, bad = bytes(32), bytes(size)
    for pair in ((good, bad), (bad, good)):
        with pytest.raises(UsageError):
            hour_key(*pair, CHANNEL, END)
    with pytest.raises(UsageError):
        seal_text(bad, b"", CHANNEL, 1, END)
    with pytest.raises(UsageError):
        open_text(bad, bytes(OVERHEAD), CHANNEL, 1, END)
    with pytest.raises(UsageError):
        hour_key(good, good, CHANNEL, -1)
