"""A complaint is read by who was a member of its epoch, in its channel, and by nobody else; and it has one size."""

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pourparler_crypto.complaint import (
    EXPORT_LABEL,
    KEY_LENGTH,
    MAGIC,
    SIZE,
    Complaint,
    epoch_of,
    is_complaint,
    open_,
    seal,
)
from pourparler_crypto.encoding import lp, pad
from pourparler_crypto.errors import CryptoError, Malformed, NotAuthentic, ProtocolError
from pourparler_crypto.mls import SUITE_X25519_AES128, Group, make_key_package, verify_signature

KEY, CHANNEL = b"k" * KEY_LENGTH, b"c" * 16
SAID = Complaint(b"m" * 16, 7, b"e" * 16, b"s" * 64)


def test_what_was_sealed_is_opened_alike_and_names_its_epoch() -> None:
    sealed = seal(KEY, CHANNEL, 9, SAID)
    assert len(sealed) == SIZE
    assert is_complaint(sealed)
    assert epoch_of(sealed) == 9
    assert open_(KEY, CHANNEL, sealed) == SAID


@given(
    st.integers(0, 2**64 - 1),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**64 - 1),
    st.binary(min_size=16, max_size=16),
    st.binary(max_size=200),
)
def test_any_complaint_comes_back_alike_in_one_size(
    epoch: int, credential: bytes, counter: int, refused: bytes, signature: bytes
) -> None:
    said = Complaint(credential, counter, refused, signature)
    sealed = seal(KEY, CHANNEL, epoch, said)
    assert (len(sealed), epoch_of(sealed)) == (SIZE, epoch)
    assert open_(KEY, CHANNEL, sealed) == said


def test_no_two_complaints_look_alike() -> None:
    assert seal(KEY, CHANNEL, 9, SAID)[12:] != seal(KEY, CHANNEL, 9, SAID)[12:]


def test_another_key_channel_or_epoch_opens_nothing() -> None:
    sealed = seal(KEY, CHANNEL, 9, SAID)
    moved = sealed[:4] + (10).to_bytes(8) + sealed[12:]
    for key, channel, data in (
        (b"K" * KEY_LENGTH, CHANNEL, sealed),
        (KEY, b"C" * 16, sealed),
        (KEY, CHANNEL, moved),
    ):
        with pytest.raises(NotAuthentic):
            open_(key, channel, data)


def test_every_changed_bit_is_refused() -> None:
    sealed = seal(KEY, CHANNEL, 9, SAID)
    for place in range(SIZE):
        altered = bytearray(sealed)
        altered[place] ^= 1 << (place % 8)
        with pytest.raises(Malformed if place < len(MAGIC) else NotAuthentic):
            open_(KEY, CHANNEL, bytes(altered))


@pytest.mark.parametrize("length", [0, 3, 4, 11, 23, SIZE - 1, SIZE + 1, 4096])
def test_another_size_is_no_complaint(length: int) -> None:
    data = (seal(KEY, CHANNEL, 9, SAID) + bytes(4096))[:length]
    with pytest.raises(Malformed, match="1,024"):
        open_(KEY, CHANNEL, data)
    with pytest.raises(Malformed):
        epoch_of(data)


@given(st.binary(max_size=64).map(lambda data: (MAGIC + data).ljust(SIZE, b"\x00")))
def test_bytes_that_begin_like_one_raise_nothing_else(data: bytes) -> None:
    with pytest.raises(CryptoError):
        open_(KEY, CHANNEL, data)


@pytest.mark.parametrize(
    "said",
    [replace(SAID, credential=b"m"), replace(SAID, credential=b""), replace(SAID, refused=b"e" * 17)],
)
def test_a_member_who_seals_parts_of_another_size_is_refused(said: Complaint) -> None:
    with pytest.raises(Malformed, match="wrong size"):
        open_(KEY, CHANNEL, seal(KEY, CHANNEL, 9, said))


def sealed_text(text: bytes) -> bytes:
    """What a member could seal besides complaints."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    head, nonce = MAGIC + (9).to_bytes(8), os.urandom(12)
    return head + nonce + AESGCM(KEY).encrypt(nonce, text, head + CHANNEL)


ROOM = SIZE - 24 - 16


@pytest.mark.parametrize(
    "text",
    [
        bytes(ROOM),
        pad(b"", ROOM),
        pad(lp(b"m" * 16, bytes(7), b"e" * 16, b""), ROOM),
        pad(lp(b"m" * 16, bytes(8), b"e" * 16), ROOM),
        pad(lp(b"m" * 16, bytes(8), b"e" * 16, b"", b""), ROOM),
        pad(lp(b"m" * 16, bytes(8), b"e" * 16, b"") + b"x", ROOM),
        pad(lp(b"m" * 16, bytes(8), b"e" * 16, b"")[:-1], ROOM),
        pad(b"\xff" * 100, ROOM),
    ],
)
def test_a_member_who_seals_something_else_is_refused(text: bytes) -> None:
    with pytest.raises(Malformed):
        open_(KEY, CHANNEL, sealed_text(text))


def test_the_signature_is_over_channel_epoch_author_counter_and_entry() -> None:
    signed = [
        SAID.signed(CHANNEL, 9),
        SAID.signed(b"C" * 16, 9),
        SAID.signed(CHANNEL, 10),
        replace(SAID, credential=b"n" * 16).signed(CHANNEL, 9),
        replace(SAID, counter=8).signed(CHANNEL, 9),
        replace(SAID, refused=b"f" * 16).signed(CHANNEL, 9),
    ]
    assert len(set(signed)) == len(signed)
    assert replace(SAID, signature=b"").signed(CHANNEL, 9) == signed[0]


def test_members_of_an_epoch_and_nobody_who_came_later_have_its_key_and_check_its_signature() -> None:
    suite = SUITE_X25519_AES128
    ada = Group.create(suite, CHANNEL, b"a" * 16)
    first = ada.export(EXPORT_LABEL, b"", KEY_LENGTH)
    bundle = make_key_package(suite, b"b" * 16, lifetime=(0, 2**40))
    pending = ada.stage(add=[bundle.key_package], update=False, pad_to=lambda size: size)
    ada = pending.staged.apply()
    assert pending.welcome is not None
    ben = Group.join(bundle, pending.welcome, ratchet_tree=pending.ratchet_tree)
    key = ben.export(EXPORT_LABEL, b"", KEY_LENGTH)
    assert key == ada.export(EXPORT_LABEL, b"", KEY_LENGTH) != first
    said = Complaint(b"b" * 16, 1, b"e" * 16)
    said = replace(said, signature=ben.sign(EXPORT_LABEL, said.signed(CHANNEL, ben.epoch)))
    opened = open_(key, CHANNEL, seal(key, CHANNEL, ben.epoch, said))
    leaves = {member.credential: member.signature_key for member in ada.members}
    verify_signature(suite, leaves[b"b" * 16], EXPORT_LABEL, opened.signed(CHANNEL, ben.epoch), opened.signature)
    for wrong in (opened.signed(CHANNEL, ben.epoch + 1), replace(opened, counter=2).signed(CHANNEL, ben.epoch)):
        with pytest.raises(ProtocolError):
            verify_signature(suite, leaves[b"b" * 16], EXPORT_LABEL, wrong, opened.signature)
    with pytest.raises(ProtocolError):
        verify_signature(
            suite, leaves[b"a" * 16], EXPORT_LABEL, opened.signed(CHANNEL, ben.epoch), opened.signature
        )
    with pytest.raises(NotAuthentic):
        open_(first, CHANNEL, seal(key, CHANNEL, ben.epoch, said))
