"""A run between honest devices, through crashes, long waits and bytes that nobody sent."""

import hashlib
import hmac
import os
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from pourparler_crypto.card import Card
from pourparler_crypto.dpa import (
    LIFE,
    MAX_OPENINGS,
    SIZES,
    AlreadyUsed,
    Challenged,
    Committed,
    Context,
    Kind,
    Lapsed,
    NotAttested,
    Opened,
    OutOfTurn,
    Revealed,
    WrongRun,
    accept,
    challenge,
    commit,
    load,
    open_,
    pair_digits,
    peek,
    reveal,
)
from pourparler_crypto.dpa.states import MAX_STATE
from pourparler_crypto.dpa.testing import NOW, Seat, again, exchange, new_card, two_seats
from pourparler_crypto.encoding import lp
from pourparler_crypto.errors import CryptoError, Malformed, NotAuthentic, ProtocolError, UsageError

HOUR = 3600


def played(steps: int) -> tuple[Seat, Seat, bytes]:
    """Two seats after this many messages each; and the second one's newest, which the first has not had."""
    first, second = two_seats()
    out1, out2 = first.begin(), second.begin()
    for _ in range(steps - 1):
        answer1, answer2 = first.receive(out2), second.receive(out1)
        assert answer1 is not None
        assert answer2 is not None
        out1, out2 = answer1, answer2
    return first, second, out2


def test_two_honest_devices_accept_each_other() -> None:
    first, second = two_seats()
    exchange(first, second)
    assert first.attested is not None
    assert second.attested is not None
    assert first.attested.fingerprint == second.own.fingerprint
    assert first.attested.leaf == second.pair.own_leaf
    assert second.attested.leaf == first.pair.own_leaf
    assert first.attested.context == second.attested.context == first.pair.context
    assert not first.warned
    assert not second.warned


def test_the_messages_have_the_sizes_that_the_documentation_states() -> None:
    first, second = two_seats()
    run = exchange(first, second)
    assert [len(m) for m in run.first] == [len(m) for m in run.second] == [1186, 82, 50, 82]
    assert list(SIZES.values()) == [1186, 82, 50, 82]
    assert [peek(m) for m in run.first] == [(kind, 1) for kind in Kind]


def test_the_bytes_are_those_of_the_design() -> None:
    # DESIGN 5, computed a second time from its own words.
    first, second = two_seats()
    run = exchange(first, second)
    pair, ctx = first.pair, first.pair.ctx
    context = pair.context
    assert ctx == lp(context.group_id, context.epoch.to_bytes(8), context.tree_hash, b"\x01")
    info = lp("dpa/v1", "chal", ctx, pair.own, pair.peer, pair.own_leaf, pair.peer_leaf)
    back = lp("dpa/v1", "chal", ctx, pair.peer, pair.own, pair.peer_leaf, pair.own_leaf)
    sealed1, sealed2 = run.first[0][18:], run.second[0][18:]
    n1, n2 = second.key.open(info, sealed1), first.key.open(back, sealed2)
    assert (n1, n2) == (run.first[2][18:], run.second[2][18:])
    low_first = pair.own < pair.peer
    both = lp(ctx, sealed1, sealed2) if low_first else lp(ctx, sealed2, sealed1)
    ikm = n1 + n2 if low_first else n2 + n1
    key = HKDF(SHA512(), 32, hashlib.sha512(both).digest(), b"dpa/mac").derive(ikm)
    said = lp("attest", ctx, pair.own, pair.peer, pair.own_leaf, pair.peer_leaf)
    salt, tag = run.first[3][18:50], run.first[3][50:]
    assert tag == hmac.digest(key, said, "sha256")
    assert run.first[1][18:] == hashlib.sha512(salt + tag).digest()


# Time, crashes, states


@pytest.mark.parametrize("order", ["one at a time", "in batches"])
def test_a_run_may_take_days_and_its_two_sides_need_never_be_online_together(order: str) -> None:
    first, second = two_seats()
    waiting1, waiting2 = [first.begin()], [second.begin()]
    for day in range(8):
        device, inbox, outbox = (first, waiting2, waiting1) if day % 2 else (second, waiting1, waiting2)
        device.now = NOW + day * 9 * HOUR
        taken = inbox[:1] if order == "one at a time" else list(inbox)
        del inbox[: len(taken)]
        outbox += [answer for message in taken if (answer := device.receive(message))]
    assert first.attested
    assert second.attested


def test_a_message_that_comes_too_early_is_refused_and_good_when_its_turn_comes() -> None:
    first, second, _ = played(1)
    later = [second.receive(first.sent[0])]
    before = first.vault
    with pytest.raises(OutOfTurn):
        first.receive(second.sent[1])
    assert first.vault == before
    first.now += 70 * HOUR
    first.receive(second.sent[0])
    assert first.receive(later[0] or b"") == first.sent[2]


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_after_72_hours_a_run_has_lapsed_whatever_step_it_reached(steps: int) -> None:
    first, _, message = played(steps)
    first.now = NOW + LIFE + 1
    before = first.vault
    with pytest.raises(Lapsed):
        first.receive(message)
    assert first.vault == before
    first.now = NOW + LIFE
    first.receive(message)


def test_a_clock_that_was_set_back_is_refused() -> None:
    first, _, message = played(2)
    first.now = NOW - 1
    with pytest.raises(UsageError):
        first.receive(message)


