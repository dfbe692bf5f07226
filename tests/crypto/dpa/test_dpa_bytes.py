"""Bytes that nobody sent, calls that nobody should make, leaves and digits."""

import hashlib
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pourparler_crypto.card import Card
from pourparler_crypto.dpa import (
    MAX_OPENINGS,
    AlreadyUsed,
    Context,
    Lapsed,
    NotAttested,
    OutOfTurn,
    WrongRun,
    challenge,
    commit,
    load,
    pair_digits,
    peek,
)
from pourparler_crypto.dpa.testing import NOW, Seat, exchange, new_card, played, two_seats
from pourparler_crypto.errors import CryptoError, Malformed, NotAuthentic, ProtocolError, UsageError

# Bytes from outside


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_truncated_oversized_or_empty_messages_are_refused_and_change_nothing(steps: int) -> None:
    first, _, message = played(steps)
    before = first.vault
    for broken in (b"", message[:1], message[:18], message[:-1], message + b"\0", message * 2, bytes(10**6)):
        with pytest.raises(Malformed):
            first.receive(broken)
        with pytest.raises(Malformed):
            peek(broken)
    for kind in (0, 5, 255):
        with pytest.raises(Malformed):
            first.receive(bytes((kind,)) + message[1:])
    with pytest.raises(Malformed):
        first.receive(message[:1] + b"\0" + message[2:])
    assert first.vault == before
    first.receive(message)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_a_changed_bit_in_a_header_is_refused_and_changes_nothing(steps: int) -> None:
    first, _, message = played(steps)
    before = first.vault
    for bit in range(18 * 8):
        broken = bytearray(message)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises((Malformed, WrongRun, OutOfTurn)):
            first.receive(bytes(broken))
    assert first.vault == before


