"""A run between honest devices, through crashes and long waits."""

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from pourparler_crypto.dpa import (
    LIFE,
    SIZES,
    AlreadyUsed,
    Challenged,
    Committed,
    Context,
    Kind,
    Lapsed,
    Opened,
    OutOfTurn,
    Revealed,
    WrongRun,
    accept,
    challenge,
    commit,
    load,
    open_,
    peek,
    reveal,
)
from pourparler_crypto.dpa.states import MAX_STATE
from pourparler_crypto.dpa.testing import NOW, again, exchange, played, two_seats
from pourparler_crypto.encoding import lp
from pourparler_crypto.errors import UsageError

HOUR = 3600


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