def test_a_lapsed_run_is_begun_anew_under_the_next_number_and_nothing_of_the_old_one_fits() -> None:
    first, second, _ = played(3)
    old = list(second.sent)
    first, second = again(first), again(second)
    first.begin()
    for message in old:
        with pytest.raises(WrongRun):
            first.receive(message)
    first, second = again(first), again(second)
    exchange(first, second)
    assert first.attested
    assert first.attested.attempt == 3


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_after_a_crash_the_vault_sends_the_same_bytes_again(steps: int) -> None:
    first, second, message = played(steps)
    state = load(first.vault)
    assert state.message == first.sent[-1]
    assert state.encode() == first.vault
    # The peer may get it twice; the second time changes nothing.
    second.receive(state.message)
    after = second.vault
    if after:
        with pytest.raises(OutOfTurn):
            second.receive(state.message)
        assert second.vault == after
    first.receive(message)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_a_crash_before_the_vault_was_written_loses_nothing(steps: int) -> None:
    first, second, message = played(steps)
    before, sent = first.vault, len(first.sent)
    first.receive(message)  # computed, not saved, so not sent
    first.vault, first.attested = before, None
    del first.sent[sent:]
    out1, out2 = first.sent[-1], message
    while True:
        answer1, answer2 = first.receive(out2), second.receive(out1)
        if answer1 is None or answer2 is None:
            break
        out1, out2 = answer1, answer2
    assert first.attested
    assert second.attested


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_course_of_crashes_repetitions_early_and_late_messages_ends_in_acceptance(data: st.DataObject) -> None:
    first, second = two_seats()
    logs = {first: [first.begin()], second: [second.begin()]}  # what each has posted
    peer = {first: second, second: first}
    had = {first: 0, second: 0}
    for _ in range(40):
        device = data.draw(st.sampled_from([first, second]))
        posted = logs[peer[device]]
        act = data.draw(st.sampled_from(["next", "next", "crash", "any"]))
        if device.attested or had[device] == len(posted):
            continue
        before, sent = device.vault, len(device.sent)
        if act == "any" and (which := data.draw(st.integers(0, len(posted) - 1))) != had[device]:
            with pytest.raises(OutOfTurn):
                device.receive(posted[which])
            assert device.vault == before
            continue
        answer = device.receive(posted[had[device]])
        if act == "crash" and answer:  # worked out, then lost before it was saved, and so never sent
            device.vault = before
            del device.sent[sent:]
            continue
        had[device] += 1
        if answer:
            logs[device].append(answer)
            assert load(device.vault).message == answer
    while not (first.attested and second.attested):  # whatever is still on its way
        for device in (first, second):
            for message in logs[peer[device]][had[device] :]:
                had[device] += 1
                logs[device] += [answer] if (answer := device.receive(message)) else []
    assert not first.warned
    assert not second.warned


def test_each_state_is_used_once_and_holds_nothing_afterwards() -> None:
    first, second = two_seats()
    a1 = challenge(first.pair, first.own, first.peer, openings=0, now=NOW)
    b1 = challenge(second.pair, second.own, second.peer, openings=0, now=NOW)
    out_b1, out_a1 = b1.message, a1.message
    a2 = commit(a1, out_b1, own=first.own, key=first.key, now=NOW)
    b2 = commit(b1, out_a1, own=second.own, key=second.key, now=NOW)
    out_b2, out_a2 = b2.message, a2.message
    a3, b3 = reveal(a2, out_b2, now=NOW), reveal(b2, out_a2, now=NOW)
    out_b3, out_a3 = b3.message, a3.message
    a4, b4 = open_(a3, out_b3, now=NOW), open_(b3, out_a3, now=NOW)
    out_b4 = b4.message
    accept(a4, out_b4, lineage=[second.pair.own_leaf], now=NOW)
    with pytest.raises(AlreadyUsed):
        commit(a1, out_b1, own=first.own, key=first.key, now=NOW)
    with pytest.raises(AlreadyUsed):
        reveal(a2, out_b2, now=NOW)
    with pytest.raises(AlreadyUsed):
        open_(a3, out_b3, now=NOW)
    with pytest.raises(AlreadyUsed):
        accept(a4, out_b4, lineage=[second.pair.own_leaf], now=NOW)
    for state in (a1, a2, a3, a4):
        with pytest.raises(AlreadyUsed):
            state.encode()
        assert not any(getattr(state, name) for name in (*state.KEPT, "message"))


def test_each_state_holds_only_what_later_steps_need() -> None:
    first, second, _ = played(4)
    n1, n2 = first.sent[2][18:], second.sent[2][18:]
    assert n2 not in first.vault
    assert n1 not in first.vault
    key_of_none = [Challenged, Committed, Revealed, Opened]
    assert [sorted(cls.KEPT) for cls in key_of_none] == [
        ["own_n"],
        ["expected", "own_n", "peer_n", "run", "salt", "tag"],
        ["commitment", "expected", "peer_n", "run", "salt", "tag"],
        ["commitment", "expected", "flag", "run"],
    ]


def test_every_state_fits_its_limit_with_the_largest_pair() -> None:
    context = Context(b"g" * 255, 2**64 - 1, b"t" * 64)
    first, second = two_seats(context=context)
    first.begin()
    first.receive(second.begin())
    assert max(len(first.vault), len(lp(*first.sent))) < MAX_STATE


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_bytes_that_are_no_state_are_refused(data: st.DataObject) -> None:
    first, _, _ = played(data.draw(st.integers(1, 4)))
    whole = first.vault
    cut = data.draw(st.sampled_from(["cut", "longer", "junk"]))
    if cut == "cut":
        broken = whole[: data.draw(st.integers(0, len(whole) - 1))]
    elif cut == "longer":
        broken = whole + data.draw(st.binary(min_size=1, max_size=MAX_STATE))
    else:
        broken = data.draw(st.binary(max_size=300))
    with pytest.raises(UsageError):
        load(broken)


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
        assert repr(value) not in repr(state)
        assert value.hex() not in repr(state)