def run_with_changed_bit(victim_message: int, bit: int) -> tuple[Seat, Seat, list[int]]:
    """A run in which the bit of the second side's message (0 to 3) was changed on its way; errors by side."""
    first, second = two_seats()
    out1, out2 = first.begin(), second.begin()
    failed: list[int] = []
    for number in range(4):
        if number == victim_message:
            altered = bytearray(out2)
            altered[18 + bit // 8] ^= 1 << bit % 8
            out2 = bytes(altered)
        answers = []
        for side, device, incoming in ((1, first, out2), (2, second, out1)):
            try:
                answers.append(device.receive(incoming) or b"")
            except ProtocolError:
                failed.append(side)
                answers.append(device.sent[-1])
        out1, out2 = answers
    return first, second, failed


@settings(max_examples=40, deadline=None)
@given(number=st.integers(0, 3), data=st.data())
def test_a_changed_bit_anywhere_in_a_body_attests_nobody(number: int, data: st.DataObject) -> None:
    body = [1168, 64, 32, 64][number]
    first, second, failed = run_with_changed_bit(number, data.draw(st.integers(0, body * 8 - 1)))
    assert 1 in failed
    assert first.attested is None
    # An altered challenge leads to another run; an altered N warns; and who was not deceived may accept.
    assert first.warned == (number == 2)
    assert (second.attested is None) == (number in {0, 2})


@settings(max_examples=50, deadline=None)
@given(junk=st.binary(max_size=1300), steps=st.integers(1, 4))
def test_junk_is_refused_with_an_error_of_ours(junk: bytes, steps: int) -> None:
    first, _, message = played(steps)
    before = first.vault
    for candidate in (junk, message[:18] + junk):
        if candidate[18:] and len(candidate) == len(message) and candidate[:18] == message[:18]:
            continue
        with pytest.raises(ProtocolError):
            first.receive(candidate)
    assert first.vault == before


@pytest.mark.parametrize("body", [bytes(1168), b"\xff" * 1168, bytes(1120) + os.urandom(48)])
def test_a_challenge_of_odd_points_and_coins_is_answered_like_any_other(body: bytes) -> None:
    first, second, _ = played(1)
    answer = first.receive(second.sent[0][:18] + body)
    assert answer is not None
    assert len(answer) == 82


# Misuse


def test_a_device_does_not_attest_itself() -> None:
    first, _ = two_seats()
    with pytest.raises(UsageError):
        replace(first.pair, peer=first.pair.own)
    with pytest.raises(UsageError):
        replace(first.pair, peer_leaf=first.pair.own_leaf)


@pytest.mark.parametrize(
    "change",
    [
        {"own": b"short"},
        {"peer": b"p" * 33},
        {"own_leaf": b""},
        {"peer_leaf": b"l" * 31},
        {"attempt": 0},
        {"attempt": 256},
    ],
)
def test_a_pair_of_wrong_sizes_is_refused(change: dict[str, bytes | int]) -> None:
    with pytest.raises(UsageError):
        replace(two_seats()[0].pair, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("group", "epoch", "tree"),
    [
        (b"", 1, bytes(48)),
        (bytes(256), 1, bytes(48)),
        (b"g", -1, bytes(48)),
        (b"g", 2**64, bytes(48)),
        (b"g", 1, b""),
    ],
)
def test_a_context_of_wrong_sizes_is_refused(group: bytes, epoch: int, tree: bytes) -> None:
    with pytest.raises(UsageError):
        Context(group, epoch, tree)


def test_another_card_or_key_than_the_pairs_is_refused_before_anything_is_sent() -> None:
    first, second = two_seats()
    other_key, other = new_card("Amal")
    with pytest.raises(UsageError):
        challenge(first.pair, other, first.peer, openings=0, now=NOW)
    with pytest.raises(UsageError):
        challenge(first.pair, first.own, other, openings=0, now=NOW)
    state = challenge(first.pair, first.own, first.peer, openings=0, now=NOW)
    for own, key in ((other, other_key), (first.own, other_key), (first.key.card("Anna"), first.key)):
        with pytest.raises(UsageError):
            commit(state, second.begin(), own=own, key=key, now=NOW)
    commit(state, second.sent[0], own=first.own, key=first.key, now=NOW)


def test_a_peers_card_with_an_impossible_key_is_refused() -> None:
    first, _ = two_seats()
    hollow = Card("Boris", bytes(1216))
    pair = replace(first.pair, peer=hollow.fingerprint)
    with pytest.raises(Malformed):
        challenge(pair, first.own, hollow, openings=0, now=NOW)


def test_a_source_of_randomness_that_runs_dry_is_refused() -> None:
    first, _ = two_seats()
    first.random = lambda length: bytes(length - 1)
    with pytest.raises(UsageError):
        first.begin()


def test_a_seat_gets_three_openings_and_no_more() -> None:
    first, _ = two_seats()
    assert MAX_OPENINGS == 3
    first.begin(openings=2)
    for openings in (3, 4, -1):
        with pytest.raises(UsageError):
            first.begin(openings=openings)


# The leaf


def test_a_leaf_that_was_renewed_by_its_own_commits_is_accepted_as_it_is_now() -> None:
    first, second = two_seats()
    newest = os.urandom(32)
    first.lineage = (os.urandom(32), second.pair.own_leaf, os.urandom(32), newest)
    exchange(first, second)
    assert first.attested
    assert first.attested.leaf == newest


@pytest.mark.parametrize("lineage", [(), (b"x" * 32,)])
def test_a_leaf_that_does_not_descend_from_the_attested_one_is_not_accepted(lineage: tuple[bytes, ...]) -> None:
    first, second = two_seats()
    first.lineage = lineage
    with pytest.raises(NotAttested):
        exchange(first, second)
    assert first.attested is None


# Check digits


def test_both_people_read_the_same_digits_and_each_card_has_thirty_of_its_own() -> None:
    (_, amal), (_, boris) = new_card("Amal"), new_card("Boris")
    assert pair_digits(amal, boris) == pair_digits(boris, amal)
    assert set(pair_digits(amal, boris)) == {amal.check_digits, boris.check_digits}


def test_one_joint_number_would_be_matched_from_the_middle_long_before_a_cards_own() -> None:
    # With five digits in place of thirty, so that the search ends: names stand for freshly made keys.
    (_, amal), (_, boris), (_, middle) = new_card("Amal"), new_card("Boris"), new_card("M")
    own = [Card(f"M{i}", middle.public) for i in range(3000)]

    def joint(one: Card, two: Card) -> int:
        return (
            int.from_bytes(hashlib.sha256(b"".join(sorted((one.fingerprint, two.fingerprint)))).digest()) % 10**5
        )

    def single(card: Card) -> str:
        return card.check_digits[-5:]

    seen_by_amal = {joint(amal, card) for card in own}
    assert any(joint(card, boris) in seen_by_amal for card in own)
    assert sum(single(card) in {single(amal), single(boris)} for card in own) < 3


def test_errors_of_the_two_families_do_not_mix() -> None:
    assert issubclass(AlreadyUsed, UsageError)
    for error in (WrongRun, OutOfTurn, Lapsed, NotAttested):
        assert issubclass(error, ProtocolError)
        assert not issubclass(error, UsageError)
    assert issubclass(NotAttested, NotAuthentic)
    assert issubclass(Lapsed, CryptoError)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_no_state_shows_its_secrets_when_printed(steps: int) -> None:
    state = load(played(steps)[0].vault)
    for name in state.KEPT:
        value = getattr(state, name)
        if len(value) < 16:  # flags and numbers: an address in the repr may hold the same digits
            continue
        assert repr(value) not in repr(state)
        assert value.hex() not in repr(state)
    assert any(len(getattr(state, name)) >= 16 for name in state.KEPT)
