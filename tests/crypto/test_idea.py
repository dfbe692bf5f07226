"""Packets of ideas: one size, shut until every share is there, and nothing in them that says who made them."""

import hashlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pourparler_crypto import hpke, idea
from pourparler_crypto.errors import CryptoError, Malformed, NotAuthentic, UsageError
from pourparler_policies import limits
from pourparler_policies.ideas import content, facts

CHANNEL, ROUND, KEY = b"c" * 16, b"r" * 16, b"k" * 32


def people(count: int) -> tuple[list[bytes], list[bytes], bytes]:
    """Secrets and public keys in the order of their seats, and the setting."""
    pairs = [idea.one_time_key() for _ in range(count)]
    keys = {bytes([number]) * 32: public for number, (_, public) in enumerate(pairs)}
    return [secret for secret, _ in pairs], list(keys.values()), idea.setting(CHANNEL, ROUND, keys)


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=idea.MAX_CONTENT), st.integers(1, 6))
def test_every_packet_has_one_size_and_opens_with_every_secret(inside: bytes, count: int) -> None:
    secrets, publics, setting = people(count)
    packet = idea.seal(KEY, setting, publics, inside)
    assert len(packet) == idea.PACKET == limits.IDEA_PACKET
    assert idea.open_(KEY, setting, secrets, packet) == inside


def test_with_one_secret_missing_it_stays_shut_even_for_who_has_all_the_others() -> None:
    secrets, publics, setting = people(4)
    packet = idea.seal(KEY, setting, publics, b"iOpen the road.")
    for missing in range(4):
        guessed = [*secrets[:missing], idea.one_time_key()[0], *secrets[missing + 1 :]]
        with pytest.raises(CryptoError):
            idea.open_(KEY, setting, guessed, packet)
        with pytest.raises(CryptoError):
            idea.open_(KEY, setting, secrets[:missing] + secrets[missing + 1 :], packet)


def test_the_service_which_lacks_the_exported_key_opens_nothing_even_with_every_secret() -> None:
    secrets, publics, setting = people(3)
    packet = idea.seal(KEY, setting, publics, b"i")
    with pytest.raises(NotAuthentic):
        idea.open_(os.urandom(32), setting, secrets, packet)


def test_packets_of_another_round_or_other_people_and_altered_ones_do_not_open() -> None:
    secrets, publics, setting = people(3)
    packet = idea.seal(KEY, setting, publics, b"iOpen the road.")
    other = idea.setting(CHANNEL, b"s" * 16, {bytes([n]) * 32: key for n, key in enumerate(publics)})
    with pytest.raises(NotAuthentic):
        idea.open_(KEY, other, secrets, packet)
    for at in (0, 30, 200, idea.PACKET - 1):
        with pytest.raises(CryptoError):
            idea.open_(KEY, setting, secrets, packet[:at] + bytes([packet[at] ^ 1]) + packet[at + 1 :])
    for cut in (b"", packet[:-1], packet + b"\0"):
        with pytest.raises(Malformed):
            idea.open_(KEY, setting, secrets, cut)


def test_a_member_can_wrap_anothers_packet_anew_but_not_open_it_and_it_is_shown_once() -> None:
    """The outer key is everybody's: a copy of somebody's packet is possible, and changes nothing that is shown."""
    secrets, publics, setting = people(3)
    packet = idea.seal(KEY, setting, publics, b"iOpen the road.")
    inner = idea._decrypt(KEY, packet, idea._place("packet", setting))
    copy = idea._encrypt(KEY, inner, idea._place("packet", setting), os.urandom)
    contents = [idea.open_(KEY, setting, secrets, one) for one in (packet, copy)]
    assert idea.order(setting, secrets, contents) == [b"iOpen the road."]


def test_nobody_chooses_the_order_for_it_hangs_on_a_secret_that_the_last_one_gives() -> None:
    secrets, _, setting = people(3)
    contents = [b"i%d" % number for number in range(8)]
    orders = {tuple(idea.order(setting, [*secrets[:2], idea.one_time_key()[0]], contents)) for _ in range(20)}
    assert len(orders) > 10
    assert idea.order(setting, secrets, contents) == idea.order(setting, secrets, contents[::-1])


def test_whoever_has_the_exported_key_can_make_up_a_whole_round_so_it_proves_nothing() -> None:
    """A forger who was alone in a room makes keys, packets and shares of three people, whatever they should say."""
    secrets, publics, setting = people(3)
    words = [b"iGive up the hills.", b"", b"iGive up the port.", b"", b"", b"", b"", b"", b""]
    packets = [idea.seal(KEY, setting, publics, inside) for inside in words]
    for secret, public in zip(secrets, publics, strict=True):
        idea.check_secret(secret, public)
    opened = [idea.open_(KEY, setting, secrets, packet) for packet in packets]
    assert sorted(filter(None, opened)) == [b"iGive up the hills.", b"iGive up the port."]


def test_a_wrong_share_is_known_and_a_key_that_is_none_is_refused() -> None:
    secret, public = idea.one_time_key()
    idea.check_secret(secret, public)
    for wrong in (idea.one_time_key()[0], b"", secret + b"\0"):
        with pytest.raises(NotAuthentic):
            idea.check_secret(wrong, public)
    _, publics, setting = people(3)
    with pytest.raises(Malformed):
        idea.seal(KEY, setting, [*publics[:2], bytes(32)], b"")  # a point of small order


def test_misuse_is_told() -> None:
    _, publics, setting = people(3)
    with pytest.raises(UsageError):
        idea.seal(KEY, setting, publics, bytes(idea.MAX_CONTENT + 1))
    with pytest.raises(UsageError):
        idea.seal(KEY[:-1], setting, publics, b"")
    with pytest.raises(UsageError):
        idea.setting(CHANNEL, ROUND, {})


def test_a_list_and_a_round_have_one_name_whatever_the_order_and_another_for_another_list_or_time() -> None:
    _, publics, setting = people(3)
    packets = [idea.seal(KEY, setting, publics, b"") for _ in range(3)]
    assert idea.list_digest(setting, packets) == idea.list_digest(setting, packets[::-1])
    assert idea.list_digest(setting, packets) != idea.list_digest(setting, packets[:2])
    hashed = hashlib.sha256(b"token").digest()
    handles = {idea.handle(CHANNEL, hashed, 10, closes, places, 60) for closes in (20, 21) for places in (9, 12)}
    assert len(handles) == 4


def test_the_numbers_of_crypto_policies_and_wire_are_the_same() -> None:
    assert (idea.MAX_SEATS, idea.KEY_LENGTH, idea.PUBLIC_LENGTH) == (facts.MAX_SEATS, 32, facts.KEY_BYTES)
    assert limits.MAX_PLACES == facts.MAX_SEATS * facts.IDEAS_A_SEAT == content.MAX_IDEAS
    assert facts.WINDOW[1] == limits.MAX_WINDOW
    assert content.MAX_IDEA < idea.MAX_CONTENT
    assert 1 + content.MAX_BALLOT <= idea.MAX_CONTENT
    secrets, publics, setting = people(facts.MAX_SEATS)
    full = idea.seal(KEY, setting, publics, bytes(idea.MAX_CONTENT))
    assert idea.open_(KEY, setting, secrets, full) == bytes(idea.MAX_CONTENT)
    assert hpke.X25519.public_length == facts.KEY_BYTES
